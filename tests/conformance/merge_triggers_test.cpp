// What other programs write to tables that merge, on both kinds of database: their changes are stamped with the time of
// the database, and recent updates that do not tell of them are dropped.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "domain/field_stamps.hpp"
#include "tests/backends/merge_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

using storage::MergeState;

const Hlc kOld{1'000, 3, std::string(32, 'a')};
/// Further ahead than any clock of a test.
const Hlc kAhead{253'000'000'000'000, 0, std::string(32, 'a')};

struct MergeTriggersTest : OnEveryBackend {
  TestDatabase db{GetParam(), merge_domain()};

  void insert(const std::string& name, const Row& row, const MergeState& merge) {
    const auto transaction = db.write();
    ASSERT_TRUE(transaction->insert_merged(*db.domain->domain().find_table(name), row, merge).value_or(false));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  void insert_task(const std::string& stamps) {
    insert("tasks", {"t1", "o1", "title", std::monostate{}, std::int64_t{1}, R"({"a":1})"}, {stamps, ""});
  }
  MergeState kept(const std::string& name, const std::string& id) {
    const auto found = db.write()->get_to_merge(*db.domain->domain().find_table(name), id);
    EXPECT_TRUE(found.has_value() && found->has_value()) << name << "/" << id;
    return found && *found ? (*found)->merge : MergeState{};
  }
  std::string stamps() { return kept("tasks", "t1").stamps; }
  std::int64_t now_ms() { return std::stoll(db.other->value("SELECT " + db.backend->now_seconds())) * 1'000; }

  /// That is what a trigger gave since `from_ms`.
  void expect_foreign(const Hlc& stamp, std::int64_t from_ms) {
    EXPECT_EQ(stamp.node, foreign_node());
    EXPECT_EQ(stamp.counter, 0);
    EXPECT_GE(stamp.milliseconds, from_ms - 1'000);
    EXPECT_LE(stamp.milliseconds, now_ms() + 1'000);
  }
};
INSTANTIATE_TEST_SUITE_P(On, MergeTriggersTest, every_backend(), kind_name);

TEST_P(MergeTriggersTest, ARowOfAnotherProgramIsStampedAsAWhole) {
  const std::int64_t from = now_ms();
  db.other->run(
      "INSERT INTO tasks (id, owner_id, title) VALUES ('t1', 'o1', 'x');"
      "INSERT INTO papers (id, owner_id) VALUES ('p1', 'o1');"
      "INSERT INTO settings (id, value) VALUES ('s1', 'v');"
      "INSERT INTO boards (id, owner_id) VALUES ('b1', 'o1')");
  for (const auto& [name, id] : {std::pair{"tasks", "t1"}, {"papers", "p1"}, {"settings", "s1"}}) {
    const MergeState merge = kept(name, id);
    const FieldStamps stamps(merge.stamps);
    EXPECT_EQ(merge.stamps, "*=" + stamps.highest().text()) << name;
    expect_foreign(stamps.of("owner_id"), from);
    EXPECT_EQ(merge.recent, "") << name;
  }
  EXPECT_EQ(kept("boards", "b1"), MergeState{});
  const auto paper = db.write()->get(*db.domain->domain().find_table("papers"), "p1");
  EXPECT_EQ((**paper)[3], Value(Blob{{0, 0}}));
}

TEST_P(MergeTriggersTest, AnUpdateStampsTheColumnsThatItChanges) {
  insert_task("*=" + kOld.text());
  const std::int64_t from = now_ms();
  db.other->run("UPDATE tasks SET title = 'title', rank = 2 WHERE id = 't1'");
  const FieldStamps after_rank(stamps());
  EXPECT_EQ(after_rank.of("title"), kOld);
  EXPECT_EQ(after_rank.of("body"), kOld);
  expect_foreign(after_rank.of("rank"), from);
  EXPECT_EQ(stamps(), after_rank.text());

  db.other->run("UPDATE tasks SET body = 'text' WHERE id = 't1'");
  db.other->run(R"(UPDATE tasks SET extra = '{"a":2}' WHERE id = 't1')");
  const FieldStamps after_all(stamps());
  EXPECT_EQ(after_all.of("title"), kOld);
  for (const char* column : {"body", "rank", "extra"}) expect_foreign(after_all.of(column), from);
  db.other->run("UPDATE tasks SET body = NULL WHERE id = 't1'");
  EXPECT_GE(FieldStamps(stamps()).of("body"), after_all.of("body"));
  EXPECT_EQ(FieldStamps(stamps()).of("extra"), after_all.of("extra"));
}

TEST_P(MergeTriggersTest, AnUpdateThatChangesNothingStampsNothing) {
  insert_task("*=" + kOld.text());
  db.other->run("UPDATE tasks SET title = title, body = NULL, rank = rank, extra = extra");
  EXPECT_EQ(stamps(), "*=" + kOld.text());
}

TEST_P(MergeTriggersTest, AHigherStampStays) {
  insert_task("*=" + kOld.text() + ";title=" + kAhead.text());
  db.other->run("UPDATE tasks SET title = 'theirs', rank = 5");
  EXPECT_EQ(FieldStamps(stamps()).of("title"), kAhead);
  EXPECT_EQ(FieldStamps(stamps()).of("rank").node, foreign_node());
}

TEST_P(MergeTriggersTest, HoweverOftenARowIsUpdatedEachColumnIsNamedOnce) {
  insert_task("*=" + kOld.text());
  for (int i = 0; i < 20; ++i)
    db.other->run("UPDATE tasks SET title = 'x" + std::to_string(i) + "', body = 'y" + std::to_string(i) + "'");
  EXPECT_EQ(stamps(), FieldStamps(stamps()).text());
  EXPECT_EQ(stamps().size(), std::string("*=;body=;title=").size() + 3 * kOld.text().size());
}

TEST_P(MergeTriggersTest, StampsThatAreNoneDoNotHinderAnotherProgram) {
  insert_task("\"rubbish\\;=;");
  db.other->run("UPDATE tasks SET title = 'new'");
  EXPECT_EQ(FieldStamps(stamps()).of("title").node, foreign_node());
}

TEST_P(MergeTriggersTest, ARowThatGetsAnotherKeyIsANewOne) {
  insert_task("*=" + kOld.text() + ";title=" + kAhead.text());
  const std::int64_t from = now_ms();
  db.other->run("UPDATE tasks SET id = 't2'");
  const FieldStamps after(kept("tasks", "t2").stamps);
  expect_foreign(after.of("title"), from);
  expect_foreign(after.highest(), from);
}

TEST_P(MergeTriggersTest, AnUpsertIsAnUpdateOfTheRowThatIsThere) {
  insert_task("*=" + kOld.text());
  db.other->run(
      "INSERT INTO tasks (id, owner_id, title) VALUES ('t1', 'o1', 'theirs') ON CONFLICT (id) DO UPDATE SET "
      "title = excluded.title");
  EXPECT_EQ(FieldStamps(stamps()).of("title").node, foreign_node());
  EXPECT_EQ(FieldStamps(stamps()).of("rank"), kOld);
}

TEST_P(MergeTriggersTest, RecentUpdatesGoWithWhatTheyRestOn) {
  const auto made = [this](const std::string& id) {
    insert("papers", {id, "o1", "title", Blob{{0, 0}}}, {"*=" + kOld.text(), "recent"});
    insert("boards", {id, "o1", "name", Blob{{0, 0}}}, {"", "recent"});
  };
  made("x");
  db.other->run("UPDATE papers SET title = 'new'; UPDATE boards SET name = 'new'");
  EXPECT_EQ(kept("papers", "x").recent, "recent");
  EXPECT_EQ(kept("boards", "x").recent, "recent");
  const std::string bytes = db.backend->is_sqlite() ? "x'0000" : "'\\x0000";
  db.other->run("UPDATE papers SET text = " + bytes + "'; UPDATE boards SET cells = " + bytes + "'");
  EXPECT_EQ(kept("papers", "x").recent, "recent");
  db.other->run("UPDATE papers SET text = " + bytes + "01'; UPDATE boards SET cells = " + bytes + "01'");
  EXPECT_EQ(kept("papers", "x").recent, "");
  EXPECT_EQ(kept("boards", "x").recent, "");
  // A column that merges by itself has no stamp.
  EXPECT_EQ(FieldStamps(kept("papers", "x").stamps).of("text"), kOld);

  made("y");
  db.other->run("UPDATE papers SET owner_id = 'o2' WHERE id = 'y'; UPDATE boards SET owner_id = 'o2' WHERE id = 'y'");
  EXPECT_EQ(kept("papers", "y").recent, "");
  EXPECT_EQ(kept("boards", "y").recent, "");
  made("z");
  db.other->run("UPDATE papers SET id = 'zz' WHERE id = 'z'; UPDATE boards SET id = 'zz' WHERE id = 'z'");
  EXPECT_EQ(kept("papers", "zz").recent, "");
  EXPECT_EQ(kept("boards", "zz").recent, "");
}

TEST_P(MergeTriggersTest, TheEnginesOwnWritesKeepWhatTheyBring) {
  insert("papers", {"p1", "o1", "title", Blob{{0, 0}}}, {"*=" + kOld.text(), "recent"});
  {
    const auto transaction = db.write();
    ASSERT_TRUE(transaction
                    ->update_merged(*db.domain->domain().find_table("papers"), "p1", {{1, "o2"}, {3, Blob{{0, 0, 1}}}},
                                    {"*=y", "newer"})
                    .value_or(false));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  EXPECT_EQ(kept("papers", "p1"), (MergeState{"*=y", "newer"}));
  // And what follows from another program is one of its own again.
  db.other->run("UPDATE papers SET owner_id = 'o3'");
  EXPECT_EQ(kept("papers", "p1").recent, "");
}

TEST_P(MergeTriggersTest, AScriptIsAnotherProgram) {
  insert_task("*=" + kOld.text());
  ASSERT_TRUE(db.storage->run_script("UPDATE tasks SET title = 'seeded'").has_value());
  EXPECT_EQ(FieldStamps(stamps()).of("title").node, foreign_node());
}

TEST_P(MergeTriggersTest, AnEmptiedTableBeginsAnew) {
  insert_task("*=" + kAhead.text());
  db.other->run(db.backend->empty_table("tasks"));
  EXPECT_EQ(db.removals("o1"), Names{"-tasks/t1"});
  db.other->run("INSERT INTO tasks (id, owner_id) VALUES ('t1', 'o1')");
  EXPECT_EQ(FieldStamps(stamps()).highest().node, foreign_node());
  EXPECT_LT(FieldStamps(stamps()).highest(), kAhead);
}

}  // namespace
}  // namespace nizhal::testing
