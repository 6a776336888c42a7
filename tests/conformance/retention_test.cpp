// Pruning, epochs, change marks and scripts, on both kinds of database.
#include <gtest/gtest.h>

#include <limits>

#include "examples/notes/notes.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

struct NotesDatabase : OnEveryBackend {
  TestDatabase db{GetParam(), notes::domain()};
  const TableDef& notes_table = db.domain->table(0);

  void insert(const std::string& id, std::int64_t now_us = 1'000'000) {
    auto transaction = db.write(now_us);
    ASSERT_TRUE(*transaction->insert(notes_table, {id, "o1", "x"}));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  void remove(const std::string& id, std::int64_t now_us) {
    auto transaction = db.write(now_us);
    ASSERT_TRUE(*transaction->remove(notes_table, id));
    ASSERT_TRUE(transaction->commit().has_value());
  }
};
struct GcTest : NotesDatabase {};
INSTANTIATE_TEST_SUITE_P(On, GcTest, every_backend(), kind_name);

TEST_P(GcTest, OnAFreshDatabaseDoesNothing) {
  const auto report = db.storage->gc(Timestamp{std::numeric_limits<std::int64_t>::max()});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->removals + report->mutations + report->audit_rows, 0u);
  EXPECT_EQ(report->pruned_through, Version{0});
}

TEST_P(GcTest, PrunesWhatIsOlderAndRaisesTheHorizonWithIt) {
  insert("n1", 1);
  insert("n2", 1);
  remove("n1", 100);
  const Version first = db.last();
  remove("n2", 200);
  const auto report = db.storage->gc(Timestamp{200});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->removals, 1u);
  EXPECT_EQ(report->pruned_through, first);
  EXPECT_EQ(db.position().pruned_through, first);
  EXPECT_EQ(db.removals("o1"), Names{"-notes/n2"});
  EXPECT_EQ(db.storage->gc(Timestamp{200})->removals, 0u);
  EXPECT_EQ(db.storage->gc(Timestamp{200})->pruned_through, first);
}

TEST_P(GcTest, ASnapshotSaysWhatWasPrunedWhenItWasTaken) {
  insert("n1", 1);
  remove("n1", 100);
  const auto settled = *db.storage->position();
  const auto before = db.snapshot();
  ASSERT_EQ(db.storage->gc(Timestamp{200})->removals, 1u);
  EXPECT_EQ(before->position()->pruned_through, Version{0});
  const auto after = db.storage->open_snapshot(settled);
  ASSERT_TRUE(after.has_value()) << after.error().message;
  EXPECT_EQ((*after)->position()->pruned_through, settled.last)
      << "a position from before a pruning must not hide it from a snapshot that was taken after it";
}

TEST_P(GcTest, AVersionPrunedEarlierNeverComesDown) {
  insert("n1", 1);
  insert("n2", 1);
  remove("n1", 500);
  remove("n2", 100);  // the clock went back
  const Version last = db.last();
  EXPECT_EQ(db.storage->gc(Timestamp{200})->pruned_through, last);
  EXPECT_EQ(db.storage->gc(Timestamp{1000})->pruned_through, last);
}

TEST_P(GcTest, MoreThanOneBatchGoesAndClientsStay) {
  insert("n1");
  const std::string version = std::to_string(number(db.last()));
  db.other->run("INSERT INTO " + db.engine("removal") +
                " (version, bucket, table_name, key, deleted, at_us) "
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) SELECT " +
                version + ", 'o1', 'notes', CAST(i AS TEXT), 1 = 1, i FROM n");
  {
    auto transaction = db.write(10);
    storage::MutationRecord record;
    record.client_mutation_id = "m1";
    ASSERT_TRUE(transaction->put_mutation(record).has_value());
    ASSERT_TRUE(transaction->put_audit({}).has_value());
    ASSERT_TRUE(transaction->put_client({"c1", "u1", "o1", MutationId{1}, "m1", ""}).has_value());
    ASSERT_TRUE(transaction->commit().has_value());
  }
  const auto report = db.storage->gc(Timestamp{24'001});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->removals, 24'000u);
  EXPECT_EQ(report->mutations, 1u);
  EXPECT_EQ(report->audit_rows, 1u);
  EXPECT_EQ(std::to_string(number(report->pruned_through)), version);
  EXPECT_EQ(db.other->value("SELECT count(*) FROM " + db.engine("removal")), "1000");
  EXPECT_TRUE(db.snapshot()->client("c1")->has_value());
}

struct Notes : NotesDatabase {};
INSTANTIATE_TEST_SUITE_P(On, Notes, every_backend(), kind_name);

TEST_P(Notes, TheChangeMarkMovesWithEveryCommitByAnyone) {
  const auto start = *db.storage->change_mark();
  EXPECT_EQ(*db.storage->change_mark(), start);
  insert("n1");
  const auto second = *db.storage->change_mark();
  EXPECT_FALSE(second == start);
  EXPECT_EQ(second.grants, start.grants);
  db.other->run("UPDATE notes SET body = 'z'");
  const auto third = *db.storage->change_mark();
  EXPECT_FALSE(third == second);
  EXPECT_GT(third.last, second.last);
  EXPECT_EQ(*db.storage->change_mark(), third);
}

TEST_P(Notes, TheForeignMarkMovesWithCommitsOfOthersOnly) {
  insert("n1");
  const auto start = *db.storage->change_mark();
  insert("n2");
  remove("n1", 2);
  EXPECT_EQ(db.storage->change_mark()->foreign, start.foreign);
  db.other->run("UPDATE notes SET body = 'z'");
  const auto second = *db.storage->change_mark();
  EXPECT_NE(second.foreign, start.foreign);
  const auto beside = db.backend->open(db.domain);
  {
    auto transaction = beside->write(Timestamp{1});
    ASSERT_TRUE(*(*transaction)->insert(notes_table, {"n9", "o1", "x"}));
    ASSERT_TRUE((*transaction)->commit().has_value());
  }
  EXPECT_NE(db.storage->change_mark()->foreign, second.foreign) << "another instance is another program";
}

TEST_P(Notes, AScriptRunsAsAnotherProgramWould) {
  ASSERT_TRUE(
      db.storage
          ->run_script("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a');\n"
                       "-- a comment\nINSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'it''s; fine');")
          .has_value());
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  EXPECT_TRUE(db.grants("u1").contains("team:a"));
  EXPECT_FALSE(
      db.storage->run_script("INSERT INTO notes (id, owner_id, body) VALUES ('n2', 'o1', ''); nonsense").has_value());
  EXPECT_EQ(db.filled("o1"), Names{"notes/n1"}) << "all of it or nothing";
  const auto nested = db.storage->run_script("BEGIN; DELETE FROM notes; COMMIT");
  ASSERT_FALSE(nested.has_value());
  EXPECT_EQ(nested.error().code, ErrorCode::usage);
  const auto rolled_back = db.storage->run_script("ROLLBACK;");
  ASSERT_FALSE(rolled_back.has_value());
  EXPECT_EQ(rolled_back.error().code, ErrorCode::usage);
  EXPECT_EQ(db.filled("o1"), Names{"notes/n1"});
  const auto ended = db.storage->run_script("DELETE FROM notes; COMMIT; SELECT 1");
  ASSERT_FALSE(ended.has_value());
  EXPECT_EQ(ended.error().code, ErrorCode::usage);
  EXPECT_EQ(db.filled("o1"), Names{"notes/n1"});
  insert("n3");
}

TEST_P(Notes, ARotatedEpochIsSeen) {
  const std::string before = db.position().epoch;
  EXPECT_FALSE(before.empty());
  const auto rotated = db.storage->rotate_epoch();
  ASSERT_TRUE(rotated.has_value()) << rotated.error().message;
  EXPECT_NE(*rotated, before);
  EXPECT_EQ(db.position().epoch, *rotated);
  EXPECT_EQ(db.storage->position()->epoch, *rotated);
}

TEST_P(Notes, AReopenedDatabaseGoesOnWhereItWas) {
  insert("n1");
  const storage::Position before = db.position();
  db.storage.reset();
  db.storage = db.backend->open(db.domain);
  const auto report = db.storage->provision();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_FALSE(report->created);
  EXPECT_TRUE(report->changes.empty());
  EXPECT_EQ(db.position().epoch, before.epoch);
  EXPECT_EQ(db.last(), before.last);
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  EXPECT_TRUE(db.rows("o1", before.horizon).empty());
}

TEST_P(Notes, WhatWasHandedOutOutlivesTheStorage) {
  insert("n1");
  auto snapshot = db.snapshot();
  auto transaction = db.write();
  ASSERT_TRUE(*transaction->insert(notes_table, {"n2", "o1", "x"}));
  db.storage.reset();
  EXPECT_TRUE(snapshot->position().has_value());
  ASSERT_TRUE(transaction->commit().has_value());
  EXPECT_EQ(db.other->value("SELECT count(*) FROM notes"), "2");
}

}  // namespace
}  // namespace nizhal::testing
