// What reading the recent changes costs, and the one table lock that it must not go without.
#include "storage/postgres/changes.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <future>

#include "examples/notes/notes.hpp"
#include "storage/postgres/plan.hpp"
#include "storage/postgres/test_database.hpp"

namespace nizhal::storage {
namespace {

/// Rows that were written before, and as many removals and handled mutations.
void fill(TestDatabase& db, int from, int to) {
  db.other->run(fmt::format(
      "SET session_replication_role = replica; INSERT INTO notes (id, owner_id, body, nizhal_version) SELECT "
      "'n' || i, 'o' || i % 7, 'x', i FROM generate_series({0}, {1}) AS i; INSERT INTO nizhal.removal (version, "
      "bucket, "
      "table_name, key, deleted, at_us) SELECT i, 'o1', 'notes', 'gone' || i, true, 0 FROM generate_series({0}, {1}) "
      "AS "
      "i; INSERT INTO nizhal.audit (version, at_us, user_id, owner_id, client_id, client_mutation_id, mutator, "
      "outcome, "
      "unscoped, buckets, changes) SELECT i, 0, 'u', 'o', 'c' || i % 5, 'm' || i, 'x', 'applied', false, '[]', '[]' "
      "FROM generate_series({0}, {1}) AS i; SELECT setval('nizhal.version_seq', {1}); "
      "SET session_replication_role = origin",
      from, to));
}

/// Ten rows, ten removals and ten mutations above the last version so far.
Plan cost_of_ten(TestDatabase& db) {
  const pg::Catalog catalog(db.domain, "public");
  ChangesQuery query;
  query.after = Version{number(db.position().last) - 10};
  query.rows_max = 1'000;
  query.actors = {{"u1", "o1", ""}};
  query.client_ids = {"c1"};
  return plan_of(*db.other, pg::changes_sql(catalog), pg::changes_parameters(catalog, query));
}

TEST(PostgresChanges, WhatTheyCostDoesNotGrowWithTheTables) {
  TestDatabase db(notes::domain());
  fill(db, 2, 2'000);
  const Plan small = cost_of_ten(db);
  EXPECT_LE(small.rows_walked, 100) << small.text;
  fill(db, 2'001, 40'000);
  const Plan stale = cost_of_ten(db);
  db.other->run("ANALYZE");
  const Plan large = cost_of_ten(db);
  for (const Plan* plan : {&stale, &large}) {
    EXPECT_LE(plan->rows_walked, 100) << plan->text;             // each table walks along the ten removals
    EXPECT_LE(plan->buffers, small.buffers + 30) << plan->text;  // a level more in some indexes
    EXPECT_TRUE(plan->uses_index("nizhal_version:notes")) << plan->text;
    EXPECT_TRUE(plan->uses_index("removal_version")) << plan->text;
    EXPECT_TRUE(plan->uses_index("audit_pkey")) << plan->text;
  }
}

TEST(PostgresChanges, ATableThatIsBeingEmptiedIsWaitedFor) {
  TestDatabase db(notes::domain());
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', '')");
  const Position before = db.position();
  db.other->run("BEGIN; TRUNCATE notes");
  auto reading = std::async(std::launch::async, [&] {
    return db.storage->changes_since(before, {.after = before.horizon, .rows_max = 10, .actors = {}, .client_ids = {}});
  });
  OtherProgram watching(db.url);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (watching.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'notes'::regclass") != "1")
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "it did not wait";
  db.other->run("COMMIT");
  const auto told = reading.get();
  ASSERT_TRUE(told.has_value() && told->has_value()) << (told ? "" : told.error().message);
  EXPECT_TRUE((*told)->rows.empty());
  ASSERT_EQ((*told)->removals.size(), 1u) << "the table looked empty, and nothing told why";
  EXPECT_EQ((*told)->removals.front().removal.key, "n1");
  EXPECT_GE((*told)->position.last, (*told)->removals.front().removal.version);
}

TEST(PostgresChanges, EveryoneIsNamedWhenATableOfMembershipsIsEmptied) {
  TestDatabase db(notes::domain());
  db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a')");
  const Position before = db.position();
  db.other->run("TRUNCATE team_members");
  const auto told = db.storage->changes_since(
      db.position(), {.after = before.horizon, .rows_max = 10, .actors = {}, .client_ids = {}});
  ASSERT_TRUE(told.has_value() && told->has_value()) << (told ? "" : told.error().message);
  ASSERT_EQ((*told)->grant_changes.size(), 1u);
  EXPECT_EQ((*told)->grant_changes.front().subject, "");
}

}  // namespace
}  // namespace nizhal::storage
