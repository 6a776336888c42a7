// The storage as a whole: looking for commits, retention, scripts, lost servers, and ends.
#include "storage/postgres/postgres_storage.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "../../../examples/notes/notes.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/test_database.hpp"

namespace nizhal::storage {
namespace {

const Timestamp kForEver{std::numeric_limits<std::int64_t>::max()};

std::string insert(const std::string& id) {
  return "INSERT INTO notes (id, owner_id, body) VALUES ('" + id + "', 'o1', '')";
}
std::string join(const std::string& id, const std::string& team = "t1") {
  return "INSERT INTO team_members (id, user_id, team_id) VALUES ('" + id + "', 'u1', '" + team + "')";
}

struct Notes : ::testing::Test {
  TestDatabase db{notes::domain()};

  void push(const std::string& id, std::int64_t now_us = 1'000'000) {
    auto transaction = db.write(now_us);
    ASSERT_TRUE(*transaction->insert(db.domain->table(0), {id, "o1", ""}));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  void remove(const std::string& id, std::int64_t now_us) {
    auto transaction = db.write(now_us);
    ASSERT_TRUE(*transaction->remove(db.domain->table(0), id));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  std::string count(const std::string& table) { return db.other->value("SELECT count(*) FROM " + table); }
};

// ---- Looking for commits

using PostgresMark = Notes;

TEST_F(PostgresMark, OurOwnCommitsMoveTheLastVersionAndNothingElse) {
  ChangeMark before = db.mark();
  for (int i = 0; i < 5; ++i) push("n" + std::to_string(i));
  auto open = db.write();
  ASSERT_TRUE(*open->insert(db.domain->table(0), {"open", "o1", ""}));
  EXPECT_EQ(db.mark().foreign, before.foreign) << "seen while it is open";
  ASSERT_TRUE(open->commit().has_value());
  open = db.write();
  open.reset();  // rolled back
  const ChangeMark after = db.mark();
  EXPECT_GT(after.last, before.last);
  before.last = after.last;
  before.settled = after.settled;
  EXPECT_EQ(after, before);
  EXPECT_EQ(db.mark(), after) << "nothing happened";
}

TEST_F(PostgresMark, AnotherProgramsCommitIsSeenHoweverLateItComes) {
  const ChangeMark before = db.mark();
  db.other->run(insert("n1"));
  const ChangeMark at_once = db.mark();
  EXPECT_NE(at_once.foreign, before.foreign);

  OtherProgram slow(db.url);
  slow.run("BEGIN; " + insert("slow"));
  db.mark();
  push("n2");
  const ChangeMark open = db.mark();
  push("n3");
  EXPECT_EQ(db.mark().foreign, open.foreign) << "its version was seen to be taken before";
  slow.run("COMMIT");
  EXPECT_NE(db.mark().foreign, open.foreign);
}

TEST_F(PostgresMark, ABoundWithoutAVersionIsFollowed) {
  // A program that has published its bound is stopped just before it takes its version.
  OtherProgram slow(db.url);
  slow.run(fmt::format("BEGIN; SELECT pg_advisory_xact_lock_shared({}, 1)",
                       postgres_schema::lock_class(db.domain->domain().name())));
  db.mark();
  slow.run(insert("slow"));
  const ChangeMark taken = db.mark();
  slow.run("COMMIT");
  EXPECT_NE(db.mark().foreign, taken.foreign);
}

TEST_F(PostgresMark, AnotherInstanceIsAnotherProgram) {
  const auto instance = db.open();
  ASSERT_TRUE(instance->change_mark().has_value());
  const ChangeMark before = *instance->change_mark();
  push("n1");
  EXPECT_NE(instance->change_mark()->foreign, before.foreign);
}

TEST_F(PostgresMark, GrantsMoveWithEveryCommitThatChangesOneAndWithNoOther) {
  const ChangeMark before = db.mark();
  db.other->run(insert("n1"));
  EXPECT_EQ(db.mark().grants, before.grants);
  db.other->run(join("m1"));
  const ChangeMark gained = db.mark();
  EXPECT_NE(gained.grants, before.grants);
  db.other->run(join("m2"));
  EXPECT_EQ(db.mark().grants, gained.grants) << "the bucket was granted already";

  // Two commit in the other order than they began, each seen by itself.
  OtherProgram slow(db.url);
  slow.run("BEGIN; " + join("m3", "t2"));
  db.other->run(join("m4", "t3"));
  const ChangeMark first = db.mark();
  EXPECT_NE(first.grants, gained.grants);
  EXPECT_EQ(db.mark().grants, first.grants);
  slow.run("COMMIT");
  const ChangeMark second = db.mark();
  EXPECT_NE(second.grants, first.grants);
  EXPECT_EQ(db.mark().grants, second.grants);
}

TEST_F(PostgresMark, ALostConnectionMovesEverything) {
  const ChangeMark before = db.mark();
  db.other->run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
      "pg_backend_pid()");
  const ChangeMark after = db.mark();
  EXPECT_NE(after.foreign, before.foreign);
  EXPECT_NE(after.grants, before.grants);
}

TEST_F(PostgresMark, ANewEpochMovesEverything) {
  const ChangeMark before = db.mark();
  const auto epoch = db.open()->rotate_epoch();
  ASSERT_TRUE(epoch.has_value());
  EXPECT_NE(db.mark().foreign, before.foreign);
  EXPECT_EQ(db.position().epoch, *epoch);
}

// ---- Retention

using PostgresRetention = Notes;

TEST_F(PostgresRetention, OnlyWhatIsSettledAndOlderGoes) {
  push("n1");
  push("n2");
  remove("n1", 1'000'000);
  const Version old = db.position().last;
  remove("n2", 2'000'000);
  auto report = db.storage->gc(Timestamp{2'000'000});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->removals, 1u);
  EXPECT_EQ(report->pruned_through, old);
  EXPECT_EQ(db.snapshot()->position()->pruned_through, old);

  // What is above an open writer's bound is old enough, but a device may have to be told it again.
  OtherProgram slow(db.url);
  slow.run("BEGIN; " + insert("slow"));
  push("n3");
  remove("n3", 1'000'000);
  report = db.storage->gc(kForEver);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->removals, 1u);
  EXPECT_LE(report->pruned_through, db.position().horizon);
  slow.run("COMMIT");
  report = db.storage->gc(kForEver);
  EXPECT_EQ(report->removals, 1u);
  EXPECT_EQ(count("nizhal.removal"), "0");
}

TEST_F(PostgresRetention, ASnapshotHasTheRemovalsOrKnowsThatTheyArePruned) {
  push("n1");
  remove("n1", 1);
  const auto before = db.snapshot();
  const Position settled = db.position();
  ASSERT_TRUE(db.storage->gc(kForEver).has_value());
  const std::vector<CoveredBucket> covered{{db.bucket("o1"), Version{0}}};
  LiveQuery query;
  query.buckets = &covered;
  EXPECT_EQ(before->live_removals(query)->size(), 1u);
  EXPECT_EQ(before->position()->pruned_through, Version{0});
  const auto after = db.storage->open_snapshot(settled);
  EXPECT_EQ((*after)->live_removals(query)->size(), 0u);
  EXPECT_GT((*after)->position()->pruned_through, Version{0}) << "though the position was read before";
}

TEST_F(PostgresRetention, ManyRowsGoInBatchesAndYoungOnesAreNotReadThrough) {
  db.other->run(
      "INSERT INTO nizhal.removal (version, bucket, table_name, key, deleted, at_us) SELECT 1, 'o1', 'notes', 'old' || "
      "i, true, 10 FROM generate_series(1, 12000) AS i;"
      "INSERT INTO nizhal.removal (version, bucket, table_name, key, deleted, at_us) SELECT 1, 'o1', 'notes', 'new' || "
      "i, true, 1000 FROM generate_series(1, 40000) AS i;"
      "INSERT INTO nizhal.audit (version, at_us, user_id, owner_id, client_mutation_id, mutator, outcome, unscoped, "
      "buckets, changes) SELECT 1, 10, 'u', 'o', '', '', 'applied', false, '[]', '[]' FROM generate_series(1, 6000)");
  // No transaction is longer than a batch: one that holds a row of the second batch is met after the first.
  OtherProgram holder(db.url);
  holder.run("BEGIN; SELECT FROM nizhal.removal WHERE key = 'old11000' FOR UPDATE");
  const auto stopped = db.storage->gc(Timestamp{500});
  EXPECT_FALSE(stopped.has_value());
  EXPECT_EQ(count("nizhal.removal"), "42000");
  EXPECT_EQ(db.snapshot()->position()->pruned_through, Version{1}) << "each batch says what it has pruned";
  holder.run("COMMIT");
  const auto report = db.storage->gc(Timestamp{500});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->removals, 2'000u);
  EXPECT_EQ(report->audit_rows, 6'000u);
  EXPECT_EQ(count("nizhal.removal"), "40000");
}

TEST_F(PostgresRetention, WhoHasNotLookedSinceLearnsOfGrantsWhoseChangesArePruned) {
  const auto instance = db.open();
  ASSERT_TRUE(instance->change_mark().has_value());
  const std::uint64_t before = instance->change_mark()->grants;
  for (int i = 0; i < 2; ++i) {
    db.other->run(
        "DO $$ BEGIN FOR i IN 1..600 LOOP INSERT INTO team_members (id, user_id, team_id) VALUES (gen_random_uuid(), "
        "'u' || i, 'team'); COMMIT; END LOOP; END $$");
    db.other->run("DELETE FROM team_members");
  }
  EXPECT_GT(std::stol(count("nizhal.grant_change")), 1'000);
  ASSERT_TRUE(db.storage->gc(Timestamp{0}).has_value());
  EXPECT_EQ(count("nizhal.grant_change"), "1");
  const std::uint64_t after = instance->change_mark()->grants;
  EXPECT_NE(after, before);
  EXPECT_EQ(instance->change_mark()->grants, after);
  ASSERT_TRUE(db.storage->gc(Timestamp{0}).has_value());
  EXPECT_EQ(instance->change_mark()->grants, after) << "few are left alone";
}

// ---- Scripts, ends and servers that go

using PostgresStorageTest = Notes;

TEST_F(PostgresStorageTest, AScriptIsOneTransactionThatItCannotEnd) {
  ASSERT_TRUE(db.storage->run_script(insert("n1") + "; " + insert("n2")).has_value());
  EXPECT_EQ(count("notes"), "2");
  EXPECT_EQ(count("(SELECT DISTINCT nizhal_version FROM notes) AS versions"), "1");
  const auto failed = db.storage->run_script(insert("n3") + "; SELECT nothing FROM nowhere");
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code, ErrorCode::usage);
  EXPECT_NE(failed.error().message.find("nowhere"), std::string::npos) << failed.error().message;
  EXPECT_EQ(count("notes"), "2");
  for (const char* end : {"COMMIT", "ROLLBACK;", "BEGIN; DELETE FROM notes; COMMIT", "DO $$ BEGIN COMMIT; END $$"}) {
    const auto ended = db.storage->run_script(std::string("DELETE FROM notes; ") + end);
    ASSERT_FALSE(ended.has_value()) << end;
    EXPECT_EQ(ended.error().code, ErrorCode::usage);
    EXPECT_EQ(count("notes"), "2") << end;
  }
  ASSERT_TRUE(db.storage
                  ->run_script("CREATE TABLE more (id text); INSERT INTO more VALUES ('it''s; $$fine$$'); "
                               "DELETE FROM notes; -- the end")
                  .has_value());
  EXPECT_EQ(count("more"), "1");
}

TEST_F(PostgresStorageTest, InterruptingEndsWhatRunsAndWhatComes) {
  OtherProgram holder(db.url);
  holder.run("BEGIN; LOCK TABLE notes IN ACCESS EXCLUSIVE MODE");
  auto reading = std::async(std::launch::async, [&]() -> Result<std::vector<EncodedRow>> {
    const auto snapshot = db.storage->snapshot();  // which holds the tables
    if (!snapshot) return tl::unexpected(snapshot.error());
    const std::vector<CoveredBucket> covered{{db.bucket("o1"), Version{0}}};
    LiveQuery query;
    query.buckets = &covered;
    return (*snapshot)->live_rows(query);
  });
  while (db.other->value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
                         "current_database()") == "0")
    std::this_thread::yield();
  db.storage->interrupt();
  const auto rows = reading.get();
  ASSERT_FALSE(rows.has_value());
  EXPECT_EQ(rows.error().code, ErrorCode::busy);
  EXPECT_EQ(db.storage->write(Timestamp{1}).error().code, ErrorCode::busy);
  EXPECT_EQ(db.storage->snapshot().error().code, ErrorCode::busy);
  EXPECT_EQ(db.storage->gc(Timestamp{1}).error().code, ErrorCode::busy);
}

TEST_F(PostgresStorageTest, ItIsDescribedWithoutCredentials) {
  PostgresStorageOptions options;
  options.url = db.url + (db.url.find('?') == std::string::npos ? "?" : "&") + "password=secret";
  const auto storage = open_postgres_storage(options, db.domain, system_random(), Log());
  ASSERT_TRUE(storage.has_value()) << storage.error().message;
  EXPECT_EQ((*storage)->describe().find("secret"), std::string::npos) << (*storage)->describe();
  EXPECT_NE((*storage)->describe().find("postgresql://"), std::string::npos);
}

TEST_F(PostgresStorageTest, TablesAreWhereTheRolesSearchPathSays) {
  db.other->run("CREATE SCHEMA shop; ALTER ROLE CURRENT_USER IN DATABASE \"" + db.name() + "\" SET search_path = shop");
  const std::string fresh = db.server.create_database();
  OtherProgram other(fresh);
  other.run("CREATE SCHEMA shop");
  const std::string database = other.value("SELECT current_database()");
  other.run("ALTER ROLE CURRENT_USER IN DATABASE " + database + " SET search_path = shop");
  PostgresStorageOptions options;
  options.url = fresh;
  const auto storage = open_postgres_storage(options, db.domain, system_random(), Log());
  ASSERT_TRUE(storage.has_value()) << storage.error().message;
  ASSERT_TRUE((*storage)->provision().has_value());
  EXPECT_EQ(other.value("SELECT count(*) FROM shop.notes"), "0");
  auto transaction = (*storage)->write(Timestamp{1});
  ASSERT_TRUE(*(*transaction)->insert(db.domain->table(0), {"n1", "o1", ""}));
  ASSERT_TRUE((*transaction)->commit().has_value());
  const auto rows = (*storage)->snapshot().value()->backfill(db.bucket("o1"), 0, std::nullopt, 10);
  EXPECT_EQ(rows->size(), 1u);
}

TEST(PostgresStorageAlone, ARestartedServerCostsNobodyAnError) {
  testing::PostgresServer server;
  TestDatabase db(notes::domain(), server);
  const auto use = [&] {
    EXPECT_TRUE(db.storage->position().has_value());
    EXPECT_TRUE(db.storage->snapshot().has_value());
    EXPECT_TRUE(db.storage->write(Timestamp{1}).has_value());
    EXPECT_TRUE(db.storage->change_mark().has_value());
  };
  use();
  server.restart();
  use();
  server.kill_hard();
  server.start();
  use();
  server.stop();
  EXPECT_FALSE(db.storage->position().has_value());
  EXPECT_FALSE(db.storage->change_mark().has_value());
  server.start();
  use();
}

TEST(PostgresStorageAlone, APromotedStandbyIsANewEpoch) {
  testing::PostgresServer primary;
  TestDatabase db(notes::domain(), primary);
  const Position before = db.position();
  auto standby = primary.standby();
  db.other->run(insert("n1"));
  const std::string url = standby->url(db.name());
  primary.stop();
  standby->promote();
  PostgresStorageOptions options;
  options.url = url;
  const auto storage = open_postgres_storage(options, db.domain, system_random(), Log());
  ASSERT_TRUE(storage.has_value()) << storage.error().message;
  const auto after = (*storage)->position();
  ASSERT_TRUE(after.has_value()) << after.error().message;
  EXPECT_NE(after->epoch, before.epoch);
  EXPECT_GT(after->last, before.last);
}

}  // namespace
}  // namespace nizhal::storage
