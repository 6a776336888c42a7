// What the triggers record of another program's writes, one kind of write at a time.
#include <gtest/gtest.h>

#include "../../../examples/notes/notes.hpp"
#include "storage/sqlite/test_database.hpp"

namespace nizhal::storage {
namespace {

struct Triggers : ::testing::Test {
  TestDatabase db{notes::domain()};
};

TEST_F(Triggers, AnInsertByAnotherProgramIsVersionedAndScoped) {
  const Version before = db.last();
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'), ('n2', 'o2', 'y')");
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n1"});
  EXPECT_EQ(db.rows("o2", before), Names{"notes/n2"});
  EXPECT_EQ(number(db.last()), number(before) + 2);
  EXPECT_TRUE(db.rows("o1", db.last()).empty());
}

TEST_F(Triggers, AVersionThatAnotherProgramWritesIsOverwritten) {
  db.other->run("INSERT INTO notes (id, owner_id, body, nizhal_version) VALUES ('n1', 'o1', 'x', 999)");
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  EXPECT_EQ(db.other->value("SELECT nizhal_version = version FROM notes, nizhal_state"), "1");
}

TEST_F(Triggers, AnUpdateGivesTheRowANewVersionAndLeavesNoRemoval) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("UPDATE notes SET body = 'y' WHERE id = 'n1'");
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n1"});
  EXPECT_TRUE(db.removals("o1").empty());
  EXPECT_EQ(number(db.last()), number(before) + 1);
}

TEST_F(Triggers, ADeleteLeavesATombstoneInTheRowsBucket) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("DELETE FROM notes");
  EXPECT_EQ(db.removals("o1", before), Names{"-notes/n1"});
  EXPECT_TRUE(db.removals("o2", before).empty());
  EXPECT_TRUE(db.removals("o1", db.last()).empty());
}

TEST_F(Triggers, AMoveIsAnExitFromTheOldBucketAndAChangeInTheNewOne) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("UPDATE team_notes SET team_id = 'b'");
  EXPECT_EQ(db.removals("team:a", before), Names{"<team_notes/n1"});
  EXPECT_TRUE(db.rows("team:a", before).empty());
  EXPECT_EQ(db.rows("team:b", before), Names{"team_notes/n1"});
}

TEST_F(Triggers, AMoveThereAndBackLeavesTheRowCovered) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("UPDATE team_notes SET team_id = 'b'; UPDATE team_notes SET team_id = 'a'");
  EXPECT_EQ(db.removals("team:a", before), Names{"<team_notes/n1!"});
  EXPECT_EQ(db.removals("team:b", before), Names{"<team_notes/n1"});
}

TEST_F(Triggers, AReplaceRecordsThatTheOldRowMayHaveLeft) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("INSERT OR REPLACE INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'x')");
  EXPECT_EQ(db.removals("team:a", before), Names{"<team_notes/n1"});
  EXPECT_EQ(db.rows("team:b", before), Names{"team_notes/n1"});
  const Version replaced = db.last();
  db.other->run("REPLACE INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'y')");
  EXPECT_EQ(db.removals("team:b", replaced), Names{"<team_notes/n1!"}) << "it stayed, so nothing is to be sent";
  EXPECT_EQ(db.rows("team:b", replaced), Names{"team_notes/n1"});
}

TEST_F(Triggers, AnInsertThatIsIgnoredChangesNothingOfTheRow) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("INSERT OR IGNORE INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'x')");
  EXPECT_TRUE(db.rows("team:a", before).empty());
  EXPECT_TRUE(db.rows("team:b").empty());
  for (const std::string& removal : db.removals("team:a")) EXPECT_EQ(removal.back(), '!') << removal;
}

TEST_F(Triggers, AnUpsertThatMovesTheRowIsAMove) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run(
      "INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'y') "
      "ON CONFLICT (id) DO UPDATE SET team_id = excluded.team_id");
  ASSERT_FALSE(db.removals("team:a", before).empty());
  for (const std::string& removal : db.removals("team:a", before)) EXPECT_EQ(removal, "<team_notes/n1");
  EXPECT_EQ(db.rows("team:b", before), Names{"team_notes/n1"});
}

TEST_F(Triggers, AnotherKeyIsATombstoneOfTheOldOne) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("UPDATE notes SET id = 'n2'");
  EXPECT_EQ(db.removals("o1", before), Names{"-notes/n1"});
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n2"});
}

TEST_F(Triggers, AnUpdateOrReplaceOfTheKeyRemovesTheRowThatHadIt) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'), ('n2', 'o2', 'y')");
  const Version before = db.last();
  db.other->run("UPDATE OR REPLACE notes SET id = 'n2' WHERE id = 'n1'");
  EXPECT_EQ(db.removals("o1", before), Names{"-notes/n1"});
  EXPECT_EQ(db.removals("o2", before), Names{"<notes/n2"});
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n2"});
}

TEST_F(Triggers, ARowThatAUniqueIndexOfTheUserReplacesIsRemoved) {
  db.other->run("CREATE UNIQUE INDEX one_body ON notes (owner_id, body)");
  ASSERT_TRUE(db.storage->provision().has_value());
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("INSERT OR REPLACE INTO notes (id, owner_id, body) VALUES ('n2', 'o1', 'x')");
  EXPECT_EQ(db.removals("o1", before), Names{"<notes/n1"});
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n2"});
}

TEST_F(Triggers, StatementsOverSeveralRowsRecordEachRow) {
  db.other->run(
      "INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x'), ('n2', 'a', 'x'), ('n3', 'b', '')");
  const Version before = db.last();
  db.other->run("BEGIN; UPDATE team_notes SET team_id = 'c' WHERE team_id = 'a'; DELETE FROM team_notes; COMMIT");
  EXPECT_EQ(db.removals("team:a", before), (Names{"<team_notes/n1", "<team_notes/n2"}));
  EXPECT_EQ(db.removals("team:c", before), (Names{"-team_notes/n1", "-team_notes/n2"}));
  EXPECT_EQ(db.removals("team:b", before), Names{"-team_notes/n3"});
}

TEST_F(Triggers, WhatAnotherProgramRollsBackLeavesNoTrace) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("BEGIN; DELETE FROM notes; ROLLBACK");
  EXPECT_EQ(db.last(), before);
  EXPECT_TRUE(db.removals("o1").empty());
}

TEST_F(Triggers, RecursiveTriggersChangeNothing) {
  db.other->run("PRAGMA recursive_triggers = ON");
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("REPLACE INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'x')");
  db.other->run("UPDATE team_notes SET body = 'z'");
  EXPECT_EQ(db.rows("team:b", before), Names{"team_notes/n1"});
  for (const std::string& removal : db.removals("team:a", before)) EXPECT_EQ(removal.substr(1), "team_notes/n1");
  EXPECT_FALSE(db.removals("team:a", before).empty());
}

TEST_F(Triggers, AKeyWithNulIsInNoBucketAndABodyWithNulIsNull) {
  db.other->run(
      "INSERT INTO notes (id, owner_id, body) VALUES ('a' || char(0), 'o1', 'x'), ('n1', 'o1', 'y' || char(0))");
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  db.other->run("DELETE FROM notes WHERE id <> 'n1'");
  EXPECT_TRUE(db.removals("o1").empty());
}

TEST_F(Triggers, ValuesThatWouldMakeAKeyOfAnotherPrefixAreInNoBucket) {
  db.other->run(
      "INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'team:a', 'x'), ('n2', '', 'y'), ('n3', 'team', '')");
  db.other->run("DELETE FROM notes");
  EXPECT_TRUE(db.rows("team:a").empty());
  EXPECT_EQ(db.other->query("SELECT bucket, key FROM nizhal_removal"), Names{"team|n3"});
}

TEST_F(Triggers, AMembershipGivesTheBucketAndItsEndTakesIt) {
  EXPECT_TRUE(db.grants("u1").contains("o"));
  const Version before = db.last();
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  ASSERT_TRUE(db.grants("u1").contains("team:a"));
  EXPECT_GT(db.grants("u1")["team:a"], number(before));
  EXPECT_FALSE(db.grants("u2").contains("team:a"));
  EXPECT_EQ(db.storage->change_mark()->grants, number(db.last()));
  db.other->run("DELETE FROM team_members");
  EXPECT_FALSE(db.grants("u1").contains("team:a"));
  EXPECT_EQ(db.storage->change_mark()->grants, number(db.last()));
}

TEST_F(Triggers, ABucketIsLostOnlyWhenNoGrantingRowRemains) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u1', 'a')");
  const auto gained = db.grants("u1")["team:a"];
  db.other->run("DELETE FROM team_members WHERE id = 'm1'");
  EXPECT_EQ(db.grants("u1")["team:a"], gained);
  db.other->run("UPDATE team_members SET id = 'm3'");
  EXPECT_EQ(db.grants("u1")["team:a"], gained);
  db.other->run("REPLACE INTO team_members (id, user_id, team_id) VALUES ('m3', 'u1', 'a')");
  EXPECT_EQ(db.grants("u1")["team:a"], gained) << "it never went";
  db.other->run("DELETE FROM team_members");
  EXPECT_FALSE(db.grants("u1").contains("team:a"));
}

TEST_F(Triggers, ALossAndRegainInOneTransactionHasANewMarker) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  const auto gained = db.grants("u1")["team:a"];
  db.other->run("BEGIN; UPDATE team_members SET team_id = 'b'; UPDATE team_members SET team_id = 'a'; COMMIT");
  EXPECT_GT(db.grants("u1")["team:a"], gained);
  EXPECT_FALSE(db.grants("u1").contains("team:b"));
}

TEST_F(Triggers, AMembershipRowReplacedByAnotherUsersTakesTheGrant) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  db.other->run("INSERT OR REPLACE INTO team_members (id, user_id, team_id) VALUES ('m1', 'u2', 'a')");
  EXPECT_FALSE(db.grants("u1").contains("team:a"));
  EXPECT_TRUE(db.grants("u2").contains("team:a"));
  db.other->run("INSERT OR IGNORE INTO team_members (id, user_id, team_id) VALUES ('m1', 'u3', 'a')");
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m2', 'u3', 'b')");
  EXPECT_TRUE(db.grants("u2").contains("team:a")) << "an ignored insert replaced nothing";
  EXPECT_EQ(db.other->value("SELECT count(*) FROM nizhal_replaced"), "0");
}

TEST_F(Triggers, AReplaceOfOneGrantKeepsTheMarkersOfOthers) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  const auto gained = db.grants("u1")["team:a"];
  db.other->run("INSERT OR REPLACE INTO team_members (id, user_id, team_id) VALUES ('m2', 'u1', 'a')");
  EXPECT_EQ(db.grants("u1")["team:a"], gained) << "the outer conflict clause must not reach the grants";
}

TEST_F(Triggers, ATransactionOfTheEngineHasOneVersionWhateverItWrites) {
  const Version before = db.last();
  auto transaction = db.write();
  const auto& notes = db.domain->table(0);
  ASSERT_TRUE(*transaction->insert(notes, {"n1", "o1", "x"}));
  ASSERT_TRUE(*transaction->insert(notes, {"n2", "o1", "x"}));
  ASSERT_TRUE(*transaction->update(notes, "n1", {{2, "y"}}));
  ASSERT_TRUE(*transaction->remove(notes, "n2"));
  ASSERT_TRUE(transaction->commit().has_value());
  EXPECT_EQ(number(db.last()), number(before) + 1);
  EXPECT_EQ(db.other->value("SELECT nizhal_version FROM notes"), std::to_string(number(before) + 1));
  EXPECT_EQ(db.other->query("SELECT version, at_us FROM nizhal_removal"),
            Names{std::to_string(number(before) + 1) + "|1000000"});
  EXPECT_EQ(db.other->value("SELECT writing FROM nizhal_state"), "0");
}

TEST_F(Triggers, AForeignRemovalHasATimeForItsRetention) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'); DELETE FROM notes");
  EXPECT_EQ(db.other->value("SELECT abs(at_us / 1000000 - strftime('%s', 'now')) < 60 FROM nizhal_removal"), "1");
}

}  // namespace
}  // namespace nizhal::storage
