// What the triggers record of another program's writes, one kind of write at a time, on both kinds of database.
#include <gtest/gtest.h>

#include "examples/notes/notes.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

struct Triggers : OnEveryBackend {
  TestDatabase db{GetParam(), notes::domain()};
};
INSTANTIATE_TEST_SUITE_P(On, Triggers, every_backend(), kind_name);

TEST_P(Triggers, AnInsertByAnotherProgramIsVersionedAndScoped) {
  const Version before = db.last();
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'), ('n2', 'o2', 'y')");
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n1"});
  EXPECT_EQ(db.rows("o2", before), Names{"notes/n2"});
  EXPECT_GT(db.last(), before);
  EXPECT_TRUE(db.rows("o1", db.last()).empty());
}

TEST_P(Triggers, AVersionThatAnotherProgramWritesIsOverwritten) {
  db.other->run("INSERT INTO notes (id, owner_id, body, nizhal_version) VALUES ('n1', 'o1', 'x', 999)");
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  EXPECT_EQ(db.other->value("SELECT nizhal_version FROM notes"), std::to_string(number(db.last())));
}

TEST_P(Triggers, AnUpdateGivesTheRowANewVersionAndLeavesNoRemoval) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("UPDATE notes SET body = 'y' WHERE id = 'n1'");
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n1"});
  EXPECT_TRUE(db.removals("o1").empty());
  EXPECT_GT(db.last(), before);
}

TEST_P(Triggers, ADeleteLeavesATombstoneInTheRowsBucket) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("DELETE FROM notes");
  EXPECT_EQ(db.removals("o1", before), Names{"-notes/n1"});
  EXPECT_TRUE(db.removals("o2", before).empty());
  EXPECT_TRUE(db.removals("o1", db.last()).empty());
}

TEST_P(Triggers, EmptyingATableLeavesATombstoneForEachRowAndTakesItsGrants) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u1', 'b')");
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x'), ('n2', 'b', 'x')");
  const Version before = db.last();
  db.other->run(db.backend->empty_table("team_notes"));
  db.other->run(db.backend->empty_table("team_members"));
  EXPECT_EQ(db.removals("team:a", before), (Names{"-team_notes/n1", "-team_members/m1"}));
  EXPECT_EQ(db.removals("team:b", before), (Names{"-team_notes/n2", "-team_members/m2"}));
  EXPECT_FALSE(db.grants("u1").contains("team:a"));
  EXPECT_FALSE(db.grants("u1").contains("team:b"));
}

TEST_P(Triggers, AMoveIsAnExitFromTheOldBucketAndAChangeInTheNewOne) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("UPDATE team_notes SET team_id = 'b'");
  EXPECT_EQ(db.removals("team:a", before), Names{"<team_notes/n1"});
  EXPECT_TRUE(db.rows("team:a", before).empty());
  EXPECT_EQ(db.rows("team:b", before), Names{"team_notes/n1"});
}

TEST_P(Triggers, AMoveThereAndBackLeavesTheRowCovered) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("UPDATE team_notes SET team_id = 'b'; UPDATE team_notes SET team_id = 'a'");
  EXPECT_EQ(db.removals("team:a", before), Names{"<team_notes/n1!"});
  EXPECT_EQ(db.removals("team:b", before), Names{"<team_notes/n1"});
}

TEST_P(Triggers, AnInsertThatDoesNothingChangesNothingOfTheRow) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'x') ON CONFLICT (id) DO NOTHING");
  EXPECT_TRUE(db.rows("team:a", before).empty());
  EXPECT_TRUE(db.rows("team:b").empty());
  for (const std::string& removal : db.removals("team:a")) EXPECT_EQ(removal.back(), '!') << removal;
}

TEST_P(Triggers, AnUpsertThatMovesTheRowIsAMove) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run(
      "INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'y') "
      "ON CONFLICT (id) DO UPDATE SET team_id = excluded.team_id");
  ASSERT_FALSE(db.removals("team:a", before).empty());
  for (const std::string& removal : db.removals("team:a", before)) EXPECT_EQ(removal, "<team_notes/n1");
  EXPECT_EQ(db.rows("team:b", before), Names{"team_notes/n1"});
}

TEST_P(Triggers, AnotherKeyIsATombstoneOfTheOldOne) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("UPDATE notes SET id = 'n2'");
  EXPECT_EQ(db.removals("o1", before), Names{"-notes/n1"});
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n2"});
}

TEST_P(Triggers, KeysThatTwoRowsSwapInOneTransactionAreBothChangedRows) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'), ('n2', 'o2', 'y')");
  const Version before = db.last();
  db.other->run(
      "BEGIN; UPDATE notes SET id = 'n3' WHERE id = 'n1'; UPDATE notes SET id = 'n1' WHERE id = 'n2'; "
      "UPDATE notes SET id = 'n2' WHERE id = 'n3'; COMMIT");
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n2"});
  EXPECT_EQ(db.rows("o2", before), Names{"notes/n1"});
  EXPECT_EQ(db.removals("o1", before).front(), "-notes/n1");
  EXPECT_EQ(db.removals("o2", before).front(), "-notes/n2");
}

TEST_P(Triggers, StatementsOverSeveralRowsRecordEachRow) {
  db.other->run(
      "INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x'), ('n2', 'a', 'x'), ('n3', 'b', '')");
  const Version before = db.last();
  db.other->run("BEGIN; UPDATE team_notes SET team_id = 'c' WHERE team_id = 'a'; DELETE FROM team_notes; COMMIT");
  EXPECT_EQ(db.removals("team:a", before), (Names{"<team_notes/n1", "<team_notes/n2"}));
  EXPECT_EQ(db.removals("team:c", before), (Names{"-team_notes/n1", "-team_notes/n2"}));
  EXPECT_EQ(db.removals("team:b", before), Names{"-team_notes/n3"});
}

TEST_P(Triggers, WhatAnotherProgramRollsBackLeavesNoTrace) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("BEGIN; DELETE FROM notes; ROLLBACK");
  EXPECT_TRUE(db.removals("o1").empty());
  EXPECT_TRUE(db.rows("o1", before).empty());
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
}

TEST_P(Triggers, ValuesThatWouldMakeAKeyOfAnotherPrefixAreInNoBucket) {
  db.other->run(
      "INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'team:a', 'x'), ('n2', '', 'y'), ('n3', 'team', '')");
  EXPECT_TRUE(db.rows("team:a").empty());
  db.other->run("DELETE FROM notes");
  EXPECT_TRUE(db.removals("team:a").empty());
  EXPECT_EQ(db.other->query("SELECT bucket, key FROM " + db.engine("removal")), Names{"team|n3"});
}

TEST_P(Triggers, AMembershipGivesTheBucketAndItsEndTakesIt) {
  EXPECT_TRUE(db.grants("u1").contains("o"));
  const Version before = db.last();
  const auto mark = db.storage->change_mark()->grants;
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  ASSERT_TRUE(db.grants("u1").contains("team:a"));
  EXPECT_GT(db.grants("u1")["team:a"], number(before));
  EXPECT_FALSE(db.grants("u2").contains("team:a"));
  const auto with = db.storage->change_mark()->grants;
  EXPECT_NE(with, mark);
  db.other->run("DELETE FROM team_members");
  EXPECT_FALSE(db.grants("u1").contains("team:a"));
  EXPECT_NE(db.storage->change_mark()->grants, with);
}

TEST_P(Triggers, ABucketIsLostOnlyWhenNoGrantingRowRemains) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u1', 'a')");
  const auto gained = db.grants("u1")["team:a"];
  db.other->run("DELETE FROM team_members WHERE id = 'm1'");
  EXPECT_EQ(db.grants("u1")["team:a"], gained);
  db.other->run("UPDATE team_members SET id = 'm3'");
  EXPECT_EQ(db.grants("u1")["team:a"], gained) << "it never went";
  db.other->run("DELETE FROM team_members");
  EXPECT_FALSE(db.grants("u1").contains("team:a"));
}

TEST_P(Triggers, ALossAndRegainInOneTransactionHasANewMarker) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  const auto gained = db.grants("u1")["team:a"];
  db.other->run("BEGIN; UPDATE team_members SET team_id = 'b'; UPDATE team_members SET team_id = 'a'; COMMIT");
  EXPECT_GT(db.grants("u1")["team:a"], gained);
  EXPECT_FALSE(db.grants("u1").contains("team:b"));
}

TEST_P(Triggers, AMembershipRowGivenToAnotherUserTakesTheGrant) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  db.other->run(
      "INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u2', 'a') "
      "ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id");
  EXPECT_FALSE(db.grants("u1").contains("team:a"));
  EXPECT_TRUE(db.grants("u2").contains("team:a"));
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u3', 'a') ON CONFLICT DO NOTHING");
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m2', 'u3', 'b')");
  EXPECT_TRUE(db.grants("u2").contains("team:a")) << "an insert that did nothing took nothing";
  EXPECT_FALSE(db.grants("u3").contains("team:a"));
}

TEST_P(Triggers, AnotherGrantingRowKeepsTheMarkerOfTheGrant) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  const auto gained = db.grants("u1")["team:a"];
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m2', 'u1', 'a')");
  EXPECT_EQ(db.grants("u1")["team:a"], gained);
  db.other->run("DELETE FROM team_members WHERE id = 'm1'");
  EXPECT_EQ(db.grants("u1")["team:a"], gained);
}

TEST_P(Triggers, ATransactionOfTheEngineHasOneVersionWhateverItWrites) {
  const Version before = db.last();
  auto transaction = db.write();
  const Version version = transaction->version();
  EXPECT_GT(version, before);
  const auto& notes = db.domain->table(0);
  ASSERT_TRUE(*transaction->insert(notes, {"n1", "o1", "x"}));
  ASSERT_TRUE(*transaction->insert(notes, {"n2", "o1", "x"}));
  ASSERT_TRUE(*transaction->update(notes, "n1", {{2, "y"}}));
  ASSERT_TRUE(*transaction->remove(notes, "n2"));
  ASSERT_TRUE(transaction->commit().has_value());
  transaction.reset();
  EXPECT_EQ(db.last(), version);
  EXPECT_EQ(db.other->value("SELECT nizhal_version FROM notes"), std::to_string(number(version)));
  EXPECT_EQ(db.other->query("SELECT version, at_us FROM " + db.engine("removal")),
            Names{std::to_string(number(version)) + "|1000000"});
}

TEST_P(Triggers, AForeignTransactionOfSeveralStatementsIsSeenWhole) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("BEGIN");
  db.other->run("DELETE FROM team_notes");
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'x')");
  db.other->run("UPDATE team_notes SET team_id = 'c'");
  EXPECT_TRUE(db.removals("team:a").empty());
  db.other->run("COMMIT");
  ASSERT_FALSE(db.removals("team:a", before).empty());
  EXPECT_EQ(db.removals("team:a", before).front().substr(1), "team_notes/n1");
  EXPECT_TRUE(db.rows("team:b", before).empty());
  EXPECT_EQ(db.rows("team:c", before), Names{"team_notes/n1"});
}

TEST_P(Triggers, AForeignRemovalHasATimeForItsRetention) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'); DELETE FROM notes");
  EXPECT_EQ(db.other->value("SELECT count(*) FROM " + db.engine("removal") + " WHERE abs(at_us / 1000000 - " +
                            db.backend->now_seconds() + ") < 60"),
            "1");
}

}  // namespace
}  // namespace nizhal::testing
