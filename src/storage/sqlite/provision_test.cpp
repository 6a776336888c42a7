// Provisioning: empty files, repeated starts, drift that can be added, files that had data before, and refusals.
#include <gtest/gtest.h>

#include "../../../examples/notes/notes.hpp"
#include "storage/sqlite/engine_tables.hpp"
#include "storage/sqlite/test_database.hpp"

namespace nizhal::storage {
namespace {

struct Item {
  std::string id, owner_id;
  std::int64_t amount = 0;
  std::optional<std::string> note;
  std::string mark;
};
struct Pass {
  std::string id, user_id, team_id;
};

/// A table of items that a test puts together column by column.
struct Shape {
  bool amount = true, note = false, mark = false, mark_default = false, amount_is_text = false;
  bool second_rule = false, delivered = true, team_rule = false;
  const char* name = "shapes";
  Domain domain() const {
    auto items = table<Item>("items").key("id", &Item::id).column("owner_id", &Item::owner_id);
    if (amount && amount_is_text)
      items = std::move(items).column("amount", &Item::mark);
    else if (amount)
      items = std::move(items).column("amount", &Item::amount);
    if (note) items = std::move(items).column("note", &Item::note);
    if (mark && mark_default) items = std::move(items).column("mark", &Item::mark, default_value("new"));
    if (mark && !mark_default) items = std::move(items).column("mark", &Item::mark);
    auto passes =
        table<Pass>("passes").key("id", &Pass::id).column("user_id", &Pass::user_id).column("team_id", &Pass::team_id);
    Domain d(name);
    d.add(items).add(passes);
    if (delivered) d.rule("own").parameter("owner", actor::owner_id).data(items, eq("owner_id", "owner"));
    if (second_rule)
      d.rule("by_user").prefix("user:").parameter("user", actor::user_id).data(items, eq("owner_id", "user"));
    if (team_rule)
      d.rule("teams")
          .prefix("team:")
          .membership(passes, where("user_id", actor::user_id), bucket("team", "team_id"))
          .data(items, eq("owner_id", "team"));
    return d;
  }
};

struct Provision : ::testing::Test {
  Result<ProvisionReport> provision(const Shape& shape) {
    storage = open_test_storage(file.path(), compiled(shape.domain()));
    return storage->provision();
  }
  void expect_refused(const Shape& shape, const std::vector<std::string>& words) {
    const auto report = provision(shape);
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code, ErrorCode::schema_mismatch);
    for (const std::string& word : words)
      EXPECT_NE(report.error().message.find(word), std::string::npos) << word << " in: " << report.error().message;
  }
  Position position() { return *(*storage->snapshot())->position(); }

  TestFile file;
  std::unique_ptr<Storage> storage;
};

TEST_F(Provision, AnEmptyFileIsCreatedOnceAndLeftAloneAfterwards) {
  const auto first = provision({});
  ASSERT_TRUE(first.has_value()) << first.error().message;
  EXPECT_TRUE(first->created);
  const Position position_before = position();
  EXPECT_TRUE(is_uuid(position_before.epoch));
  const auto second = provision({});
  ASSERT_TRUE(second.has_value()) << second.error().message;
  EXPECT_FALSE(second->created);
  EXPECT_TRUE(second->changes.empty()) << second->changes.front();
  EXPECT_EQ(position().epoch, position_before.epoch);
  EXPECT_EQ(position().last, position_before.last) << "an unchanged database is not written";
}

TEST_F(Provision, ColumnsAndTablesThatCanBeAddedAreAddedAndReported) {
  ASSERT_TRUE(provision({}).has_value());
  OtherProgram other(file.path());
  other.run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  const auto report = provision({.note = true, .mark = true, .mark_default = true});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_FALSE(report->created);
  ASSERT_GE(report->changes.size(), 2u);
  EXPECT_EQ(report->changes[0], "column \"note\" added to table \"items\"");
  EXPECT_EQ(report->changes[1], "column \"mark\" added to table \"items\"");
  EXPECT_EQ(other.query("SELECT note, mark FROM items"), Names{"-|new"});
  const Version before = position().last;
  other.run("UPDATE items SET mark = 'old'");
  EXPECT_GT(position().last, before) << "the new column is watched";
  EXPECT_TRUE(provision({.note = true, .mark = true, .mark_default = true})->changes.empty());
}

TEST_F(Provision, AColumnWithoutAValueForExistingRowsIsRefused) {
  ASSERT_TRUE(provision({}).has_value());
  ASSERT_TRUE(provision({.mark = true}).has_value()) << "an empty table has no rows to miss it";
  OtherProgram other(file.path());
  other.run("INSERT INTO items (id, owner_id, amount, mark) VALUES ('i1', 'o', 1, 'm')");
  other.run("DROP TRIGGER nizhal_update_items; DROP TRIGGER nizhal_displace_items; DROP TRIGGER nizhal_replace_items");
  other.run("DELETE FROM nizhal_schema; ALTER TABLE items DROP COLUMN mark");
  expect_refused({.mark = true}, {"\"mark\"", "\"items\"", "default_value"});
}

TEST_F(Provision, RetypedRenamedAndMissingColumnsAreRefusedAndNothingIsChanged) {
  ASSERT_TRUE(provision({.note = true}).has_value());
  OtherProgram other(file.path());
  const auto schema = other.query("SELECT sql FROM sqlite_schema");
  expect_refused({.amount_is_text = true}, {"\"note\"", "\"items\"", "declare it again"});
  expect_refused({.note = true, .amount_is_text = true}, {"\"amount\"", "\"items\"", "text", "INTEGER"});
  expect_refused({.mark = true, .mark_default = true}, {"\"note\"", "\"items\"", "declare it again"});
  EXPECT_EQ(other.query("SELECT sql FROM sqlite_schema"), schema);
  other.run("DROP TRIGGER nizhal_update_items; ALTER TABLE items DROP COLUMN amount");
  expect_refused({.note = true}, {"\"amount\"", "\"items\"", "missing"});
}

TEST_F(Provision, ATableThatHadRowsBeforeIsTakenOver) {
  OtherProgram other(file.path());
  other.run(
      "CREATE TABLE items (id VARCHAR(20) PRIMARY KEY, owner_id TEXT NOT NULL, amount INT NOT NULL, extra TEXT);"
      "INSERT INTO items VALUES ('i1', 'o', 1, 'x'), ('i2', 'p', 2, 'y')");
  const auto report = provision({});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(other.query("SELECT id FROM items WHERE nizhal_version >= 1 ORDER BY id"), (Names{"i1", "i2"}));
  const Version before = position().last;
  other.run("DELETE FROM items WHERE id = 'i1'");
  EXPECT_GT(position().last, before);
  EXPECT_EQ(other.query("SELECT bucket, key FROM nizhal_removal"), Names{"o|i1"});
}

TEST_F(Provision, TablesThatDoNotFitAreRefusedWithTheirPlaceAndAFix) {
  const struct {
    const char* sql;
    std::vector<std::string> words;
  } cases[] = {
      {"CREATE TABLE items (id TEXT PRIMARY KEY, owner_id INTEGER NOT NULL, amount INTEGER NOT NULL)",
       {"\"owner_id\""}},
      {"CREATE TABLE items (id TEXT, owner_id TEXT NOT NULL, amount INTEGER NOT NULL)", {"\"id\"", "primary key"}},
      {"CREATE TABLE items (id TEXT, owner_id TEXT NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (id, owner_id))",
       {"\"owner_id\"", "primary key"}},
      {"CREATE TABLE items (id TEXT PRIMARY KEY COLLATE NOCASE, owner_id TEXT NOT NULL, amount INTEGER NOT NULL)",
       {"\"id\"", "NOCASE"}},
      {"CREATE TABLE items (id TEXT PRIMARY KEY, owner_id TEXT, amount INTEGER NOT NULL)", {"\"owner_id\"", "null"}},
      {"CREATE TABLE items (id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, amount INTEGER NOT NULL, x TEXT NOT NULL)",
       {"\"x\"", "default"}},
      {"CREATE VIEW items AS SELECT 1 AS id", {"\"items\"", "view"}},
      {"CREATE TABLE Items (id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, amount INTEGER NOT NULL)", {"\"Items\""}},
      {"CREATE TABLE nizhal_outbox (x)", {"device"}},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.sql);
    TestFile own;
    OtherProgram(own.path()).run(one.sql);
    storage = open_test_storage(own.path(), compiled(Shape{}.domain()));
    const auto report = storage->provision();
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code, ErrorCode::schema_mismatch);
    for (const std::string& word : one.words)
      EXPECT_NE(report.error().message.find(word), std::string::npos) << word << " in: " << report.error().message;
    EXPECT_EQ(OtherProgram(own.path()).value("SELECT count(*) FROM sqlite_schema WHERE name = 'nizhal_state'"), "0");
  }
}

TEST_F(Provision, ChangedRulesChangeTriggersAndKeepTheMarkersOfGrantsThatPersist) {
  ASSERT_TRUE(provision({.team_rule = true}).has_value());
  OtherProgram other(file.path());
  other.run("INSERT INTO passes (id, user_id, team_id) VALUES ('p1', 'u1', 'a')");
  const auto grant = other.query("SELECT * FROM nizhal_grant");
  ASSERT_EQ(grant.size(), 1u);
  const auto report = provision({.second_rule = true, .team_rule = true});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->changes, Names{"triggers and indexes of table \"items\" made anew for changed rules"});
  EXPECT_EQ(other.query("SELECT * FROM nizhal_grant"), grant);
  other.run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'a', 1); DELETE FROM items");
  EXPECT_EQ(other.query("SELECT bucket FROM nizhal_removal ORDER BY bucket"), (Names{"a", "team:a", "user:a"}));
  ASSERT_TRUE(provision({}).has_value());
  EXPECT_TRUE(other.query("SELECT * FROM nizhal_grant").empty());
}

TEST_F(Provision, MembershipsThatWereThereBeforeTheRuleGrant) {
  ASSERT_TRUE(provision({}).has_value());
  OtherProgram other(file.path());
  other.run("INSERT INTO passes (id, user_id, team_id) VALUES ('p1', 'u1', 'a'), ('p2', 'u1', 'a'), ('p3', 'u2', 'b')");
  const Version before = position().last;
  ASSERT_TRUE(provision({.team_rule = true}).has_value());
  EXPECT_EQ(other.query("SELECT subject, bucket FROM nizhal_grant ORDER BY subject"),
            (Names{"u1|team:a", "u2|team:b"}));
  EXPECT_EQ(other.value("SELECT min(gained) > " + std::to_string(number(before)) + " FROM nizhal_grant"), "1");
}

TEST_F(Provision, ATableThatIsDeliveredLaterBringsItsRows) {
  ASSERT_TRUE(provision({.delivered = false}).has_value());
  OtherProgram other(file.path());
  other.run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  const Version before = position().last;
  ASSERT_TRUE(provision({}).has_value());
  EXPECT_GT(other.value("SELECT nizhal_version FROM items"), std::to_string(number(before)));
  // And again after a time without delivery, in which nobody watched.
  ASSERT_TRUE(provision({.delivered = false}).has_value());
  other.run("UPDATE items SET amount = 2");
  const Version later = position().last;
  ASSERT_TRUE(provision({}).has_value());
  EXPECT_EQ(other.value("SELECT nizhal_version > " + std::to_string(number(later)) + " FROM items"), "1");
}

TEST_F(Provision, WritesThatNoTriggerSawMakeANewEpoch) {
  ASSERT_TRUE(provision({}).has_value());
  const std::string epoch = position().epoch;
  OtherProgram other(file.path());
  other.run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  other.run("DROP TRIGGER nizhal_delete_items; DELETE FROM items");
  const auto report = provision({});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_FALSE(report->changes.empty());
  EXPECT_NE(position().epoch, epoch);
  const std::string second = position().epoch;
  ASSERT_TRUE(provision({}).has_value());
  EXPECT_EQ(position().epoch, second);
}

TEST_F(Provision, ADatabaseOfANewerNizhalIsRefused) {
  ASSERT_TRUE(provision({}).has_value());
  OtherProgram(file.path()).run("UPDATE nizhal_state SET format = format + 1");
  expect_refused({}, {"newer", "upgrade"});
}

TEST_F(Provision, ADatabaseOfAnotherDomainIsRefusedAndNothingIsChanged) {
  ASSERT_TRUE(provision({}).has_value());
  OtherProgram other(file.path());
  const auto schema = other.query("SELECT sql FROM sqlite_schema");
  const Version before = position().last;
  expect_refused({.name = "forms"}, {"\"shapes\"", "\"forms\"", "file of its own"});
  EXPECT_EQ(other.query("SELECT sql FROM sqlite_schema"), schema);
  EXPECT_EQ(position().last, before);
  EXPECT_TRUE(provision({})->changes.empty());
  other.run("UPDATE nizhal_state SET domain = 'forms'");
  EXPECT_TRUE(provision({.name = "forms"}).has_value()) << "as the message says for a domain that was renamed";
}

TEST_F(Provision, AFileThatIsNoDatabaseIsCorrupt) {
  std::FILE* stream = std::fopen(file.path().c_str(), "wb");
  ASSERT_NE(stream, nullptr);
  for (int i = 0; i < 200; ++i) std::fputs("this is a letter and not a database\n", stream);
  std::fclose(stream);
  const auto opened = open_sqlite_storage({.path = file.path()}, compiled(Shape{}.domain()), system_random(), Log());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace nizhal::storage
