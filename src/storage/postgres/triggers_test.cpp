// What the triggers record of other programs' writes, one kind of write at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <future>

#include "../../../examples/notes/notes.hpp"
#include "base/ids.hpp"
#include "storage/postgres/migration.hpp"
#include "storage/postgres/other_program.hpp"
#include "tests/backends/office_domain.hpp"

namespace nizhal::storage {
namespace {

using Names = std::vector<std::string>;
using testing::office_domain;

std::shared_ptr<const CompiledDomain> compiled(Domain domain) {
  auto result = CompiledDomain::compile(std::move(domain));
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message);
  return *result;
}

/// A fresh database with the domain in it.
struct Provisioned {
  explicit Provisioned(Domain raw, const testing::DatabaseOptions& options = {})
      : domain(compiled(std::move(raw))), url(testing::shared_server().create_database(options)), other(url) {
    const auto report = provision_database(other.connection(), *domain, system_random(), Log());
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message + other.connection().error_text());
  }
  std::string last() { return other.value("SELECT last_value FROM nizhal.version_seq"); }
  /// `-table/key` of tombstones and `<table/key` of exits of a bucket above a version.
  Names removals(const std::string& bucket, const std::string& after = "0") {
    return other.query(
        "SELECT CASE WHEN deleted THEN '-' ELSE '<' END || table_name || '/' || key FROM nizhal.removal "
        "WHERE bucket = '" +
        bucket + "' AND version > " + after + " ORDER BY seq");
  }
  /// `subject:bucket=rows` of all grants.
  Names grants() {
    return other.query("SELECT subject || ':' || bucket || '=' || granting_rows FROM nizhal.bucket_grant ORDER BY 1");
  }
  std::string gained(const std::string& bucket) {
    return other.value("SELECT gained FROM nizhal.bucket_grant WHERE bucket = '" + bucket + "'");
  }
  std::string database() { return other.value("SELECT current_database()"); }

  std::shared_ptr<const CompiledDomain> domain;
  std::string url;
  OtherProgram other;
};

struct PostgresTriggers : ::testing::Test {
  Provisioned db{notes::domain()};
  OtherProgram& other = db.other;
};

TEST_F(PostgresTriggers, AnInsertByAnotherProgramIsVersioned) {
  const std::string before = db.last();
  other.run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'), ('n2', 'o2', 'y')");
  EXPECT_EQ(other.query("SELECT DISTINCT nizhal_version FROM notes"), Names{std::to_string(std::stoi(before) + 1)});
  other.run("INSERT INTO notes (id, owner_id, body, nizhal_version) VALUES ('n3', 'o1', 'x', 999)");
  EXPECT_EQ(other.value("SELECT nizhal_version FROM notes WHERE id = 'n3'"), std::to_string(std::stoi(before) + 2));
  EXPECT_EQ(other.value("SELECT count(*) FROM nizhal.removal"), "0");
}

TEST_F(PostgresTriggers, AnUpdateGivesANewVersionAndLeavesNoRemovalEvenWhenNothingChanges) {
  other.run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const std::string first = other.value("SELECT nizhal_version FROM notes");
  other.run("UPDATE notes SET body = 'y'");
  const std::string second = other.value("SELECT nizhal_version FROM notes");
  EXPECT_GT(std::stoi(second), std::stoi(first));
  other.run("UPDATE notes SET nizhal_version = 0");
  EXPECT_GT(std::stoi(other.value("SELECT nizhal_version FROM notes")), std::stoi(second));
  EXPECT_EQ(other.value("SELECT count(*) FROM nizhal.removal"), "0");
}

TEST_F(PostgresTriggers, ADeleteLeavesATombstoneInTheRowsBucket) {
  other.run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const std::string before = db.last();
  other.run("DELETE FROM notes");
  EXPECT_EQ(db.removals("o1", before), Names{"-notes/n1"});
  EXPECT_EQ(other.value("SELECT count(*) FROM nizhal.removal"), "1");
  EXPECT_EQ(other.value("SELECT abs(at_us / 1000000 - extract(epoch FROM now())) < 60 FROM nizhal.removal"), "t");
}

TEST_F(PostgresTriggers, AMoveIsAnExitAndAMoveBackInOneTransactionToo) {
  other.run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const std::string before = db.last();
  other.run("UPDATE team_notes SET team_id = 'b'");
  EXPECT_EQ(db.removals("team:a", before), Names{"<team_notes/n1"});
  other.run("BEGIN; UPDATE team_notes SET team_id = 'a'; UPDATE team_notes SET team_id = 'b'; COMMIT");
  EXPECT_EQ(db.removals("team:a"), (Names{"<team_notes/n1", "<team_notes/n1"}));
  EXPECT_EQ(db.removals("team:b"), Names{"<team_notes/n1"});
}

TEST_F(PostgresTriggers, AnotherKeyIsATombstoneOfTheOldOne) {
  other.run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  other.run("UPDATE notes SET id = 'n2'");
  EXPECT_EQ(db.removals("o1"), Names{"-notes/n1"});
  EXPECT_EQ(other.value("SELECT nizhal_version FROM notes"), other.value("SELECT version FROM nizhal.removal"));
}

TEST_F(PostgresTriggers, AnUpsertThatMovesTheRowIsAMoveAndOneThatDoesNothingIsNothing) {
  other.run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x')");
  const std::string version = other.value("SELECT nizhal_version FROM team_notes");
  other.run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'y') ON CONFLICT (id) DO NOTHING");
  EXPECT_EQ(other.value("SELECT nizhal_version FROM team_notes"), version);
  EXPECT_EQ(other.value("SELECT count(*) FROM nizhal.removal"), "0");
  other.run(
      "INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'b', 'y') "
      "ON CONFLICT (id) DO UPDATE SET team_id = excluded.team_id");
  EXPECT_EQ(db.removals("team:a"), Names{"<team_notes/n1"});
  other.run(
      "MERGE INTO team_notes AS t USING (VALUES ('n1', 'c'), ('n2', 'c')) AS s (id, team) ON t.id = s.id "
      "WHEN MATCHED THEN UPDATE SET team_id = s.team WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.team, '')");
  EXPECT_EQ(db.removals("team:b"), Names{"<team_notes/n1"});
  EXPECT_EQ(other.query("SELECT id FROM team_notes WHERE nizhal_version = (SELECT last_value FROM nizhal.version_seq)"),
            (Names{"n1", "n2"}));
}

TEST_F(PostgresTriggers, EmptyingATableLeavesATombstoneOfEveryRowInABucket) {
  other.run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'), ('n2', 'o2', 'x'), ('n3', '', 'x')");
  other.run("TRUNCATE notes");
  EXPECT_EQ(db.removals("o1"), Names{"-notes/n1"});
  EXPECT_EQ(db.removals("o2"), Names{"-notes/n2"});
  EXPECT_EQ(other.value("SELECT count(*) FROM nizhal.removal"), "2");
  EXPECT_EQ(other.value("SELECT DISTINCT version FROM nizhal.removal"), db.last());
}

TEST_F(PostgresTriggers, EmptyingReachesTablesThatItCascadesTo) {
  other.run(
      "CREATE TABLE teams (id text PRIMARY KEY); INSERT INTO teams VALUES ('a'); "
      "ALTER TABLE team_notes ADD FOREIGN KEY (team_id) REFERENCES teams; "
      "ALTER TABLE team_members ADD FOREIGN KEY (team_id) REFERENCES teams; "
      "INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x'); "
      "INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  ASSERT_EQ(db.grants(), Names{"u1:team:a=1"});
  const std::string before = db.last();
  other.run("TRUNCATE teams CASCADE");
  Names removed = db.removals("team:a");
  EXPECT_NE(std::find(removed.begin(), removed.end(), "-team_notes/n1"), removed.end());
  EXPECT_TRUE(db.grants().empty());
  EXPECT_EQ(other.value("SELECT max(version) FROM nizhal.grant_change"), std::to_string(std::stoi(before) + 1));
}

TEST_F(PostgresTriggers, EmptyingUnderAnOlderSnapshotIsRefusedBecauseItWouldMissRows) {
  other.run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  EXPECT_EQ(other.try_run("BEGIN ISOLATION LEVEL REPEATABLE READ; TRUNCATE notes; COMMIT"), "0A000");
  EXPECT_EQ(other.try_run("BEGIN ISOLATION LEVEL SERIALIZABLE; TRUNCATE notes; COMMIT"), "0A000");
  EXPECT_NE(other.error().find("READ COMMITTED"), std::string::npos) << other.error();
  EXPECT_EQ(other.value("SELECT count(*) FROM notes"), "1");
}

TEST_F(PostgresTriggers, RowsThatWaitForATruncateAreSeenByIt) {
  OtherProgram writer(db.url), emptying(db.url);
  writer.run("BEGIN; INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  auto emptied = std::async(std::launch::async, [&] { return emptying.try_run("TRUNCATE notes"); });
  ASSERT_TRUE(waits_for_lock(other, emptying.pid()));
  writer.run("COMMIT");
  EXPECT_EQ(emptied.get(), "");
  EXPECT_EQ(db.removals("o1"), Names{"-notes/n1"});
}

TEST_F(PostgresTriggers, RowsThatAForeignKeyDeletesAreRemovedToo) {
  other.run(
      "CREATE TABLE teams (id text PRIMARY KEY); INSERT INTO teams VALUES ('a'), ('b'); "
      "ALTER TABLE team_notes ADD FOREIGN KEY (team_id) REFERENCES teams ON DELETE CASCADE ON UPDATE CASCADE; "
      "ALTER TABLE team_members ADD FOREIGN KEY (team_id) REFERENCES teams ON DELETE CASCADE ON UPDATE CASCADE; "
      "INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x'), ('n2', 'b', 'x'); "
      "INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u1', 'b')");
  other.run("DELETE FROM teams WHERE id = 'a'");
  Names removed = db.removals("team:a");
  std::sort(removed.begin(), removed.end());
  EXPECT_EQ(removed, (Names{"-team_members/m1", "-team_notes/n1"}));
  EXPECT_EQ(db.grants(), Names{"u1:team:b=1"});
  other.run("UPDATE teams SET id = 'c'");
  removed = db.removals("team:b");
  std::sort(removed.begin(), removed.end());
  EXPECT_EQ(removed, (Names{"<team_members/m2", "<team_notes/n2"}));
  EXPECT_EQ(db.grants(), Names{"u1:team:c=1"});
}

TEST_F(PostgresTriggers, RowsThatAreCopiedInAreVersionedAndCounted) {
  const std::string path = testing::shared_server().folder() + "/members-" + random_uuid(system_random());
  std::ofstream(path) << "m1\tu1\ta\nm2\tu1\ta\nm3\tu2\ta\n";
  const std::string before = db.last();
  other.run("COPY team_members (id, user_id, team_id) FROM '" + path + "'");
  EXPECT_EQ(db.grants(), (Names{"u1:team:a=2", "u2:team:a=1"}));
  EXPECT_EQ(other.value("SELECT DISTINCT nizhal_version FROM team_members"), std::to_string(std::stoi(before) + 1));
}

TEST_F(PostgresTriggers, ARoleWithRightsOnTheTableAloneCanWriteIt) {
  const std::string role = "clerk_" + db.database();
  other.run("CREATE ROLE \"" + role + "\"; GRANT ALL ON notes, team_members TO \"" + role + "\"");
  OtherProgram clerk(db.url);
  clerk.run("SET ROLE \"" + role + "\"");
  // A schema before pg_catalog must not lead the triggers to other functions.
  clerk.run("CREATE FUNCTION pg_temp.now_us() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'");
  clerk.run(
      "INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'); UPDATE notes SET owner_id = 'o2'; "
      "INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  EXPECT_EQ(db.grants(), Names{"u1:team:a=1"});
  clerk.run("DELETE FROM notes; TRUNCATE team_members");
  EXPECT_EQ(db.removals("o1"), Names{"<notes/n1"});
  EXPECT_EQ(db.removals("o2"), Names{"-notes/n1"});
  EXPECT_TRUE(db.grants().empty());
  EXPECT_EQ(clerk.try_run("SELECT nizhal.gain_grant('x', 'x', 'x', 1)"), "42501");
  EXPECT_EQ(clerk.try_run("DELETE FROM nizhal.removal"), "42501");
  clerk.run("RESET ROLE");
  other.run("DROP OWNED BY \"" + role + "\"; DROP ROLE \"" + role + "\"");
}

TEST_F(PostgresTriggers, ARolledBackSavepointTakesItsVersionAndItsTracesWithIt) {
  other.run(
      "BEGIN; SAVEPOINT a; INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'); DELETE FROM notes; "
      "INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'); ROLLBACK TO a; "
      "INSERT INTO notes (id, owner_id, body) VALUES ('n2', 'o1', 'x')");
  EXPECT_EQ(other.value("SELECT nizhal_version = (SELECT last_value FROM nizhal.version_seq) FROM notes"), "t");
  const std::string version = other.value("SELECT nizhal_version FROM notes");
  EXPECT_EQ(other.value("SELECT settled < " + version + " FROM nizhal.horizon()"), "t") << "its bound is published";
  other.run("SAVEPOINT b; UPDATE notes SET body = 'y'; ROLLBACK TO b; UPDATE notes SET body = 'z'; COMMIT");
  EXPECT_EQ(other.value("SELECT nizhal_version FROM notes"), version) << "one transaction, one version";
  EXPECT_TRUE(db.removals("o1").empty());
  EXPECT_TRUE(db.grants().empty());
  EXPECT_EQ(other.value("SELECT settled FROM nizhal.horizon()"), version);
}

TEST_F(PostgresTriggers, EqualIdsOfTwoTablesInOneTransactionAreTwoRows) {
  other.run(
      "BEGIN; INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'); "
      "INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', 'x'); COMMIT");
  EXPECT_EQ(other.value("SELECT n.nizhal_version = t.nizhal_version FROM notes AS n, team_notes AS t"), "t");
  other.run("BEGIN; DELETE FROM notes; DELETE FROM team_notes; COMMIT");
  EXPECT_EQ(db.removals("o1"), Names{"-notes/n1"});
  EXPECT_EQ(db.removals("team:a"), Names{"-team_notes/n1"});
}

TEST_F(PostgresTriggers, ABucketIsLostOnlyWhenNoGrantingRowRemains) {
  other.run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u1', 'a')");
  const std::string gained = db.gained("team:a");
  EXPECT_EQ(other.query("SELECT version FROM nizhal.grant_change"), Names{gained});
  other.run("DELETE FROM team_members WHERE id = 'm1'");
  other.run("UPDATE team_members SET id = 'm3'");
  EXPECT_EQ(db.gained("team:a"), gained);
  EXPECT_EQ(other.query("SELECT version FROM nizhal.grant_change"), Names{gained}) << "nothing was gained or lost";
  other.run("DELETE FROM team_members");
  EXPECT_TRUE(db.grants().empty());
  EXPECT_EQ(other.query("SELECT version FROM nizhal.grant_change ORDER BY 1"), (Names{gained, db.last()}));
}

TEST_F(PostgresTriggers, ALossAndRegainInOneTransactionHasANewMarker) {
  other.run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  const std::string gained = db.gained("team:a");
  other.run("BEGIN; UPDATE team_members SET team_id = 'b'; UPDATE team_members SET team_id = 'a'; COMMIT");
  EXPECT_GT(std::stoi(db.gained("team:a")), std::stoi(gained));
  EXPECT_EQ(db.grants(), Names{"u1:team:a=1"});
}

TEST_F(PostgresTriggers, AMembershipRowFromBeforeTheEngineCountsOnceItIsWritten) {
  other.run(
      "ALTER TABLE team_members DISABLE TRIGGER ALL; INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', "
      "'u1', 'a'), ('m2', 'u1', 'a'); ALTER TABLE team_members ENABLE TRIGGER ALL");
  EXPECT_TRUE(db.grants().empty());
  other.run("UPDATE team_members SET nizhal_version = nizhal_version WHERE id = 'm1'");
  EXPECT_EQ(db.grants(), Names{"u1:team:a=1"});
  other.run("DELETE FROM team_members WHERE id = 'm2'");
  EXPECT_EQ(db.grants(), Names{"u1:team:a=1"}) << "what was never counted is not counted out";
}

/// Both lose the last two rows of one grant at once; the second waits for the first.
void lose_at_once(Provisioned& db, const std::string& isolation, const std::string& second_outcome) {
  db.other.run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u1', 'a')");
  OtherProgram first(db.url), second(db.url);
  first.run("BEGIN ISOLATION LEVEL " + isolation + "; DELETE FROM team_members WHERE id = 'm1'");
  auto lost = std::async(std::launch::async, [&] {
    return second.try_run("BEGIN ISOLATION LEVEL " + isolation + "; DELETE FROM team_members WHERE id = 'm2'; COMMIT");
  });
  ASSERT_TRUE(waits_for_lock(db.other, second.pid()));
  first.run("COMMIT");
  EXPECT_EQ(lost.get(), second_outcome);
}

TEST_F(PostgresTriggers, TheLastTwoGrantingRowsDeletedAtOnceLeaveNoGrant) {
  lose_at_once(db, "READ COMMITTED", "");
  EXPECT_TRUE(db.grants().empty());
}

TEST_F(PostgresTriggers, TheLastTwoGrantingRowsDeletedAtOnceUnderRepeatableReadLeaveOneToBeTriedAgain) {
  lose_at_once(db, "REPEATABLE READ", "40001");
  EXPECT_EQ(db.grants(), Names{"u1:team:a=1"});
  EXPECT_EQ(other.value("SELECT count(*) FROM team_members"), "1");
  other.run("DELETE FROM team_members");
  EXPECT_TRUE(db.grants().empty());
}

TEST_F(PostgresTriggers, AGrantLostAndGainedAtOnceIsCountedAsItEnds) {
  other.run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  OtherProgram first(db.url), second(db.url);
  first.run("BEGIN; DELETE FROM team_members");
  auto gained = std::async(std::launch::async, [&] {
    return second.try_run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m2', 'u1', 'a')");
  });
  ASSERT_TRUE(waits_for_lock(other, second.pid()));
  first.run("COMMIT");
  EXPECT_EQ(gained.get(), "");
  EXPECT_EQ(db.grants(), Names{"u1:team:a=1"});
}

TEST_F(PostgresTriggers, MembershipsThatMoveAgainstEachOtherDoNotDeadlock) {
  other.run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u1', 'b')");
  const auto move = [&](const std::string& id, const std::string& first, const std::string& second) {
    OtherProgram mover(db.url);
    std::string failed;
    for (int i = 0; i < 500 && failed.empty(); ++i) {
      failed = mover.try_run("UPDATE team_members SET team_id = '" + first + "' WHERE id = '" + id + "'");
      if (failed.empty())
        failed = mover.try_run("UPDATE team_members SET team_id = '" + second + "' WHERE id = '" + id + "'");
    }
    return failed;
  };
  auto one = std::async(std::launch::async, [&] { return move("m1", "b", "a"); });
  auto two = std::async(std::launch::async, [&] { return move("m2", "a", "b"); });
  EXPECT_EQ(one.get(), "");
  EXPECT_EQ(two.get(), "");
  EXPECT_EQ(db.grants(), (Names{"u1:team:a=1", "u1:team:b=1"}));
}

TEST_F(PostgresTriggers, AUsersOwnTriggerThatChangesTheRowIsSeen) {
  other.run(
      "CREATE FUNCTION to_own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.owner_id := 'forced'; RETURN NEW; END "
      "$$; CREATE TRIGGER zz BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION to_own()");
  other.run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'); UPDATE notes SET body = 'y'");
  EXPECT_EQ(db.removals("o1"), Names{"<notes/n1"}) << "no statement named the column";
}

TEST_F(PostgresTriggers, AProgramThatReadsBackslashesItsOwnWayChangesNothing) {
  other.run("SET standard_conforming_strings = off; SET escape_string_warning = off; SET DateStyle = 'SQL, DMY'");
  other.run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o\\\\1', 'x'); DELETE FROM notes");
  EXPECT_EQ(other.value("SELECT bucket = E'o\\\\1' FROM nizhal.removal"), "t");
}

/// A rule of one table through different columns, conditions and two kinds of prefixes.
struct PostgresOfficeTriggers : ::testing::Test {
  Provisioned db{testing::office_domain()};
  OtherProgram& other = db.other;
};

TEST_F(PostgresOfficeTriggers, ARowLeavesEachBucketThatItWasInOnce) {
  other.run(
      "INSERT INTO docs (id, owner_id, team_id, kind, client_id, shelf) VALUES ('d1', 'o1', 't1', 'named', 'o1', 7), "
      "('d2', 'o1', 't1', 'private', 'c', NULL)");
  other.run("DELETE FROM docs");
  EXPECT_EQ(other.query("SELECT bucket, key, client_key FROM nizhal.removal ORDER BY 1, 2"),
            (Names{"o1|d1|o1", "o1|d2|c", "shelf:7|d1|o1", "team:t1|d1|o1"}));
}

TEST_F(PostgresOfficeTriggers, ARowThatStaysThroughAnotherRuleDoesNotLeave) {
  other.run("INSERT INTO docs (id, owner_id, kind, client_id) VALUES ('d1', 'o1', 'named', 'o1')");
  other.run("UPDATE docs SET owner_id = 'o2'");
  EXPECT_TRUE(db.removals("o1").empty()) << "the rule \"named\" still has it";
  other.run("UPDATE docs SET kind = 'plain'");
  EXPECT_EQ(db.removals("o1"), Names{"<docs/d1"});
  other.run("TRUNCATE docs");
  EXPECT_EQ(db.removals("o2"), Names{"-docs/d1"});
}

TEST_F(PostgresOfficeTriggers, ValuesThatWouldMakeAKeyOfAnotherPrefixAreInNoBucket) {
  other.run(
      "INSERT INTO docs (id, owner_id) VALUES ('d1', 'team:a'), ('d2', ''), ('d3', 'team'), ('d4', 'r/x'); "
      "DELETE FROM docs");
  EXPECT_EQ(other.query("SELECT bucket, key FROM nizhal.removal"), Names{"team|d3"});
}

TEST_F(PostgresOfficeTriggers, SeveralParametersAreEscapedAndFiltersCount) {
  other.run(
      "INSERT INTO clerks VALUES ('c1', 'u1', 5, 'no/rth%'), ('c2', 'u1', 5, ''), ('c3', '', 5, 'x'); "
      "INSERT INTO doc_members VALUES ('m1', 'u1', 'a', 'reader'), ('m2', 'u1', 'b', 'writer')");
  EXPECT_EQ(db.grants(), (Names{"u1:r/5/no%2Frth%25=1", "u1:team:a=1"}));
  other.run(
      "UPDATE doc_members SET role = 'reader' WHERE id = 'm2'; UPDATE doc_members SET role = 'x' WHERE id = 'm1'");
  EXPECT_EQ(db.grants(), (Names{"u1:r/5/no%2Frth%25=1", "u1:team:b=1"}));
  other.run("INSERT INTO orders (id, shop, region, state) VALUES (1, 5, 'no/rth%', 'open'), (2, 5, 'no/rth%', NULL)");
  other.run("UPDATE orders SET hidden = true; DELETE FROM orders");
  EXPECT_EQ(other.query("SELECT key, deleted FROM nizhal.removal WHERE table_name = 'orders'"), Names{"1|f"});
}

TEST_F(PostgresOfficeTriggers, InALinguisticDatabaseTextsStayBytes) {
  Provisioned icu(testing::office_domain(), {.icu_locale = "en-US"});
  icu.other.run("CREATE COLLATION blind (provider = icu, locale = 'en-US-u-ks-level2', deterministic = false)");
  icu.other.run(
      "ALTER TABLE docs ALTER COLUMN id TYPE text COLLATE blind, ALTER COLUMN owner_id TYPE text COLLATE blind");
  icu.other.run(
      "INSERT INTO docs (id, owner_id, kind) VALUES ('d1', 'Straße', 'plain'), ('a', 'o', ''), ('B', 'o', '')");
  icu.other.run("UPDATE docs SET owner_id = 'STRASSE' WHERE id = 'd1'; UPDATE docs SET id = 'D1' WHERE id = 'd1'");
  EXPECT_EQ(icu.removals("Straße"), Names{"<docs/d1"});
  EXPECT_EQ(icu.removals("STRASSE"), Names{"-docs/d1"}) << "a key in capitals is another key";
  EXPECT_EQ(icu.other.query("SELECT id FROM docs WHERE owner_id = 'o' ORDER BY id COLLATE \"C\""), (Names{"B", "a"}));
  icu.other.run("UPDATE docs SET owner_id = 'p' WHERE owner_id = 'O' COLLATE blind; DELETE FROM docs; TRUNCATE docs");
  EXPECT_EQ(icu.removals("o"), (Names{"<docs/a", "<docs/B"}));
  EXPECT_EQ(icu.removals("p").size(), 2U);
}

}  // namespace
}  // namespace nizhal::storage
