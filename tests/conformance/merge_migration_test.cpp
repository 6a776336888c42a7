// Tables that begin to merge, and that end it, with rows in them; on both kinds of database.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "domain/field_stamps.hpp"
#include "tests/backends/merge_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

using storage::MergeState;

struct Sheet {
  std::string id, owner_id, title;
  CrdtText text;
};
struct Desk {
  bool by_column = false, has_text = false;
  std::shared_ptr<const CompiledDomain> domain() const {
    auto sheets = table<Sheet>("sheets")
                      .key("id", &Sheet::id)
                      .column("owner_id", &Sheet::owner_id)
                      .column("title", &Sheet::title, default_value(""));
    if (has_text) sheets = std::move(sheets).column("text", &Sheet::text);
    if (by_column) sheets = std::move(sheets).merge(Merge::Field);
    Domain d("desk");
    d.add(sheets);
    d.rule("own").parameter("owner", actor::owner_id).data(sheets, eq("owner_id", "owner"));
    return compiled(std::move(d));
  }
};

struct MergeMigrationTest : OnEveryBackend {
  std::unique_ptr<Backend> backend = make_backend(GetParam());
  std::unique_ptr<OtherProgram> other = backend->other_program();
  std::unique_ptr<storage::Storage> storage;
  std::shared_ptr<const CompiledDomain> domain;

  Names fit(const Desk& desk) {
    storage.reset();
    domain = desk.domain();
    const auto changes = backend->fit(domain);
    EXPECT_TRUE(changes.has_value()) << (changes ? "" : changes.error().message);
    const auto again = backend->fit(domain);
    EXPECT_TRUE(again.has_value() && again->empty()) << (again ? "" : again.error().message);
    storage = backend->open(domain);
    EXPECT_TRUE(storage->provision().has_value());
    return changes ? *changes : Names{};
  }
  storage::MergeRow row(const std::string& id) {
    auto transaction = storage->write(Timestamp{1});
    EXPECT_TRUE(transaction.has_value());
    auto found = (*transaction)->get_to_merge(domain->table(0), id);
    EXPECT_TRUE(found.has_value() && found->has_value()) << id;
    return found && *found ? **found : storage::MergeRow{};
  }
  std::string epoch() { return other->value("SELECT epoch FROM " + backend->engine_table("state")); }
  void update(const std::string& id, const std::string& title, const MergeState& merge) {
    const auto transaction = *storage->write(Timestamp{1});
    ASSERT_TRUE(transaction->update_merged(domain->table(0), id, {{2, title}}, merge).value_or(false));
    ASSERT_TRUE(transaction->commit().has_value());
  }
};
INSTANTIATE_TEST_SUITE_P(On, MergeMigrationTest, every_backend(), kind_name);

TEST_P(MergeMigrationTest, ATableWithRowsBeginsToMergeByColumn) {
  fit({});
  other->run("INSERT INTO sheets (id, owner_id, title) VALUES ('s1', 'o1', 'old')");
  const std::string before = epoch();
  EXPECT_FALSE(fit({.by_column = true}).empty());
  EXPECT_EQ(epoch(), before);
  EXPECT_EQ(row("s1").row, (Row{"s1", "o1", "old"}));
  EXPECT_EQ(row("s1").merge, MergeState{});
  const std::string stamps = "title=" + Hlc{1'000, 0, std::string(32, 'a')}.text();
  update("s1", "new", {stamps, ""});
  EXPECT_EQ(row("s1").merge, (MergeState{stamps, ""}));
  other->run("UPDATE sheets SET title = 'theirs'");
  EXPECT_EQ(FieldStamps(row("s1").merge.stamps).of("title").node, foreign_node());
}

TEST_P(MergeMigrationTest, ATableWithRowsGainsAColumnThatMergesByItself) {
  fit({});
  other->run("INSERT INTO sheets (id, owner_id, title) VALUES ('s1', 'o1', 'old')");
  const std::string before = epoch();
  fit({.has_text = true});
  EXPECT_EQ(epoch(), before);
  EXPECT_EQ(row("s1").row, (Row{"s1", "o1", "old", Blob{{0, 0}}}));
  EXPECT_EQ(row("s1").merge, MergeState{});
  update("s1", "new", {"", "recent"});
  EXPECT_EQ(row("s1").merge.recent, "recent");
  // And the other kind of merging after it keeps what is kept for the first.
  fit({.by_column = true, .has_text = true});
  EXPECT_EQ(row("s1").row, (Row{"s1", "o1", "new", Blob{{0, 0}}}));
  EXPECT_EQ(row("s1").merge, (MergeState{"", "recent"}));
  other->run("UPDATE sheets SET owner_id = 'o2'");
  EXPECT_EQ(row("s1").merge.recent, "");
}

TEST_P(MergeMigrationTest, WhatWasKeptBeforeAPauseIsNotTrusted) {
  fit({.by_column = true});
  other->run("INSERT INTO sheets (id, owner_id, title) VALUES ('s1', 'o1', 'old')");
  update("s1", "new", {"*=a;title=b", ""});
  fit({});
  other->run("UPDATE sheets SET title = 'unstamped'");
  fit({.by_column = true});
  EXPECT_EQ(row("s1").row, (Row{"s1", "o1", "unstamped"}));
  EXPECT_EQ(row("s1").merge.stamps, "");
}

TEST_P(MergeMigrationTest, AnEngineColumnOfAnotherShapeIsNamedAndNothingIsChanged) {
  fit({});
  other->run("ALTER TABLE sheets ADD COLUMN nizhal_stamps INTEGER NOT NULL DEFAULT 0");
  const auto refused = backend->fit(Desk{.by_column = true}.domain());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::schema_mismatch);
  EXPECT_NE(refused.error().message.find("nizhal_stamps"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("DROP COLUMN nizhal_stamps"), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace nizhal::testing
