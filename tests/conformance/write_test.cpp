// What a write transaction does, on both kinds of database.
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <set>
#include <thread>

#include "examples/notes/notes.hpp"
#include "tests/backends/office_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

using storage::AuditRow;
using storage::MutationRecord;
using storage::ScopeFilter;

const Actor kActor{"u1", "o1", ""};

struct WriteTest : OnEveryBackend {
  TestDatabase db{GetParam(), notes::domain()};
  const TableDef& notes_table = db.domain->table(0);
  const TableDef& team_notes = db.domain->table(2);

  void insert(const std::string& id) {
    auto transaction = db.write();
    ASSERT_TRUE(*transaction->insert(notes_table, {id, "o1", "x"}));
    ASSERT_TRUE(transaction->commit().has_value());
  }
};
INSTANTIATE_TEST_SUITE_P(On, WriteTest, every_backend(), kind_name);

TEST_P(WriteTest, ADroppedTransactionLeavesNothing) {
  const Version before = db.last();
  {
    auto transaction = db.write();
    ASSERT_TRUE(*transaction->insert(notes_table, {"n1", "o1", "x"}));
    ASSERT_TRUE(transaction->put_client({"c1", "u1", "o1", MutationId{1}, "m1", ""}).has_value());
    EXPECT_GT(transaction->version(), before);
  }
  EXPECT_EQ(db.other->value("SELECT count(*) FROM notes"), "0");
  EXPECT_FALSE(db.snapshot()->client("c1")->has_value());
  EXPECT_TRUE(db.rows("o1").empty());
  insert("n1");
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
}

TEST_P(WriteTest, ASavepointRolledBackKeepsTheVersionAndWhatCameBefore) {
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
  EXPECT_EQ(transaction->version(), version);
  transaction.reset();
  EXPECT_EQ(db.last(), version);
  EXPECT_EQ(db.rows("o1"), Names{"notes/n1"});
  EXPECT_TRUE(db.removals("o1").empty());
  EXPECT_EQ(db.other->value("SELECT nizhal_version FROM notes"), std::to_string(number(version)));
}

TEST_P(WriteTest, SavepointsNest) {
  auto transaction = db.write();
  ASSERT_TRUE(transaction->savepoint().has_value());
  ASSERT_TRUE(*transaction->insert(notes_table, {"n1", "o1", "x"}));
  ASSERT_TRUE(transaction->savepoint().has_value());
  ASSERT_TRUE(*transaction->insert(notes_table, {"n2", "o1", "x"}));
  ASSERT_TRUE(transaction->rollback_to_savepoint().has_value());
  ASSERT_TRUE(*transaction->insert(notes_table, {"n3", "o1", "x"})) << "it stays open after a rollback to it";
  ASSERT_TRUE(transaction->rollback_to_savepoint().has_value());
  ASSERT_TRUE(transaction->release_savepoint().has_value());
  ASSERT_TRUE(*transaction->insert(notes_table, {"n4", "o1", "x"}));
  ASSERT_TRUE(transaction->release_savepoint().has_value());
  ASSERT_TRUE(transaction->commit().has_value());
  transaction.reset();
  EXPECT_EQ(db.filled("o1"), (Names{"notes/n1", "notes/n4"}));
}

TEST_P(WriteTest, AnInsertOfATakenKeySaysSoAndRecordsNothing) {
  insert("n1");
  auto transaction = db.write();
  EXPECT_FALSE(*transaction->insert(notes_table, {"n1", "o2", "y"}));
  ASSERT_TRUE(*transaction->insert(notes_table, {"n2", "o2", "y"})) << "and the transaction goes on";
  ASSERT_TRUE(transaction->commit().has_value());
  transaction.reset();
  EXPECT_EQ(db.other->query("SELECT owner_id FROM notes ORDER BY id"), (Names{"o1", "o2"}));
  EXPECT_EQ(db.other->value("SELECT count(*) FROM " + db.engine("removal")), "0");
}

TEST_P(WriteTest, UpdatesAndRemovesSayWhetherThereWasARow) {
  insert("n1");
  auto transaction = db.write();
  EXPECT_TRUE(*transaction->update(notes_table, "n1", {{2, "y"}}));
  EXPECT_FALSE(*transaction->update(notes_table, "n2", {{2, "y"}}));
  EXPECT_EQ((**transaction->get(notes_table, "n1"))[2], Value("y"));
  EXPECT_TRUE(*transaction->remove(notes_table, "n1"));
  EXPECT_FALSE(*transaction->remove(notes_table, "n1"));
  EXPECT_FALSE(transaction->get(notes_table, "n1")->has_value());
}

TEST_P(WriteTest, AnUpdateThatChangesNothingCounts) {
  insert("n1");
  const Version before = db.last();
  auto transaction = db.write();
  EXPECT_TRUE(*transaction->update(notes_table, "n1", {{2, "x"}}));
  ASSERT_TRUE(transaction->commit().has_value());
  transaction.reset();
  EXPECT_EQ(db.rows("o1", before), Names{"notes/n1"});
  EXPECT_TRUE(db.removals("o1").empty());
}

TEST_P(WriteTest, FindWithAScopeSeesOnlyTheScopesRowsInTheQuerysOrder) {
  auto transaction = db.search();
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
    if (rows)
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

struct WriteScope : OnEveryBackend {};
INSTANTIATE_TEST_SUITE_P(On, WriteScope, every_backend(), kind_name);

TEST_P(WriteScope, FindAgreesWithBucketsOfForEveryKindOfRule) {
  TestDatabase db(GetParam(), office_domain());
  auto transaction = db.search();
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
  std::size_t found_some = 0;
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
      query.order = {{"id", Direction::ascending}};
      const auto all = transaction->find(query, nullptr);
      ASSERT_TRUE(all.has_value()) << all.error().message;
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
      found_some += found->size();
    }
  }
  EXPECT_GT(found_some, 10u);
}

TEST_P(WriteTest, GrantsInATransactionAreThoseOfThisMoment) {
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

TEST_P(WriteTest, WhatAPushIsGoingToAskForIsAnsweredTheSame) {
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  {
    auto transaction = db.write();
    ASSERT_TRUE(transaction->put_client({"c1", "u1", "o1", MutationId{1}, "k1", ""}).has_value());
    MutationRecord record;
    record.client_id = "c1";
    record.mutation_id = MutationId{1};
    record.client_mutation_id = "k1";
    record.user_id = "u1";
    record.owner_id = "o1";
    record.name = "addNote";
    record.applied = true;
    ASSERT_TRUE(transaction->put_mutation(record).has_value());
    ASSERT_TRUE(transaction->commit().has_value());
  }
  for (const auto mode :
       {storage::WriteMode::pipelined, storage::WriteMode::careful, storage::WriteMode::serializable}) {
    storage::PushIntent intent{{"c2", "c1"}, {"k1", "k2"}, kActor};
    auto begun = db.storage->write(Timestamp{1}, {.mode = mode, .intent = &intent});
    ASSERT_TRUE(begun.has_value()) << begun.error().message;
    intent = {};  // read during begin_write only
    storage::WriteTransaction& transaction = **begun;
    EXPECT_EQ((*transaction.client("c1"))->last_client_mutation_id, "k1");
    EXPECT_FALSE(transaction.client("c2")->has_value());
    EXPECT_FALSE(transaction.client("c3")->has_value()) << "also what it was not told";
    EXPECT_TRUE(transaction.mutation(kActor, "k1")->has_value());
    EXPECT_FALSE(transaction.mutation(kActor, "k2")->has_value());
    EXPECT_FALSE(transaction.mutation(kActor, "k3")->has_value());
    EXPECT_FALSE(transaction.mutation(Actor{"u2", "o1", ""}, "k1")->has_value());
    EXPECT_EQ(transaction.grants(kActor)->size(), 2u);
    EXPECT_EQ(transaction.grants(Actor{"u2", "o2", ""})->size(), 1u);
    // And what the transaction writes itself is seen.
    ASSERT_TRUE(transaction.put_client({"c2", "u1", "o1", MutationId{7}, "k7", ""}).has_value());
    EXPECT_EQ((*transaction.client("c2"))->last_mutation_id, MutationId{7});
  }
}

TEST_P(WriteTest, RecordsOfClientsAndMutationsAreFoundAgain) {
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
    EXPECT_TRUE(transaction->mutation(kActor, "m3")->has_value()) << "before the commit, too";
    ASSERT_TRUE(transaction->put_server_id("c1", "notes", "a", "b").has_value());
    ASSERT_TRUE(transaction->put_server_id("c1", "notes", "a", "c").has_value());
    EXPECT_EQ(*transaction->server_id("c1", "notes", "a"), "c");
    ASSERT_TRUE(transaction->commit().has_value());
  }
  const auto client = db.snapshot()->client("c1");
  ASSERT_TRUE(client->has_value());
  EXPECT_EQ((*client)->last_mutation_id, MutationId{2});
  EXPECT_EQ((*client)->last_client_mutation_id, "m2");
  EXPECT_EQ((*client)->last_hlc, "h2");
  EXPECT_EQ((*client)->user_id + (*client)->owner_id, "u1o1");
  auto transaction = db.write();
  const auto by_id = transaction->mutation("c1", MutationId{2});
  ASSERT_TRUE(by_id->has_value());
  EXPECT_EQ((*by_id)->code, "refused_body");
  EXPECT_EQ((*by_id)->error, "no");
  EXPECT_EQ((*by_id)->name, "addNote");
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

TEST_P(WriteTest, AuditRowsHaveTheTransactionsVersionAndTime) {
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
  EXPECT_EQ(rows->back().client_mutation_id, "m2");
  EXPECT_TRUE((*rows)[1].unscoped);
  EXPECT_FALSE((*rows)[2].unscoped);
  EXPECT_EQ((*rows)[1].buckets, Names{"o1"});
  EXPECT_EQ(db.snapshot()->audit(version, everything, 10)->size(), 1u);
  EXPECT_EQ(db.snapshot()->audit(Version{0}, everything, 2)->size(), 2u);
  EXPECT_EQ(db.snapshot()->audit(Version{0}, Version{number(version) - 1}, 10)->size(), 2u);
}

TEST_P(WriteTest, AConstraintOfTheUsersFailsTheWriteAndTheSavepointSavesTheRest) {
  db.other->run("CREATE UNIQUE INDEX one_body ON notes (body)");
  ASSERT_TRUE(db.storage->provision().has_value());
  auto transaction = db.write();
  ASSERT_TRUE(*transaction->insert(notes_table, {"n1", "o1", "same"}));
  ASSERT_TRUE(transaction->savepoint().has_value());
  const auto refused = transaction->insert(notes_table, {"n2", "o1", "same"});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::constraint_violated);
  ASSERT_TRUE(transaction->rollback_to_savepoint().has_value());
  ASSERT_TRUE(transaction->release_savepoint().has_value());
  ASSERT_TRUE(*transaction->insert(notes_table, {"n3", "o1", "other"}));
  ASSERT_TRUE(transaction->commit().has_value());
  transaction.reset();
  EXPECT_EQ(db.filled("o1"), (Names{"notes/n1", "notes/n3"}));
}

TEST_P(WriteTest, ThreadsThatWriteAtOnceAllHaveTheirTurnAndVersionsOfTheirOwn) {
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

struct Numbers : OnEveryBackend {};
INSTANTIATE_TEST_SUITE_P(On, Numbers, every_backend(), kind_name);

TEST_P(Numbers, GoOnAboveTheCounterAndAboveWhatOthersWrote) {
  TestDatabase db(GetParam(), office_domain());
  const TableDef& order_table = db.domain->table(2);
  const auto next = [&](std::int64_t shop) {
    auto transaction = db.write();
    const auto number = transaction->next_number(order_table, "id", "shop", shop);
    EXPECT_TRUE(number.has_value()) << (number ? "" : number.error().message);
    EXPECT_TRUE(transaction->commit().has_value());
    return number.value_or(-1);
  };
  const std::string insert = "INSERT INTO orders (id, shop, region, hidden) VALUES ";
  const std::string no = db.backend->boolean(false);
  EXPECT_EQ(next(1), 1);
  EXPECT_EQ(next(1), 2) << "also when no row came of the first";
  EXPECT_EQ(next(2), 1);
  db.other->run(insert + "(41, 1, 'x', " + no + ")");
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
  db.other->run(insert + "(9223372036854775807, 3, 'x', " + no + ")");
  for (const auto& [number_column, bucket_column] :
       {std::pair{"id", "shop"}, std::pair{"region", "shop"}, std::pair{"none", "shop"}}) {
    auto transaction = db.write();
    EXPECT_FALSE(transaction->next_number(order_table, number_column, bucket_column, std::int64_t{3}).has_value())
        << number_column;
  }
}

}  // namespace
}  // namespace nizhal::testing
