// How far readers may go (S12): open writers, those that roll back, prepared transactions, bounds that wrap round,
// versions that a crash would take back, and reads that are shared.
#include "storage/postgres/horizon.hpp"

#include <gtest/gtest.h>

#include <future>
#include <limits>
#include <thread>

#include "../../../examples/notes/notes.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/test_database.hpp"
#include "tests/postgres_server/pooler.hpp"

namespace nizhal::storage {
namespace {

std::string insert(const std::string& id) {
  return "INSERT INTO notes (id, owner_id, body) VALUES ('" + id + "', 'o1', '')";
}

std::unique_ptr<pg::Horizon> horizon_of(const TestDatabase& db, Log log = {},
                                        std::chrono::milliseconds report_after = std::chrono::minutes(5)) {
  return std::make_unique<pg::Horizon>(pg::HorizonOptions{.connect = {.url = db.url,
                                                                      .statement_timeout = std::chrono::minutes(1),
                                                                      .lock_timeout = std::chrono::minutes(1)},
                                                          .report_after = report_after,
                                                          .wait_max = std::chrono::minutes(1)},
                                       std::move(log));
}

/// Another look at the function itself.
pg::Standing standing(TestDatabase& db) {
  const auto rows = db.other->connection().query(pg::kStandingSql);
  EXPECT_TRUE(rows.has_value());
  return pg::standing_from(*rows);
}

TEST(Horizon, AnOpenWriterHoldsItBelowItsVersionAndHidesNothing) {
  TestDatabase db(notes::domain());
  db.other->run(insert("n1"));
  const Position before = db.position();
  EXPECT_EQ(before.horizon, before.last);

  OtherProgram slow(db.url);
  slow.run("BEGIN; " + insert("slow"));
  db.other->run(insert("n2"));
  const Position during = db.position();
  EXPECT_EQ(during.horizon, before.last);
  EXPECT_EQ(number(during.last), number(before.last) + 2);
  EXPECT_EQ(db.rows({"o1"}), (Names{"n1", "n2"})) << "what is visible does not wait";

  slow.run("COMMIT");
  const Position after = db.position();
  EXPECT_EQ(after.horizon, after.last);
  EXPECT_EQ(db.rows({"o1"}), (Names{"n1", "slow", "n2"})) << "by version";
}

TEST(Horizon, AWriterThatRolledBackHoldsNothing) {
  TestDatabase db(notes::domain());
  OtherProgram slow(db.url);
  slow.run("BEGIN; " + insert("slow"));
  EXPECT_LT(db.position().horizon, db.position().last);
  slow.run("ROLLBACK");
  EXPECT_EQ(db.position().horizon, db.position().last);
  // A savepoint takes the version and its bound back with it.
  slow.run("BEGIN; SAVEPOINT s; " + insert("slow") + "; ROLLBACK TO s");
  EXPECT_EQ(db.position().horizon, db.position().last);
  slow.run(insert("again"));
  EXPECT_EQ(number(db.position().horizon), number(db.position().last) - 1);
  slow.run("COMMIT");
  EXPECT_EQ(db.rows({"o1"}), Names{"again"});
}

TEST(Horizon, OurOwnOpenTransactionHoldsItToo) {
  TestDatabase db(notes::domain());
  auto transaction = db.write();
  ASSERT_TRUE(*transaction->insert(db.domain->table(0), {"n1", "o1", ""}));
  EXPECT_EQ(db.position().last, transaction->version());
  EXPECT_LT(db.position().horizon, transaction->version());
  ASSERT_TRUE(transaction->commit().has_value());
  EXPECT_EQ(db.position().horizon, db.position().last);
}

TEST(Horizon, TrapALongWriteTransactionDelaysNoRow) {
  TestDatabase db(notes::domain());
  TestDatabase elsewhere(notes::domain());  // the same domain in another database of the same server
  OtherProgram far(elsewhere.url), near(db.url);
  far.run("BEGIN; " + insert("far"));
  db.other->run(insert("n1"));
  EXPECT_EQ(db.position().horizon, db.position().last) << "another database's transactions are none of ours";
  near.run("BEGIN; " + insert("near"));
  Version seen = db.position().horizon;
  for (const char* id : {"n2", "n3", "n4"}) {
    db.other->run(insert(id));
    EXPECT_EQ(db.rows({"o1"}, seen).back(), id) << "told at once, though not settled";
    EXPECT_EQ(db.position().horizon, seen);
  }
  EXPECT_EQ(db.rows({"o1"}, seen), (Names{"n2", "n3", "n4"})) << "and told again";
}

TEST(Horizon, TrapTheFirstVersionOfAFreshSequenceIsNotTakenForAUsedOne) {
  TestDatabase db(notes::domain());
  const Position fresh = db.position();
  EXPECT_EQ(fresh.horizon, fresh.last);
  auto first = db.write();
  EXPECT_GT(first->version(), fresh.last);
  EXPECT_EQ(db.position().horizon, fresh.last);
  EXPECT_EQ(db.position().last, first->version());
}

TEST(Horizon, BoundsWrapRoundAtTwoToThe31) {
  TestDatabase db(notes::domain());
  for (const std::uint64_t start : {(std::uint64_t{1} << 31) - 3, (std::uint64_t{1} << 32) - 2, std::uint64_t{1} << 40,
                                    (std::uint64_t{7} << 31) - 1}) {
    db.other->run("SELECT setval('nizhal.version_seq', " + std::to_string(start) + ")");
    db.storage = db.open();
    OtherProgram slow(db.url);
    slow.run("BEGIN; " + insert("slow" + std::to_string(start)));
    EXPECT_EQ(number(db.position().last), start + 1);
    for (int i = 0; i < 6; ++i) {
      db.other->run(insert("n" + std::to_string(start) + "-" + std::to_string(i)));
      EXPECT_EQ(number(db.position().horizon), start);
    }
    EXPECT_EQ(number(db.position().last), start + 7);
    slow.run("COMMIT");
    EXPECT_EQ(number(db.position().horizon), start + 7);
  }
}

TEST(Horizon, ABoundPublishedLateDoesNotTakeItBack) {
  TestDatabase db(notes::domain());
  for (int i = 0; i < 5; ++i) db.other->run(insert("n" + std::to_string(i)));
  const Position before = db.position();
  // A writer that has read the last value long ago and is now about to take its version.
  OtherProgram late(db.url);
  late.run("BEGIN; SELECT pg_advisory_xact_lock_shared(" +
           std::to_string(postgres_schema::lock_class(db.domain->domain().name())) + ", 1)");
  EXPECT_EQ(number(standing(db).settled), 1u);
  EXPECT_EQ(db.position().horizon, before.horizon);
  late.run(insert("late"));
  EXPECT_EQ(db.position().horizon, before.horizon);
  EXPECT_EQ(number(db.position().last), number(before.last) + 1);
}

TEST(Horizon, WhatIsPrunedIsSettledForWhoeverAsksFirst) {
  TestDatabase db(notes::domain());
  db.other->run(insert("n1"));
  db.other->run("DELETE FROM notes");
  const auto report = db.storage->gc(Timestamp{std::numeric_limits<std::int64_t>::max()});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->pruned_through, db.position().horizon);
  OtherProgram late(db.url);
  late.run("BEGIN; SELECT pg_advisory_xact_lock_shared(" +
           std::to_string(postgres_schema::lock_class(db.domain->domain().name())) + ", 1)");
  db.storage = db.open();
  EXPECT_EQ(db.position().horizon, report->pruned_through) << "else new devices would begin again and again";
}

// ---- Prepared transactions and crashes

testing::PostgresOptions with_prepared() {
  testing::PostgresOptions options;
  options.settings = {{"max_prepared_transactions", "5"}};
  return options;
}

TEST(Horizon, APreparedTransactionHoldsItAcrossARestartAndACrash) {
  testing::PostgresServer server(with_prepared());
  TestDatabase db(notes::domain(), server);
  db.other->run(insert("n1"));
  const Position before = db.position();
  const ChangeMark mark = db.mark();
  db.other->run("BEGIN; " + insert("prepared") + "; PREPARE TRANSACTION 'two'");
  const auto check = [&] {
    const Position during = db.position();
    EXPECT_EQ(during.horizon, before.horizon);
    EXPECT_GT(during.last, before.last);
    EXPECT_EQ(during.epoch, before.epoch);
    EXPECT_EQ(db.rows({"o1"}), Names{"n1"});
  };
  check();
  server.restart();
  check();
  server.kill_hard();
  server.start();
  check();
  const ChangeMark open = db.mark();
  EXPECT_NE(open.foreign, mark.foreign);
  db.other = std::make_unique<OtherProgram>(db.url);
  db.other->run("COMMIT PREPARED 'two'");
  EXPECT_NE(db.mark().foreign, open.foreign) << "its commit is news, however late";
  EXPECT_EQ(db.position().horizon, db.position().last);
  EXPECT_EQ(db.rows({"o1"}), (Names{"n1", "prepared"}));
}

TEST(Horizon, TrapNoCrashHandsOutAgainAVersionThatWasSettled) {
  testing::PostgresOptions options;
  // Nothing but a commit, or we, writes the log to the disk.
  options.settings = {{"wal_writer_delay", "10s"}, {"bgwriter_delay", "10s"}, {"autovacuum", "off"}};
  testing::PostgresServer server(options);
  TestDatabase db(notes::domain(), server);
  db.other->run(insert("n1"));
  // More versions than the sequence writes ahead, none of them committed.
  const auto burn = [&](int versions) {
    for (int i = 0; i < versions; ++i) db.other->run("BEGIN; " + insert("gone") + "; ROLLBACK");
  };
  burn(70);
  const pg::Standing unsafe = standing(db);
  ASSERT_FALSE(unsafe.durable);
  const Position position = db.position();
  EXPECT_EQ(position.last, unsafe.last);
  EXPECT_EQ(position.horizon, unsafe.last);
  EXPECT_TRUE(standing(db).durable) << "the read made it so";
  server.kill_hard();
  server.start();
  EXPECT_EQ(db.position().epoch, position.epoch);
  EXPECT_GE(db.position().last, position.horizon);
  EXPECT_GT(db.write()->version(), position.horizon);

  // The same without a read: this is what it guards against. PostgreSQL writes full pages of the log, and keeps the
  // last one to itself; where in a page the sequence's record comes to lie is chance, so there are several attempts.
  bool is_taken_back = false;
  for (int attempt = 0; attempt < 10 && !is_taken_back; ++attempt) {
    db.other = std::make_unique<OtherProgram>(db.url);
    db.other->run(insert("again" + std::to_string(attempt)));
    const auto ahead = [&] { return std::stol(db.other->value("SELECT log_cnt FROM nizhal.version_seq")); };
    for (long before = ahead(), now = before; now <= before; now = ahead()) {
      before = now;
      burn(1);
    }
    burn(4);
    const Version lost = standing(db).last;
    server.kill_hard();
    server.start();
    is_taken_back = db.write()->version() < lost;
  }
  EXPECT_TRUE(is_taken_back) << "this test shows nothing if no crash takes anything back";
}

TEST(Horizon, AQuietDatabaseIsWrittenNothingForItsReads) {
  TestDatabase db(notes::domain());
  db.other->run(insert("n1"));
  db.position();
  const std::string before = db.other->value("SELECT pg_current_wal_insert_lsn()");
  for (int i = 0; i < 5; ++i) db.position();
  const std::string written = db.other->value("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '" + before + "')");
  // Other databases of the same server may have written something meanwhile, but we did nothing five times.
  EXPECT_LT(std::stol(written), 200) << written;
}

// ---- Reads that are shared

TEST(Horizon, CallersShareAReadThatBeganAfterTheyAsked) {
  TestDatabase db(notes::domain());
  db.other->run(insert("n1"));
  const auto horizon = horizon_of(db);
  const Version before = horizon->read()->last;
  ASSERT_EQ(horizon->reads(), 1u);

  // The function has read the last version when it stops at this lock.
  OtherProgram blocker(db.url);
  blocker.run("BEGIN; LOCK TABLE nizhal.state IN ACCESS EXCLUSIVE MODE");
  auto first = std::async(std::launch::async, [&] { return horizon->read(); });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (db.other->value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
                         "current_database()") == "0" &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  db.other->run(insert("n2"));
  std::vector<std::future<Result<Position>>> others;
  for (int i = 0; i < 20; ++i) others.push_back(std::async(std::launch::async, [&] { return horizon->read(); }));
  while (horizon->waiting() < 20 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  ASSERT_EQ(horizon->waiting(), 20u);
  blocker.run("COMMIT");

  EXPECT_EQ(first.get()->last, before);
  for (auto& other : others) EXPECT_GT(other.get()->last, before) << "a read that began before it was asked for";
  EXPECT_EQ(horizon->reads(), 3u) << "one for the first, and one for all that came meanwhile";
}

TEST(Horizon, AReadSurvivesALostConnectionAndFailsAsBusyWhenItIsCancelled) {
  TestDatabase db(notes::domain());
  const auto horizon = horizon_of(db);
  ASSERT_TRUE(horizon->read().has_value());
  db.other->run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
      "pg_backend_pid()");
  EXPECT_TRUE(horizon->read().has_value());

  OtherProgram blocker(db.url);
  blocker.run("BEGIN; LOCK TABLE nizhal.state IN ACCESS EXCLUSIVE MODE");
  auto blocked = std::async(std::launch::async, [&] { return horizon->read(); });
  while (db.other->value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
                         "current_database()") == "0")
    std::this_thread::yield();
  horizon->cancel();
  const auto result = blocked.get();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::busy);
}

TEST(Horizon, AnOldBoundIsReportedOnce) {
  testing::PostgresServer server(with_prepared());
  TestDatabase db(notes::domain(), server);
  Warnings warnings;
  const auto horizon = horizon_of(db, warnings.log(), std::chrono::milliseconds(0));
  OtherProgram slow(db.url);
  slow.run("SET application_name = 'import'; BEGIN; " + insert("slow"));
  db.other->run("BEGIN; " + insert("prepared") + "; PREPARE TRANSACTION 'forgotten'");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(horizon->read().has_value());
  const auto messages = warnings.messages();
  ASSERT_EQ(messages.size(), 2u);
  const bool first_is_prepared = messages[0].find("prepared transaction") != std::string::npos;
  const std::string& prepared = messages[first_is_prepared ? 0 : 1];
  const std::string& open = messages[first_is_prepared ? 1 : 0];
  EXPECT_NE(prepared.find("'forgotten'"), std::string::npos) << prepared;
  EXPECT_NE(open.find("backend " + std::to_string(slow.pid()) + " (import"), std::string::npos) << open;
  EXPECT_NE(open.find("open since 20"), std::string::npos) << open;

  const auto patient = horizon_of(db, warnings.log());
  ASSERT_TRUE(patient->read().has_value());
  EXPECT_EQ(warnings.messages().size(), 2u) << "minutes have to pass";
}

TEST(Horizon, BehindAPoolerItIsTheSame) {
  testing::PostgresServer server;
  TestDatabase db(notes::domain(), server);
  testing::Pooler pooler(server);
  PostgresStorageOptions options;
  options.url = pooler.url(db.url);
  options.listen_url = db.url;
  options.transaction_pooler = true;
  auto pooled = open_postgres_storage(options, db.domain, system_random(), Log());
  ASSERT_TRUE(pooled.has_value()) << pooled.error().message;
  db.storage = *std::move(pooled);
  const ChangeMark mark = db.mark();
  auto transaction = db.write();
  ASSERT_TRUE(*transaction->insert(db.domain->table(0), {"n1", "o1", ""}));
  EXPECT_LT(db.position().horizon, db.position().last);
  ASSERT_TRUE(transaction->commit().has_value());
  EXPECT_EQ(db.position().horizon, db.position().last);
  EXPECT_EQ(db.rows({"o1"}), Names{"n1"});
  EXPECT_EQ(db.mark().foreign, mark.foreign) << "our own write is known through the pooler";
  EXPECT_NE(db.mark().last, mark.last);
  OtherProgram slow(options.url);
  slow.run("BEGIN; " + insert("slow"));
  db.mark();
  const ChangeMark open = db.mark();
  EXPECT_NE(open.foreign, mark.foreign);
  slow.run("COMMIT");
  EXPECT_NE(db.mark().foreign, open.foreign);
}

TEST(Horizon, BehindAPoolerAloneEverythingWorksToo) {
  testing::PostgresServer server;
  TestDatabase db(notes::domain(), server);
  testing::Pooler pooler(server);
  PostgresStorageOptions options;
  options.url = pooler.url(db.url);
  options.transaction_pooler = true;
  auto pooled = open_postgres_storage(options, db.domain, system_random(), Log());
  ASSERT_TRUE(pooled.has_value()) << pooled.error().message;
  db.storage = *std::move(pooled);
  const ChangeMark mark = db.mark();
  ASSERT_TRUE(db.storage->run_script(insert("n1")).has_value());
  EXPECT_NE(db.mark().foreign, mark.foreign);
  db.other->run("DELETE FROM notes");
  const auto report = db.storage->gc(Timestamp{std::numeric_limits<std::int64_t>::max()});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->removals, 1u);
  const auto epoch = db.storage->rotate_epoch();
  ASSERT_TRUE(epoch.has_value()) << epoch.error().message;
  EXPECT_EQ(db.position().epoch, *epoch);
  const auto snapshot = db.snapshot();
  EXPECT_EQ(snapshot->count_rows(db.bucket("o1"), 0).value_or(1), 0u);
  EXPECT_TRUE(snapshot->audit(Version{0}, Version{100}, 10).has_value());
  EXPECT_TRUE(snapshot->grants(Actor{"u1", "o1", ""}).has_value());
  EXPECT_TRUE(snapshot->client("nobody").has_value());
}

}  // namespace
}  // namespace nizhal::storage
