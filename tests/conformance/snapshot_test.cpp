// What a snapshot shows, on both kinds of database.
#include <gtest/gtest.h>

#include "examples/notes/notes.hpp"
#include "tests/backends/office_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

struct SnapshotTest : OnEveryBackend {
  TestDatabase db{GetParam(), notes::domain()};
  const TableDef& notes_table = db.domain->table(0);

  void insert(const std::string& id) {
    auto transaction = db.write();
    ASSERT_TRUE(*transaction->insert(notes_table, {id, "o1", "x"}));
    ASSERT_TRUE(transaction->commit().has_value());
  }
};
INSTANTIATE_TEST_SUITE_P(On, SnapshotTest, every_backend(), kind_name);

TEST_P(SnapshotTest, SeesNothingThatWasCommittedAfterItWasTaken) {
  insert("n1");
  auto snapshot = db.snapshot();
  insert("n2");
  db.other->run("DELETE FROM notes WHERE id = 'n1'");
  const Covered covered = db.cover("o1");
  const auto rows = snapshot->live_rows(covered.after());
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().key, "n1");
  EXPECT_TRUE(snapshot->live_removals(covered.after())->empty());
  EXPECT_LT(snapshot->position()->last, db.last());
}

TEST_P(SnapshotTest, SeesATableThatIsEmptiedAfterwardsAsItWas) {
  insert("n1");
  if (!db.backend->is_sqlite()) db.other->run("SET lock_timeout = '50ms'");
  const auto snapshot = db.snapshot();
  // Nothing was read yet. On PostgreSQL the statement has to wait for the snapshot's end.
  const bool emptied = db.other->try_run(db.backend->empty_table("notes")).empty();
  EXPECT_EQ(emptied, db.backend->is_sqlite());
  const Covered covered = db.cover("o1");
  EXPECT_EQ(snapshot->live_rows(covered.after())->size(), 1u);
  EXPECT_EQ(snapshot->backfill(db.bucket("o1"), 0, std::nullopt, 10)->size(), 1u);
  EXPECT_TRUE(snapshot->live_removals(covered.after())->empty());
}

TEST_P(SnapshotTest, RowsAreEncodedAsTheWireWantsThem) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n\"1', 'o1', 'a\nb\\c')");
  std::string expected;
  append_row_json(expected, notes_table, {"n\"1", "o1", "a\nb\\c"});
  const auto filled = db.snapshot()->backfill(db.bucket("o1"), 0, std::nullopt, 10);
  ASSERT_EQ(filled->size(), 1u);
  EXPECT_EQ(filled->front().json, expected);
  EXPECT_EQ(filled->front().key, "n\"1");
  const Covered covered = db.cover("o1");
  const auto live = db.snapshot()->live_rows(covered.after());
  ASSERT_EQ(live->size(), 1u);
  EXPECT_EQ(live->front().json, expected);
  EXPECT_EQ(live->front().version, db.last());
}

TEST_P(SnapshotTest, TablesThatTheDeviceLacksAreLeftOut) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', ''), ('n2', 'a', '')");
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  db.other->run("DELETE FROM team_notes WHERE id = 'n2'");
  const Covered covered = db.cover("team:a");
  const std::vector<bool> tables{true, true, false};
  storage::LiveQuery query = covered.after();
  query.tables = &tables;
  const auto snapshot = db.snapshot();
  const auto rows = snapshot->live_rows(query);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().key, "m1");
  EXPECT_TRUE(snapshot->live_removals(query)->empty());
}

TEST_P(SnapshotTest, RemovalsFromBeforeABucketWasGainedAreNotTold) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', ''), ('n2', 'o1', '')");
  db.other->run("DELETE FROM notes WHERE id = 'n1'");
  const Version gained = db.last();
  db.other->run("DELETE FROM notes WHERE id = 'n2'");
  const Covered covered = db.cover("o1", gained);
  const auto removals = db.snapshot()->live_removals(covered.after());
  ASSERT_EQ(removals->size(), 1u);
  EXPECT_EQ(removals->front().key, "n2");
}

TEST_P(SnapshotTest, ThroughIsInclusiveAndAfterIsNot) {
  insert("n1");
  const Version first = db.last();
  insert("n2");
  const Version second = db.last();
  insert("n3");
  const Covered covered = db.cover("o1");
  storage::LiveQuery query = covered.after(first);
  query.through = second;
  const auto rows = db.snapshot()->live_rows(query);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().key, "n2");
}

TEST_P(SnapshotTest, BackfillGoesInTheByteOrderOfKeysFromAnyOfThem) {
  // An order that differs from a dictionary's, and from that of numbers.
  const Names ids{"-", "10", "9", "A", "B", "Z", "_", "a", "a b", "aa", "b", "z", "~", "\u00e4", "\u00e9"};
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) insert(*id);
  Names expected;
  for (const std::string& id : ids) expected.push_back("notes/" + id);
  EXPECT_EQ(db.filled("o1"), expected);
  const auto snapshot = db.snapshot();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto page = snapshot->backfill(db.bucket("o1"), 0, ids[i], 2);
    ASSERT_TRUE(page.has_value()) << page.error().message;
    ASSERT_EQ(page->size(), std::min<std::size_t>(2, ids.size() - i - 1)) << ids[i];
    for (std::size_t j = 0; j < page->size(); ++j) EXPECT_EQ((*page)[j].key, ids[i + 1 + j]);
  }
  EXPECT_EQ(*snapshot->count_rows(db.bucket("o1"), 0), ids.size());
}

TEST_P(SnapshotTest, TheHorizonIsThatOfAPositionReadBefore) {
  insert("n1");
  const auto settled = db.storage->position();
  ASSERT_TRUE(settled.has_value()) << settled.error().message;
  EXPECT_EQ(settled->horizon, db.last());
  insert("n2");
  const auto snapshot = db.storage->open_snapshot(*settled);
  ASSERT_TRUE(snapshot.has_value()) << snapshot.error().message;
  const Covered covered = db.cover("o1");
  EXPECT_EQ((*snapshot)->live_rows(covered.after())->size(), 2u) << "the snapshot is taken now";
  EXPECT_GE((*snapshot)->position()->horizon, settled->horizon);
  EXPECT_EQ((*snapshot)->position()->epoch, settled->epoch);
}

TEST_P(SnapshotTest, AForeignTransactionIsSeenOnlyOnceItIsCommittedAndIsNotMissedThen) {
  insert("n0");
  db.other->run("BEGIN");
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  EXPECT_EQ(db.rows("o1"), Names{"notes/n0"});
  const Version cursor = db.position().horizon;
  db.other->run("UPDATE notes SET body = 'y' WHERE id = 'n0'");
  EXPECT_EQ(db.rows("o1", cursor), Names{});
  db.other->run("COMMIT");
  const Names both{"notes/n0", "notes/n1"};
  Names found = db.rows("o1", cursor);
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, both) << "from a cursor that was given while the transaction was open";
}

TEST_P(SnapshotTest, ASavepointThatAForeignTransactionRolledBackHidesNothing) {
  db.other->run("BEGIN");
  db.other->run("SAVEPOINT s");
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  db.other->run("ROLLBACK TO s");
  const Version before = db.position().horizon;
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n2', 'o1', 'x')");
  const Version between = db.position().horizon;
  db.other->run("COMMIT");
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n2"});
  EXPECT_EQ(db.rows("o1", between), Names{"notes/n2"});
  EXPECT_EQ(db.rows("o1", db.position().horizon), Names{});
}

TEST_P(SnapshotTest, ReadersDoNotWaitForAWriter) {
  auto transaction = db.write();
  ASSERT_TRUE(*transaction->insert(notes_table, {"n1", "o1", "x"}));
  EXPECT_TRUE(db.rows("o1").empty());
  EXPECT_TRUE(db.storage->change_mark().has_value());
  ASSERT_TRUE(transaction->commit().has_value());
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
}

struct ClientKey : OnEveryBackend {};
INSTANTIATE_TEST_SUITE_P(On, ClientKey, every_backend(), kind_name);

TEST_P(ClientKey, ARemovalCarriesTheRowsClientIdWhereItDiffersFromTheKey) {
  TestDatabase db(GetParam(), office_domain());
  db.other->run(
      "INSERT INTO docs (id, owner_id, kind, client_id) VALUES ('a', 'o1', 'plain', 'k'), ('b', 'o1', 'plain', 'b')");
  db.other->run("DELETE FROM docs");
  const Covered covered = db.cover("o1");
  const auto removals = db.snapshot()->live_removals(covered.after());
  ASSERT_EQ(removals->size(), 2u);
  EXPECT_EQ((*removals)[0].client_key, "k");
  EXPECT_FALSE((*removals)[1].client_key.has_value());
}

}  // namespace
}  // namespace nizhal::testing
