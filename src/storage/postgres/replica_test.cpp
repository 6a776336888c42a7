// Backfills from a streaming replica: it serves when it has everything that anybody may have seen, and the primary does
// whenever it has not.
#include "storage/postgres/replica.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>

#include "examples/notes/notes.hpp"
#include "storage/postgres/test_database.hpp"

namespace nizhal::storage {
namespace {

/// A standby that commits do not wait for.
std::unique_ptr<testing::PostgresServer> follow(testing::PostgresServer& primary) {
  auto standby = primary.standby();
  primary.sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
  primary.sql("postgres", "SELECT pg_reload_conf()");
  return standby;
}

/// Tries until it is so; the patience is for slow machines only.
template <class Condition>
bool eventually(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (!condition())
    if (std::chrono::steady_clock::now() > until) return false;
  return true;
}

struct ReplicaTest : ::testing::Test {
  testing::PostgresServer primary;
  TestDatabase db{notes::domain(), primary};
  std::unique_ptr<testing::PostgresServer> standby = follow(primary);
  std::unique_ptr<Storage> storage = open(standby->url(db.name()));
  int rows = 0;

  std::unique_ptr<Storage> open(const std::string& read_url) {
    auto opened = try_open(db.url, read_url);
    EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().message);
    return opened ? *std::move(opened) : nullptr;
  }
  Result<std::unique_ptr<Storage>> try_open(const std::string& url, const std::string& read_url, Log log = {}) {
    PostgresStorageOptions options;
    options.url = url;
    options.read_url = read_url;
    return open_postgres_storage(options, db.domain, system_random(), std::move(log));
  }
  /// A row more; commits as other programs do that do not wait for the disk.
  void insert() {
    db.other->run(fmt::format("INSERT INTO notes (id, owner_id, body) VALUES ('n{:04}', 'o1', '')", ++rows));
  }
  std::unique_ptr<Snapshot> backfill_snapshot() {
    const auto settled = storage->position();
    EXPECT_TRUE(settled.has_value()) << (settled ? "" : settled.error().message);
    auto snapshot = storage->open_backfill_snapshot(*settled);
    EXPECT_TRUE(snapshot.has_value()) << (snapshot ? "" : snapshot.error().message);
    return snapshot ? *std::move(snapshot) : nullptr;
  }
  std::size_t seen(Snapshot& snapshot) {
    const auto found = snapshot.backfill(db.bucket("o1"), 0, std::nullopt, 10'000);
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    return found ? found->size() : 0;
  }
  /// Snapshots that are held there now.
  std::string held(testing::PostgresServer& server) {
    return server.value("postgres",
                        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nizhal' AND "
                        "state = 'idle in transaction'");
  }
  /// A snapshot that the standby gives; every one before has all rows, too.
  std::unique_ptr<Snapshot> standbys_snapshot() {
    std::unique_ptr<Snapshot> snapshot;
    EXPECT_TRUE(eventually([&] {
      snapshot.reset();
      snapshot = backfill_snapshot();
      return !snapshot || (seen(*snapshot) == static_cast<std::size_t>(rows) && held(*standby) == "1");
    }));
    return snapshot;
  }
};

TEST_F(ReplicaTest, TheStandbyServesBackfillsAndNothingElse) {
  insert();
  auto snapshot = standbys_snapshot();
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(held(primary), "0");
  EXPECT_EQ(snapshot->count_rows(db.bucket("o1"), 0).value_or(0), 1u);
  const auto position = snapshot->position();
  EXPECT_EQ(position->epoch, db.position().epoch);
  EXPECT_EQ(position->last, db.position().last) << "the standby's own sequence runs ahead";
  EXPECT_EQ(position->horizon, position->last);
  snapshot.reset();
  snapshot = *storage->snapshot();
  EXPECT_EQ(seen(*snapshot), 1u);
  EXPECT_EQ(held(*standby), "0");
  EXPECT_EQ(held(primary), "1");
}

TEST_F(ReplicaTest, WhatWasCommittedBeforeAPullIsInItsSnapshot) {
  int from_standby = 0;
  const bool has_served = eventually([&] {
    for (int round = 0; round < 30; ++round) {
      insert();
      const auto snapshot = backfill_snapshot();
      if (!snapshot || seen(*snapshot) != static_cast<std::size_t>(rows)) return true;
      if (held(*standby) == "1") ++from_standby;
    }
    return from_standby >= 30;
  });
  EXPECT_TRUE(has_served);
  EXPECT_EQ(seen(*backfill_snapshot()), static_cast<std::size_t>(rows));
  EXPECT_GE(from_standby, 30);
}

TEST_F(ReplicaTest, OneThatIsBehindLeavesItToThePrimary) {
  insert();
  ASSERT_TRUE(standbys_snapshot());
  standby->sql("postgres", "SELECT pg_wal_replay_pause()");
  ASSERT_TRUE(
      eventually([&] { return standby->value("postgres", "SELECT pg_get_wal_replay_pause_state()") == "paused"; }));
  insert();
  for (int round = 0; round < 3; ++round) {
    const auto snapshot = backfill_snapshot();
    ASSERT_TRUE(snapshot);
    EXPECT_EQ(seen(*snapshot), 2u);
    EXPECT_EQ(held(*standby), "0");
  }
  standby->sql("postgres", "SELECT pg_wal_replay_resume()");
  EXPECT_TRUE(standbys_snapshot());
}

TEST_F(ReplicaTest, OneThatIsKilledLeavesItToThePrimary) {
  insert();
  const auto held_one = standbys_snapshot();
  ASSERT_TRUE(held_one);
  standby->kill_hard();
  EXPECT_EQ(held_one->backfill(db.bucket("o1"), 0, std::nullopt, 10).error().code, ErrorCode::busy);
  insert();
  const auto snapshot = backfill_snapshot();
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(seen(*snapshot), 2u);
  // A server starts without it, too.
  Warnings warnings;
  const auto started = try_open(db.url, standby->url(db.name()), warnings.log());
  ASSERT_TRUE(started.has_value()) << started.error().message;
  ASSERT_EQ(warnings.messages().size(), 1u);
  EXPECT_NE(warnings.messages().front().find("the primary serves"), std::string::npos);
}

TEST_F(ReplicaTest, WhatIsNoReplicaOfTheDatabaseIsRefusedAtTheStart) {
  const auto itself = try_open(db.url, db.url);
  ASSERT_FALSE(itself.has_value());
  EXPECT_EQ(itself.error().code, ErrorCode::usage);
  EXPECT_NE(itself.error().message.find("no streaming replica"), std::string::npos) << itself.error().message;
  const std::string other = primary.create_database();
  const auto database = try_open(other, standby->url(db.name()));
  ASSERT_FALSE(database.has_value());
  EXPECT_NE(database.error().message.find("another database"), std::string::npos) << database.error().message;
  testing::PostgresServer stranger;
  const auto cluster = try_open(stranger.url(), standby->url());
  ASSERT_FALSE(cluster.has_value());
  EXPECT_EQ(cluster.error().code, ErrorCode::usage);
  EXPECT_NE(cluster.error().message.find("another cluster"), std::string::npos) << cluster.error().message;
}

TEST_F(ReplicaTest, OneThatFollowsTheOldPrimaryAfterAFailoverServesNothing) {
  const auto stale = follow(primary);
  insert();
  ASSERT_TRUE(eventually([&] {
    return standby->value(db.name(), "SELECT count(*) FROM notes") == "1" &&
           stale->value(db.name(), "SELECT count(*) FROM notes") == "1";
  }));
  standby->promote();
  // The old primary goes on for a while and is ahead; its standby cannot be told from a good one by its position.
  insert();
  db.other->run("CREATE TABLE filler AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 20000)");
  ASSERT_TRUE(eventually([&] { return stale->value(db.name(), "SELECT count(*) FROM notes") == "2"; }));
  OtherProgram on_promoted(standby->url(db.name()));
  on_promoted.run("INSERT INTO notes (id, owner_id, body) VALUES ('other', 'o1', ''), ('another', 'o1', '')");
  const auto opened = try_open(standby->url(db.name()), stale->url(db.name()));
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  const auto settled = (*opened)->position();
  ASSERT_TRUE(settled.has_value()) << settled.error().message;
  ASSERT_EQ(stale->value(db.name(), fmt::format("SELECT pg_last_wal_replay_lsn() > '{}'::pg_lsn",
                                                standby->value("postgres", "SELECT pg_current_wal_insert_lsn()"))),
            "t");
  const auto snapshot = (*opened)->open_backfill_snapshot(*settled);
  ASSERT_TRUE(snapshot.has_value()) << snapshot.error().message;
  EXPECT_EQ(seen(**snapshot), 3u);
  EXPECT_EQ(held(*stale), "0");
}

}  // namespace
}  // namespace nizhal::storage
