// What the triggers record of what other programs can do on SQLite only: REPLACE and its relatives, texts with NUL,
// recursive triggers. What they have in common with PostgreSQL's is in tests/conformance.
#include <gtest/gtest.h>

#include "examples/notes/notes.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::storage {
namespace {

using nizhal::testing::BackendKind;
using nizhal::testing::Names;
using nizhal::testing::TestDatabase;

struct SqliteTriggers : ::testing::Test {
  TestDatabase db{BackendKind::sqlite, notes::domain()};
};

TEST_F(SqliteTriggers, AReplaceRecordsThatTheOldRowMayHaveLeft) {
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

TEST_F(SqliteTriggers, AnInsertThatIsIgnoredChangesNothingOfTheRow) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("INSERT OR IGNORE INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'x')");
  EXPECT_TRUE(db.rows("team:a", before).empty());
  EXPECT_TRUE(db.rows("team:b").empty());
  for (const std::string& removal : db.removals("team:a")) EXPECT_EQ(removal.back(), '!') << removal;
}

TEST_F(SqliteTriggers, AnUpdateOrReplaceOfTheKeyRemovesTheRowThatHadIt) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'), ('n2', 'o2', 'y')");
  const Version before = db.last();
  db.other->run("UPDATE OR REPLACE notes SET id = 'n2' WHERE id = 'n1'");
  EXPECT_EQ(db.removals("o1", before), Names{"-notes/n1"});
  EXPECT_EQ(db.removals("o2", before), Names{"<notes/n2"});
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n2"});
}

TEST_F(SqliteTriggers, ARowThatAUniqueIndexOfTheUserReplacesIsRemoved) {
  db.other->run("CREATE UNIQUE INDEX one_body ON notes (owner_id, body)");
  ASSERT_TRUE(db.storage->provision().has_value());
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Version before = db.last();
  db.other->run("INSERT OR REPLACE INTO notes (id, owner_id, body) VALUES ('n2', 'o1', 'x')");
  EXPECT_EQ(db.removals("o1", before), Names{"<notes/n1"});
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n2"});
}

TEST_F(SqliteTriggers, RecursiveTriggersChangeNothing) {
  db.other->run("PRAGMA recursive_triggers = ON");
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const Version before = db.last();
  db.other->run("REPLACE INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'x')");
  db.other->run("UPDATE team_notes SET body = 'z'");
  EXPECT_EQ(db.rows("team:b", before), Names{"team_notes/n1"});
  for (const std::string& removal : db.removals("team:a", before)) EXPECT_EQ(removal.substr(1), "team_notes/n1");
  EXPECT_FALSE(db.removals("team:a", before).empty());
}

TEST_F(SqliteTriggers, AKeyWithNulIsInNoBucketAndABodyWithNulIsNull) {
  db.other->run(
      "INSERT INTO notes (id, owner_id, body) VALUES ('a' || char(0), 'o1', 'x'), ('n1', 'o1', 'y' || char(0))");
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  db.other->run("DELETE FROM notes WHERE id <> 'n1'");
  EXPECT_TRUE(db.removals("o1").empty());
}

TEST_F(SqliteTriggers, AMembershipRowReplacedByAnotherUsersTakesTheGrant) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  db.other->run("INSERT OR REPLACE INTO team_members (id, user_id, team_id) VALUES ('m1', 'u2', 'a')");
  EXPECT_FALSE(db.grants("u1").contains("team:a"));
  EXPECT_TRUE(db.grants("u2").contains("team:a"));
  db.other->run("INSERT OR IGNORE INTO team_members (id, user_id, team_id) VALUES ('m1', 'u3', 'a')");
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m2', 'u3', 'b')");
  EXPECT_TRUE(db.grants("u2").contains("team:a")) << "an ignored insert replaced nothing";
  EXPECT_EQ(db.other->value("SELECT count(*) FROM nizhal_replaced"), "0");
}

TEST_F(SqliteTriggers, AReplaceOfOneGrantKeepsTheMarkersOfOthers) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  const auto gained = db.grants("u1")["team:a"];
  db.other->run("INSERT OR REPLACE INTO team_members (id, user_id, team_id) VALUES ('m2', 'u1', 'a')");
  EXPECT_EQ(db.grants("u1")["team:a"], gained) << "the outer conflict clause must not reach the grants";
}

TEST_F(SqliteTriggers, AReplaceOfAGrantingRowKeepsTheMarker) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m3', 'u1', 'a')");
  const auto gained = db.grants("u1")["team:a"];
  db.other->run("REPLACE INTO team_members (id, user_id, team_id) VALUES ('m3', 'u1', 'a')");
  EXPECT_EQ(db.grants("u1")["team:a"], gained) << "it never went";
}

TEST_F(SqliteTriggers, ATransactionOfTheEngineLeavesItsMarkOff) {
  {
    auto transaction = db.write();
    ASSERT_TRUE(*transaction->insert(db.domain->table(0), {"n1", "o1", "x"}));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  EXPECT_EQ(db.other->value("SELECT writing FROM nizhal_state"), "0");
}

}  // namespace
}  // namespace nizhal::storage
