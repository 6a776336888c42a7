// Snapshots, write transactions, locks and pruning of the embedded storage.
#include "storage/sqlite/sqlite_storage.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <thread>

#include "../../../examples/ledger/ledger.hpp"
#include "../../../examples/notes/notes.hpp"
#include "storage/sqlite/statements.hpp"
#include "storage/sqlite/test_database.hpp"
#include "storage/sqlite/test_domain.hpp"
#include "storage/sqlite/triggers.hpp"

namespace nizhal::storage {
namespace {

const Actor kActor{"u1", "o1", ""};

struct Notes : ::testing::Test {
  TestDatabase db{notes::domain()};
  const TableDef& notes_table = db.domain->table(0);
  const TableDef& team_notes = db.domain->table(2);

  void insert(const std::string& id, const std::string& owner, std::int64_t now_us = 1'000'000) {
    auto transaction = db.write(now_us);
    ASSERT_TRUE(*transaction->insert(notes_table, {id, owner, "x"}));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  void remove(const std::string& id, std::int64_t now_us) {
    auto transaction = db.write(now_us);
    ASSERT_TRUE(*transaction->remove(notes_table, id));
    ASSERT_TRUE(transaction->commit().has_value());
  }
};
using SnapshotTest = Notes;
using WriteTest = Notes;
using GcTest = Notes;
using LockTest = Notes;

TEST_F(SnapshotTest, SeesNothingThatWasCommittedAfterItWasTaken) {
  insert("n1", "o1");
  auto snapshot = db.snapshot();
  insert("n2", "o1");
  remove("n1", 1);
  const std::vector<CoveredBucket> covered{{db.bucket("o1"), Version{0}}};
  LiveQuery query;
  query.buckets = &covered;
  ASSERT_EQ(snapshot->live_rows(query)->size(), 1u);
  EXPECT_EQ(snapshot->live_rows(query)->front().key, "n1");
  EXPECT_TRUE(snapshot->live_removals(query)->empty());
  EXPECT_LT(snapshot->position()->last, db.last());
}

TEST_F(SnapshotTest, RowsAreEncodedAsTheWireWantsThem) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n\"1', 'o1', 'a\nb')");
  const auto rows = db.snapshot()->backfill(db.bucket("o1"), 0, std::nullopt, 10);
  ASSERT_EQ(rows->size(), 1u);
  std::string expected;
  append_row_json(expected, notes_table, {"n\"1", "o1", "a\nb"});
  EXPECT_EQ(rows->front().json, expected);
  EXPECT_EQ(rows->front().key, "n\"1");
}

TEST_F(SnapshotTest, TablesThatTheDeviceLacksAreLeftOut) {
  db.other->run("INSERT INTO team_notes (id, team_id, body) VALUES ('n1', 'a', ''), ('n2', 'a', '')");
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  db.other->run("DELETE FROM team_notes WHERE id = 'n2'");
  const std::vector<CoveredBucket> covered{{db.bucket("team:a"), Version{0}}};
  const std::vector<bool> tables{true, true, false};
  LiveQuery query;
  query.buckets = &covered;
  query.tables = &tables;
  const auto snapshot = db.snapshot();
  ASSERT_EQ(snapshot->live_rows(query)->size(), 1u);
  EXPECT_EQ(snapshot->live_rows(query)->front().key, "m1");
  EXPECT_TRUE(snapshot->live_removals(query)->empty());
}

TEST_F(SnapshotTest, RemovalsFromBeforeABucketWasGainedAreNotTold) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', ''), ('n2', 'o1', '')");
  db.other->run("DELETE FROM notes WHERE id = 'n1'");
  const Version gained = db.last();
  db.other->run("DELETE FROM notes WHERE id = 'n2'");
  const std::vector<CoveredBucket> covered{{db.bucket("o1"), gained}};
  LiveQuery query;
  query.buckets = &covered;
  const auto removals = db.snapshot()->live_removals(query);
  ASSERT_EQ(removals->size(), 1u);
  EXPECT_EQ(removals->front().key, "n2");
}

TEST_F(SnapshotTest, ThroughIsInclusiveAndAfterIsNot) {
  insert("n1", "o1");
  const Version first = db.last();
  insert("n2", "o1");
  const Version second = db.last();
  insert("n3", "o1");
  const std::vector<CoveredBucket> covered{{db.bucket("o1"), Version{0}}};
  LiveQuery query;
  query.buckets = &covered;
  query.after = first;
  query.through = second;
  const auto rows = db.snapshot()->live_rows(query);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().key, "n2");
}

TEST(Statements, EveryPageIsARangeOfOneIndexInItsOrder) {
  for (const auto& domain : {notes::domain(), ledger::domain(), office_domain()}) {
    TestDatabase db(domain);
    const DomainSql sql(*db.domain);
    int statements = 0;
    for (const auto& entries : sql.entries) {
      for (const EntrySql& entry : entries) {
        for (const std::string& text : {entry.live, entry.backfill, entry.backfill_after}) {
          const Names plan = db.other->query("EXPLAIN QUERY PLAN " + text);
          ASSERT_EQ(plan.size(), 1u) << text;
          EXPECT_NE(plan[0].find("SEARCH r USING"), std::string::npos) << plan[0] << "\n" << text;
          EXPECT_EQ(plan[0].find("TEMP B-TREE"), std::string::npos) << plan[0] << "\n" << text;
          ++statements;
        }
        const Names plan = db.other->query("EXPLAIN QUERY PLAN " + entry.live);
        const std::string range = "nizhal_version>? AND nizhal_version<?)";
        EXPECT_NE(plan[0].find(range), std::string::npos) << plan[0];
      }
    }
    EXPECT_GT(statements, 0);
  }
}

TEST(Statements, WhetherAGrantRemainsIsLookedUpAndNotSearchedFor) {
  TestDatabase db(office_domain());
  int lookups = 0;
  // The triggers ask with the same text.
  for (const std::string& statement : recompute_grants_sql(*db.domain)) {
    if (statement.find("NOT EXISTS") == std::string::npos) continue;
    for (const std::string& step : db.other->query("EXPLAIN QUERY PLAN " + statement)) {
      EXPECT_EQ(step.find("SCAN r"), std::string::npos) << step;
      if (step.find("SEARCH r USING INDEX") != std::string::npos &&
          step.find("(<expr>=? AND <expr>=?)") != std::string::npos)
        ++lookups;
    }
  }
  EXPECT_EQ(lookups, 2);
}

TEST_F(WriteTest, ADroppedTransactionLeavesNothing) {
  const Version before = db.last();
  {
    auto transaction = db.write();
    ASSERT_TRUE(*transaction->insert(notes_table, {"n1", "o1", "x"}));
    ASSERT_TRUE(transaction->put_client({"c1", "u1", "o1", MutationId{1}, "m1", ""}).has_value());
    EXPECT_EQ(number(transaction->version()), number(before) + 1);
  }
  EXPECT_EQ(db.last(), before);
  EXPECT_EQ(db.other->value("SELECT count(*) FROM notes"), "0");
  EXPECT_FALSE(db.snapshot()->client("c1")->has_value());
  insert("n1", "o1");
  EXPECT_EQ(number(db.last()), number(before) + 1) << "a version that was rolled back was never given out";
}

TEST_F(WriteTest, ASavepointRolledBackKeepsTheVersionAndWhatCameBefore) {
  auto transaction = db.write();
  const Version version = transaction->version();
  ASSERT_TRUE(transaction->savepoint().has_value());
  ASSERT_TRUE(*transaction->insert(notes_table, {"n1", "o1", "x"}));
  ASSERT_TRUE(transaction->release_savepoint().has_value());
  ASSERT_TRUE(transaction->savepoint().has_value());
  ASSERT_TRUE(*transaction->remove(notes_table, "n1"));
  ASSERT_TRUE(*transaction->insert(notes_table, {"n2", "o1", "x"}));
  ASSERT_TRUE(transaction->rollback_to_savepoint().has_value());
  ASSERT_TRUE(transaction->release_savepoint().has_value());
  ASSERT_TRUE(transaction->put_client({"c1", "u1", "o1", MutationId{2}, "m2", ""}).has_value());
  ASSERT_TRUE(transaction->commit().has_value());
  EXPECT_EQ(db.last(), version);
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  EXPECT_TRUE(db.removals("o1").empty());
  EXPECT_EQ(db.other->value("SELECT nizhal_version FROM notes"), std::to_string(number(version)));
}

TEST_F(WriteTest, AnInsertOfATakenKeySaysSoAndRecordsNothing) {
  insert("n1", "o1");
  auto transaction = db.write();
  EXPECT_FALSE(*transaction->insert(notes_table, {"n1", "o2", "y"}));
  ASSERT_TRUE(transaction->commit().has_value());
  EXPECT_EQ(db.other->query("SELECT owner_id FROM notes"), Names{"o1"});
  EXPECT_EQ(db.other->value("SELECT count(*) FROM nizhal_removal"), "0");
}

TEST_F(WriteTest, UpdatesAndRemovesSayWhetherThereWasARow) {
  insert("n1", "o1");
  auto transaction = db.write();
  EXPECT_TRUE(*transaction->update(notes_table, "n1", {{2, "y"}}));
  EXPECT_FALSE(*transaction->update(notes_table, "n2", {{2, "y"}}));
  EXPECT_EQ((**transaction->get(notes_table, "n1"))[2], Value("y"));
  EXPECT_TRUE(*transaction->remove(notes_table, "n1"));
  EXPECT_FALSE(*transaction->remove(notes_table, "n1"));
  EXPECT_FALSE(transaction->get(notes_table, "n1")->has_value());
}

TEST_F(WriteTest, FindWithAScopeSeesOnlyTheScopesRowsInTheQuerysOrder) {
  auto transaction = db.write();
  for (const char* row : {"5a", "4b", "3a", "2c", "1a"})
    ASSERT_TRUE(*transaction->insert(team_notes, {std::string(1, row[0]), std::string(1, row[1]), "x"}));
  QuerySpec query;
  query.table = &team_notes;
  query.conditions = {ne("id", "3")};
  query.order = {{"id", Direction::descending}};
  query.limit = 2;
  query.offset = 1;
  const auto keys = [&](const ScopeFilter* scope) {
    auto rows = transaction->find(query, scope);
    EXPECT_TRUE(rows.has_value()) << (rows ? "" : rows.error().message);
    std::string text;
    for (const Row& row : *rows) text += std::get<std::string>(row[0]);
    return text;
  };
  EXPECT_EQ(keys(nullptr), "42");
  const ScopeFilter two{db.bucket("team:a"), db.bucket("team:b")}, one{db.bucket("team:a")}, none,
      other_table{db.bucket("o1")};
  EXPECT_EQ(keys(&two), "41");
  EXPECT_EQ(keys(&one), "1");
  EXPECT_EQ(keys(&none), "");
  EXPECT_EQ(keys(&other_table), "");
}

TEST(WriteScope, FindAgreesWithBucketsOfForEveryKindOfRule) {
  TestDatabase db(office_domain());
  auto transaction = db.write();
  const TableDef& order_table = db.domain->table(2);
  const TableDef& doc_table = db.domain->table(0);
  std::int64_t id = 0;
  for (const char* region : {"a/b", "c%", "it's", "\"q\""})
    for (const std::int64_t shop : {1, 2})
      for (const bool hidden : {false, true})
        ASSERT_TRUE(*transaction->insert(order_table, {++id, shop, region, "open", hidden}));
  for (const std::int64_t shelf : {3, 4})
    for (const char* kind : {"named", "private"})
      ASSERT_TRUE(*transaction->insert(doc_table, {std::to_string(++id), "o1", "t1", kind, "u1", shelf}));
  for (const auto& keys : std::vector<Names>{{"r/1/a%2Fb"},
                                             {"r/1/c%25", "r/2/it's"},
                                             {"r/2/\"q\"", "shelf:3"},
                                             {"u1"},
                                             {"team:t1", "u1"},
                                             {"shelf:4", "team:t1", "o1"}}) {
    ScopeFilter scope;
    for (const std::string& key : keys) scope.push_back(db.bucket(key));
    for (const std::size_t table : {std::size_t{0}, std::size_t{2}}) {
      QuerySpec query;
      query.table = &db.domain->table(table);
      const auto all = transaction->find(query, nullptr);
      std::vector<Row> expected;
      for (const Row& row : *all) {
        bool in_scope = false;
        for (const Bucket& bucket : db.domain->buckets_of(table, row))
          in_scope = in_scope || std::find(scope.begin(), scope.end(), bucket) != scope.end();
        if (in_scope) expected.push_back(row);
      }
      const auto found = transaction->find(query, &scope);
      ASSERT_TRUE(found.has_value()) << found.error().message;
      EXPECT_EQ(*found, expected) << keys.front();
    }
  }
}

TEST_F(WriteTest, GrantsInATransactionAreThoseOfThisMoment) {
  auto transaction = db.write();
  EXPECT_EQ(transaction->grants(kActor)->size(), 1u);
  ASSERT_TRUE(*transaction->insert(db.domain->table(1), {"m1", "u1", "a"}));
  const auto grants = transaction->grants(kActor);
  ASSERT_EQ(grants->size(), 2u);
  EXPECT_EQ((*grants)[1].bucket.key, "team:a");
  EXPECT_EQ((*grants)[1].gained, transaction->version());
  ASSERT_TRUE(*transaction->remove(db.domain->table(1), "m1"));
  EXPECT_EQ(transaction->grants(kActor)->size(), 1u);
}

TEST_F(WriteTest, RecordsOfClientsAndMutationsAreFoundAgain) {
  {
    auto transaction = db.write();
    EXPECT_FALSE(transaction->client("c1")->has_value());
    ASSERT_TRUE(transaction->put_client({"c1", "u1", "o1", MutationId{1}, "m1", "h1"}).has_value());
    ASSERT_TRUE(transaction->put_client({"c1", "u1", "o1", MutationId{2}, "m2", "h2"}).has_value());
    MutationRecord record;
    record.client_id = "c1";
    record.mutation_id = MutationId{2};
    record.client_mutation_id = "m2";
    record.user_id = "u1";
    record.owner_id = "o1";
    record.name = "addNote";
    record.applied = false;
    record.http_status = 422;
    record.code = "refused_body";
    record.error = "no";
    record.server_id = "s1";
    record.affected_buckets = std::vector<std::string>{"o1", "a\"b"};
    ASSERT_TRUE(transaction->put_mutation(record).has_value());
    record.client_id.reset();
    record.mutation_id.reset();
    record.affected_buckets.reset();
    record.server_id.reset();
    record.client_mutation_id = "m3";
    record.applied = true;
    ASSERT_TRUE(transaction->put_mutation(record).has_value());
    ASSERT_TRUE(transaction->put_server_id("c1", "notes", "a", "b").has_value());
    ASSERT_TRUE(transaction->put_server_id("c1", "notes", "a", "c").has_value());
    ASSERT_TRUE(transaction->commit().has_value());
  }
  const auto client = db.snapshot()->client("c1");
  ASSERT_TRUE(client->has_value());
  EXPECT_EQ((*client)->last_mutation_id, MutationId{2});
  EXPECT_EQ((*client)->last_client_mutation_id, "m2");
  EXPECT_EQ((*client)->last_hlc, "h2");
  auto transaction = db.write();
  const auto by_id = transaction->mutation("c1", MutationId{2});
  ASSERT_TRUE(by_id->has_value());
  EXPECT_EQ((*by_id)->code, "refused_body");
  EXPECT_EQ((*by_id)->http_status, 422);
  EXPECT_EQ((*by_id)->affected_buckets, (Names{"o1", "a\"b"}));
  EXPECT_EQ((*by_id)->server_id, "s1");
  EXPECT_FALSE((*by_id)->applied);
  const auto by_name = transaction->mutation(kActor, "m3");
  ASSERT_TRUE(by_name->has_value());
  EXPECT_TRUE((*by_name)->applied);
  EXPECT_FALSE((*by_name)->mutation_id.has_value());
  EXPECT_FALSE((*by_name)->affected_buckets.has_value());
  EXPECT_FALSE(transaction->mutation(Actor{"u2", "o1", ""}, "m3")->has_value()) << "ids are unique per actor";
  EXPECT_FALSE(transaction->mutation("c1", MutationId{3})->has_value());
  EXPECT_EQ(*transaction->server_id("c1", "notes", "a"), "c");
  EXPECT_FALSE(transaction->server_id("c2", "notes", "a")->has_value());
}

TEST_F(WriteTest, AuditRowsHaveTheTransactionsVersionAndTime) {
  Version version{};
  for (int i = 0; i < 3; ++i) {
    auto transaction = db.write(5'000'000 + i);
    version = transaction->version();
    AuditRow row;
    row.user_id = "u1";
    row.owner_id = "o1";
    row.client_mutation_id = "m" + std::to_string(i);
    row.mutator = "addNote";
    row.outcome = "applied";
    row.unscoped = i == 1;
    row.buckets = {"o1"};
    row.changes = "[]";
    ASSERT_TRUE(transaction->put_audit(row).has_value());
    ASSERT_TRUE(transaction->commit().has_value());
  }
  const Version everything{std::numeric_limits<std::uint64_t>::max()};
  const auto rows = db.snapshot()->audit(Version{0}, everything, 10);
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ(rows->back().version, version);
  EXPECT_EQ(rows->back().at.microseconds, 5'000'002);
  EXPECT_TRUE((*rows)[1].unscoped);
  EXPECT_EQ((*rows)[1].buckets, Names{"o1"});
  EXPECT_EQ(db.snapshot()->audit(version, everything, 10)->size(), 1u);
  EXPECT_EQ(db.snapshot()->audit(Version{0}, everything, 2)->size(), 2u);
}

TEST(Numbers, GoOnAboveTheCounterAndAboveWhatOthersWrote) {
  TestDatabase db(office_domain());
  const TableDef& order_table = db.domain->table(2);
  const auto next = [&](std::int64_t shop) {
    auto transaction = db.write();
    const auto number = transaction->next_number(order_table, "id", "shop", shop);
    EXPECT_TRUE(number.has_value()) << (number ? "" : number.error().message);
    EXPECT_TRUE(transaction->commit().has_value());
    return number.value_or(-1);
  };
  EXPECT_EQ(next(1), 1);
  EXPECT_EQ(next(1), 2) << "also when no row came of the first";
  EXPECT_EQ(next(2), 1);
  db.other->run("INSERT INTO orders (id, shop, region) VALUES (41, 1, 'x')");
  EXPECT_EQ(next(1), 42);
  db.other->run("DELETE FROM orders");
  EXPECT_EQ(next(1), 43) << "a number is never given twice";
  {
    auto transaction = db.write();
    ASSERT_TRUE(*transaction->insert(order_table, {std::int64_t{50}, std::int64_t{1}, "x", Value{}, false}));
    ASSERT_TRUE(*transaction->insert(order_table, {std::int64_t{60}, std::int64_t{2}, "x", Value{}, false}));
    EXPECT_EQ(*transaction->next_number(order_table, "id", "shop", std::int64_t{1}), 51);
    ASSERT_TRUE(transaction->commit().has_value());
  }
  db.other->run("UPDATE orders SET shop = 1 WHERE id = 60");
  EXPECT_EQ(next(1), 61) << "a row that moved into the bucket counts";
  db.other->run("INSERT INTO orders (id, shop, region) VALUES (9223372036854775807, 3, 'x')");
  auto transaction = db.write();
  EXPECT_FALSE(transaction->next_number(order_table, "id", "shop", std::int64_t{3}).has_value());
  EXPECT_FALSE(transaction->next_number(order_table, "region", "shop", std::int64_t{3}).has_value());
  EXPECT_FALSE(transaction->next_number(order_table, "none", "shop", std::int64_t{3}).has_value());
}

TEST_F(GcTest, OnAFreshDatabaseDoesNothing) {
  const auto report = db.storage->gc(Timestamp{std::numeric_limits<std::int64_t>::max()});
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->removals + report->mutations + report->audit_rows, 0u);
  EXPECT_EQ(report->pruned_through, Version{0});
}

TEST_F(GcTest, PrunesWhatIsOlderAndRaisesTheHorizonWithIt) {
  insert("n1", "o1", 1);
  insert("n2", "o1", 1);
  remove("n1", 100);
  const Version first = db.last();
  remove("n2", 200);
  const auto report = db.storage->gc(Timestamp{200});
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->removals, 1u);
  EXPECT_EQ(report->pruned_through, first);
  EXPECT_EQ(db.snapshot()->position()->pruned_through, first);
  EXPECT_EQ(db.removals("o1"), Names{"-notes/n2"});
  EXPECT_EQ(db.storage->gc(Timestamp{200})->removals, 0u);
  EXPECT_EQ(db.storage->gc(Timestamp{200})->pruned_through, first);
}

TEST_F(GcTest, AVersionPrunedEarlierNeverComesDown) {
  insert("n1", "o1", 1);
  insert("n2", "o1", 1);
  remove("n1", 500);
  remove("n2", 100);  // the clock went back
  const Version last = db.last();
  EXPECT_EQ(db.storage->gc(Timestamp{200})->pruned_through, last);
  EXPECT_EQ(db.storage->gc(Timestamp{1000})->pruned_through, last);
}

TEST_F(GcTest, MoreThanOneBatchGoesAndClientsStay) {
  db.other->run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) "
      "INSERT INTO nizhal_removal (version, bucket, table_name, key, deleted, at_us) "
      "SELECT i, 'o1', 'notes', i, 1, i FROM n");
  {
    auto transaction = db.write(10);
    MutationRecord record;
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
  EXPECT_EQ(report->pruned_through, Version{24'000});
  EXPECT_TRUE(db.snapshot()->client("c1")->has_value());
}

TEST_F(LockTest, AWriterThatWaitsTooLongIsBusyAndNothingHappened) {
  auto impatient = open_test_storage(db.file.path(), db.domain, 20);
  db.other->run("BEGIN IMMEDIATE");
  const auto refused = impatient->write(Timestamp{1});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::busy);
  db.other->run("COMMIT");
  auto first = impatient->write(Timestamp{1});
  ASSERT_TRUE(first.has_value()) << first.error().message;
  const auto second = impatient->write(Timestamp{1});
  ASSERT_FALSE(second.has_value()) << "one writer at a time";
  EXPECT_EQ(second.error().code, ErrorCode::busy);
  first->reset();
  EXPECT_TRUE(impatient->write(Timestamp{1}).has_value());
}

TEST_F(LockTest, WritersAreBusyOnceTheStorageIsInterrupted) {
  auto transaction = db.write();
  std::thread waiting([&] {
    const auto refused = db.storage->write(Timestamp{1});
    EXPECT_TRUE(!refused && refused.error().code == ErrorCode::busy);
  });
  db.storage->interrupt();
  waiting.join();
  EXPECT_TRUE(transaction->commit().has_value()) << "what has begun may end";
  EXPECT_EQ(db.storage->gc(Timestamp{1}).error().code, ErrorCode::busy);
}

TEST_F(LockTest, ReadersDoNotWaitForAWriter) {
  auto transaction = db.write();
  ASSERT_TRUE(*transaction->insert(notes_table, {"n1", "o1", "x"}));
  EXPECT_TRUE(db.rows("o1").empty());
  EXPECT_TRUE(db.storage->change_mark().has_value());
  ASSERT_TRUE(transaction->commit().has_value());
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
}

TEST_F(LockTest, MoreReadersThanConnectionsWaitAndThenAreBusy) {
  auto storage = open_sqlite_storage({.path = db.file.path(), .lock_timeout_ms = 20, .readers_max = 2}, db.domain,
                                     system_random(), Log());
  ASSERT_TRUE(storage.has_value());
  auto first = (*storage)->snapshot(), second = (*storage)->snapshot();
  ASSERT_TRUE(first.has_value() && second.has_value());
  const auto third = (*storage)->snapshot();
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().code, ErrorCode::busy);
  first->reset();
  EXPECT_TRUE((*storage)->snapshot().has_value());
  // What was handed out outlives the storage.
  storage->reset();
  EXPECT_TRUE((*second)->position().has_value());
}

TEST_F(LockTest, ThreadsThatWriteAtOnceAllHaveTheirTurnAndVersionsOfTheirOwn) {
  constexpr int kThreads = 4, kWrites = 10;
  std::vector<std::thread> threads;
  std::array<std::vector<std::uint64_t>, kThreads> versions;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kWrites; ++i) {
        auto transaction = db.storage->write(Timestamp{1});
        ASSERT_TRUE(transaction.has_value()) << transaction.error().message;
        ASSERT_TRUE(*(*transaction)->insert(notes_table, {std::to_string(t * 100 + i), "o1", "x"}));
        ASSERT_TRUE((*transaction)->commit().has_value());
        versions[static_cast<std::size_t>(t)].push_back(number((*transaction)->version()));
        transaction->reset();
        ASSERT_FALSE(db.rows("o1").empty());
      }
    });
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint64_t> all;
  for (const auto& one : versions) all.insert(one.begin(), one.end());
  EXPECT_EQ(all.size(), static_cast<std::size_t>(kThreads * kWrites));
  EXPECT_EQ(db.rows("o1").size(), static_cast<std::size_t>(kThreads * kWrites));
}

TEST_F(Notes, TheChangeMarkMovesWithEveryCommitByAnyone) {
  const auto start = *db.storage->change_mark();
  EXPECT_EQ(*db.storage->change_mark(), start);
  insert("n1", "o1");
  const auto second = *db.storage->change_mark();
  EXPECT_FALSE(second == start);
  EXPECT_EQ(second.grants, start.grants);
  db.other->run("UPDATE notes SET body = 'z'");
  EXPECT_FALSE(*db.storage->change_mark() == second);
}

TEST_F(Notes, AScriptRunsAsAnotherProgramWould) {
  ASSERT_TRUE(
      db.storage
          ->run_script("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a');\n"
                       "-- a comment\nINSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'it''s; fine');")
          .has_value());
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  EXPECT_TRUE(db.grants("u1").contains("team:a"));
  const Version before = db.last();
  EXPECT_FALSE(
      db.storage->run_script("INSERT INTO notes (id, owner_id, body) VALUES ('n2', 'o1', ''); nonsense").has_value());
  EXPECT_EQ(db.last(), before) << "all of it or nothing";
  const auto nested = db.storage->run_script("BEGIN; DELETE FROM notes; COMMIT");
  ASSERT_FALSE(nested.has_value());
  EXPECT_EQ(nested.error().code, ErrorCode::usage);
  EXPECT_EQ(db.last(), before);
  const auto ended = db.storage->run_script("ROLLBACK;");
  ASSERT_FALSE(ended.has_value());
  EXPECT_EQ(ended.error().code, ErrorCode::usage);
  insert("n3", "o1");
}

TEST_F(Notes, ARotatedEpochIsSeen) {
  const std::string before = db.snapshot()->position()->epoch;
  const auto mark = *db.storage->change_mark();
  const auto rotated = db.storage->rotate_epoch();
  ASSERT_TRUE(rotated.has_value());
  EXPECT_NE(*rotated, before);
  EXPECT_EQ(db.snapshot()->position()->epoch, *rotated);
  EXPECT_FALSE(*db.storage->change_mark() == mark);
}

TEST_F(Notes, AReopenedFileGoesOnWhereItWas) {
  insert("n1", "o1");
  const Position before = *db.snapshot()->position();
  db.storage.reset();
  db.storage = open_test_storage(db.file.path(), db.domain);
  ASSERT_TRUE(db.storage->provision().has_value());
  EXPECT_EQ(db.snapshot()->position()->epoch, before.epoch);
  EXPECT_EQ(db.last(), before.last);
  EXPECT_EQ(db.storage->describe(), "sqlite:" + db.file.path());
}

TEST(Storage, AMemoryDatabaseIsRefusedAsUsage) {
  const auto opened = open_sqlite_storage({.path = ":memory:"}, compiled(notes::domain()), system_random(), Log());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::usage);
}

TEST(ClientKey, ARemovalCarriesTheRowsClientIdWhereItDiffersFromTheKey) {
  TestDatabase db(office_domain());
  db.other->run("INSERT INTO docs (id, owner_id, client_id) VALUES ('a', 'o1', 'k'), ('b', 'o1', 'b')");
  db.other->run("DELETE FROM docs");
  const std::vector<CoveredBucket> covered{{db.bucket("o1"), Version{0}}};
  LiveQuery query;
  query.buckets = &covered;
  const auto removals = db.snapshot()->live_removals(query);
  ASSERT_EQ(removals->size(), 2u);
  EXPECT_EQ((*removals)[0].client_key, "k");
  EXPECT_FALSE((*removals)[1].client_key.has_value());
}

}  // namespace
}  // namespace nizhal::storage
