// What pages cost: every statement walks along the engine's index, and neither what is left nor other buckets matter.
#include "storage/postgres/statements.hpp"

#include <gtest/gtest.h>

#include "../../../examples/ledger/ledger.hpp"
#include "../../../examples/notes/notes.hpp"
#include "storage/postgres/plan.hpp"
#include "storage/postgres/test_database.hpp"
#include "tests/backends/office_domain.hpp"

namespace nizhal::storage {
namespace {

pg::DomainSql sql_of(const TestDatabase& db) { return pg::DomainSql(*db.domain, "public"); }

/// Values that the types of a statement's parameters take.
pg::Parameters some_values(const pg::EntrySql& entry, bool as_lists) {
  pg::Parameters values;
  for (const ColumnType type : entry.parameter_types) {
    std::string value = type == ColumnType::uuid   ? "00000000-0000-4000-8000-000000000001"
                        : type == ColumnType::text ? "x"
                                                   : "1";
    values.emplace_back(as_lists ? "{" + value + "}" : value);
  }
  return values;
}

/// Explains every page's statement of the domain.
int check_plans(TestDatabase& db) {
  int statements = 0;
  for (const auto& entries : sql_of(db).entries) {
    for (const pg::EntrySql& entry : entries) {
      const auto check = [&](const std::string& sql, pg::Parameters values, std::initializer_list<std::string> more) {
        for (const std::string& value : more) values.emplace_back(value);
        const Plan plan = plan_of(*db.other, sql, values);
        EXPECT_TRUE(plan.nodes.contains("Index Scan")) << plan.text << "\n" << sql;
        EXPECT_FALSE(plan.nodes.contains("Seq Scan")) << plan.text << "\n" << sql;
        EXPECT_FALSE(plan.nodes.contains("Bitmap Heap Scan")) << plan.text << "\n" << sql;
        EXPECT_TRUE(plan.uses_index("nizhal")) << plan.text << "\n" << sql;
        ++statements;
      };
      const ColumnType type = db.domain->table(entry.table).key_column().type;
      const std::string key = type == ColumnType::text   ? "k"
                              : type == ColumnType::uuid ? "00000000-0000-4000-8000-000000000001"
                                                         : "7";
      check(entry.live, some_values(entry, true), {"{0}", "100", "11", "11"});
      check(entry.backfill, some_values(entry, false), {"11"});
      check(entry.backfill_after, some_values(entry, false), {"11", key});
    }
  }
  return statements;
}

TEST(PostgresPages, EveryPageWalksAlongTheIndexMadeForIt) {
  for (const auto& domain : {notes::domain(), ledger::domain(), testing::office_domain()}) {
    TestDatabase db(domain);
    EXPECT_GT(check_plans(db), 0);
  }
}

struct Thing {
  Uuid id;
  Uuid owner;
  std::string place;
};
const auto things =
    table<Thing>("things").key("id", &Thing::id).column("owner", &Thing::owner).column("place", &Thing::place);

TEST(PostgresPages, UuidsAndColumnsOfNarrowerTypesAreWalkedToo) {
  Domain domain("things", {.version = "1.0.0"});
  domain.add(things);
  domain.rule("own").parameter("owner", actor::owner_id).data(things, eq("owner", "owner"));
  domain.rule("places").prefix("p:").parameter("place", actor::claim("place")).data(things, eq("place", "place"));
  TestDatabase db(domain);
  const std::string owner = "00000000-0000-4000-8000-00000000000a";
  db.other->run("INSERT INTO things (id, owner, place) SELECT gen_random_uuid(), '" + owner +
                "', 'here' FROM generate_series(1, 30)");
  for (const bool is_narrow : {false, true}) {
    if (is_narrow) {
      db.other->run("ALTER TABLE things ALTER COLUMN place TYPE varchar(40)");
      db.storage = db.open();
    }
    EXPECT_EQ(check_plans(db), 6);
    const Names expected = db.other->query("SELECT id FROM things ORDER BY id");
    for (const std::string& key : {owner, std::string("p:here")}) {
      EXPECT_EQ(db.rows({key}), expected);
      Names filled;
      std::optional<std::string> after;
      for (;;) {
        const auto page = db.snapshot()->backfill(db.bucket(key), 0, after, 7);
        ASSERT_TRUE(page.has_value()) << page.error().message;
        for (const EncodedRow& row : *page) filled.push_back(row.key);
        if (page->size() < 7) break;
        after = page->back().key;
      }
      EXPECT_EQ(filled, expected);
    }
  }
  // Texts that no uuid has: no row can be there, and nothing fails.
  for (const char* key : {"nobody", "00000000-0000-4000-8000-00000000000A"}) {
    EXPECT_EQ(db.rows({key}), Names{});
    EXPECT_EQ(db.snapshot()->count_rows(db.bucket(key), 0).value_or(1), 0u);
    EXPECT_EQ(db.snapshot()->backfill(db.bucket(key), 0, std::nullopt, 5)->size(), 0u);
  }
}

/// Writes `count` notes of each owner, one version each, round the owners, as if each had been a transaction.
void fill(TestDatabase& db, int owners, int count) {
  db.other->run(fmt::format(
      "SET session_replication_role = replica;"
      "INSERT INTO notes (id, owner_id, body, nizhal_version) SELECT 'n' || o || '-' || i, 'o' || o, 'body', "
      "100 + i * {0} + o FROM generate_series(1, {1}) AS i, generate_series(1, {0}) AS o;"
      "INSERT INTO nizhal.removal (version, bucket, table_name, key, deleted, at_us) SELECT "
      "100 + i * {0} + o, 'o' || o, 'notes', 'gone' || o || '-' || i, true, 1 FROM generate_series(1, {1}) AS i, "
      "generate_series(1, {0}) AS o ORDER BY 1;"
      "SELECT setval('nizhal.version_seq', 200 + {0} * {1});"
      "SET session_replication_role = origin",
      owners, count));
}

constexpr const char* kAll = "9000000000000000000";

struct Costs {
  Plan live, removals, backfill;
};
/// A page of `limit` rows of one bucket that begins after its n-th.
Costs costs_of_page(TestDatabase& db, int n, int limit) {
  const pg::EntrySql entry = sql_of(db).entries[0][0];
  const std::string rows = fmt::to_string(limit);
  const std::string after = "{" + fmt::to_string(100 + n + 1) + "}";
  const std::string key =
      n == 0 ? "" : db.other->value(fmt::format("SELECT id FROM notes ORDER BY id COLLATE \"C\" OFFSET {} LIMIT 1", n));
  return {plan_of(*db.other, entry.live, {"{o1}", after, kAll, rows, rows}),
          plan_of(*db.other, pg::kRemovalsSql, {"{o1}", after, kAll, rows, rows, "{notes}"}),
          n == 0 ? plan_of(*db.other, entry.backfill, {"o1", rows})
                 : plan_of(*db.other, entry.backfill_after, {"o1", rows, key})};
}

TEST(PostgresPages, TrapAPageCostsWhatItCarriesHoweverMuchIsLeft) {
  TestDatabase db(notes::domain());
  fill(db, 1, 20'000);
  constexpr int kLimit = 100;
  for (const bool is_analyzed : {false, true}) {
    if (is_analyzed)
      for (const char* table : {"notes", "nizhal.removal"}) db.other->run(fmt::format("VACUUM ANALYZE {}", table));
    const Costs first = costs_of_page(db, 0, kLimit);
    const Costs last = costs_of_page(db, 19'000, kLimit);
    for (const Costs* costs : {&first, &last}) {
      for (const Plan* plan : {&costs->live, &costs->removals, &costs->backfill}) {
        EXPECT_EQ(plan->rows_walked, kLimit) << plan->text;
        EXPECT_LE(plan->rows_sorted, kLimit) << plan->text;
        EXPECT_LE(plan->buffers, kLimit + 20) << plan->text;
      }
    }
  }
}

TEST(PostgresPages, ManyBucketsTogetherCostLittleMoreThanThePage) {
  constexpr int kOwners = 60, kEach = 300;
  constexpr std::size_t kLimit = 120;
  TestDatabase db(notes::domain());
  fill(db, kOwners, kEach);
  // One bucket has all that is low, so that its share is not enough.
  db.other->run(
      "SET session_replication_role = replica; UPDATE notes SET nizhal_version = 100 WHERE owner_id = 'o7';"
      "SET session_replication_role = origin");
  const pg::Catalog catalog(db.domain, "public");
  std::vector<Bucket> buckets;
  for (int o = 1; o <= kOwners; ++o) buckets.push_back(db.bucket("o" + std::to_string(o)));
  pg::Walks walks{&catalog.sql.entries[0][0], {}};
  pg::Walks removals{nullptr, {}, "{notes}"};
  for (const Bucket& bucket : buckets) {
    walks.buckets.emplace_back(&bucket, Version{0});
    removals.buckets.emplace_back(&bucket, Version{0});
  }
  const auto walked = [&db] {
    return std::stoul(db.other->value("SELECT sum(idx_tup_fetch) FROM pg_stat_xact_user_tables"));
  };
  for (const pg::Walks& what : {walks, removals}) {
    db.other->run("BEGIN");
    const std::size_t before = walked();
    const auto found = pg::lowest_rows(db.other->connection(), catalog, {what}, std::nullopt, kLimit);
    ASSERT_TRUE(found.has_value()) << found.error().message;
    EXPECT_GE(walked() - before, kLimit);
    EXPECT_LE(walked() - before, 3 * kLimit + kOwners);
    db.other->run("COMMIT");
  }
  // What the page of all of them carries is what sorting everything would give.
  std::vector<std::string> keys;
  for (const Bucket& bucket : buckets) keys.push_back(bucket.key);
  const Names page = db.rows(keys, Version{0}, kLimit);
  EXPECT_EQ(page.size(), kLimit);
  for (const std::string& name : page) EXPECT_EQ(name.substr(0, 3), "n7-");
  const Names rest = db.rows(keys, Version{100}, kLimit);
  EXPECT_EQ(rest, db.other->query(fmt::format("SELECT id FROM notes WHERE nizhal_version > 100 ORDER BY "
                                              "nizhal_version LIMIT {}",
                                              kLimit)));
}

TEST(PostgresPages, RemovalsAreJudgedByTheirKeysAlone) {
  TestDatabase db(notes::domain());
  fill(db, 1, 20'000);
  const pg::DomainSql sql = sql_of(db);
  const Plan plan = plan_of(*db.other, sql.tables[0].buckets_of_keys, {"{n1-5,n1-19999,gone}"});
  EXPECT_FALSE(plan.nodes.contains("Seq Scan")) << plan.text;
  EXPECT_TRUE(plan.uses_index("notes_pkey")) << plan.text;
  EXPECT_LE(plan.rows_walked, 3) << plan.text;
  EXPECT_LE(plan.buffers, 20) << plan.text;
}

TEST(PostgresPages, APageOfOneBucketIsNotLookedForAmongTheRowsOfAnother) {
  TestDatabase db(testing::office_domain());
  // Statistics from before the second bucket came: the planner believes that there is one only.
  db.other->run(
      "INSERT INTO orders (id, shop, region, state) SELECT i, 1, 'north', 's' FROM generate_series(1, 20000) AS i;"
      "ANALYZE orders");
  db.other->run(
      "INSERT INTO orders (id, shop, region, state) SELECT 30000 + i, 1, 'south', 's' "
      "FROM generate_series(1, 10) AS i");
  const pg::EntrySql* entry = nullptr;
  const pg::DomainSql sql = sql_of(db);
  for (const auto& entries : sql.entries)
    for (const pg::EntrySql& one : entries)
      if (one.parameter_types.size() == 2) entry = &one;
  ASSERT_NE(entry, nullptr);
  for (const Plan& plan : {plan_of(*db.other, entry->backfill, {"1", "south", "100"}),
                           plan_of(*db.other, entry->backfill_after, {"1", "south", "100", "5"}),
                           plan_of(*db.other, entry->live, {"{1}", "{south}", "{0}", kAll, "100", "100"})}) {
    EXPECT_EQ(plan.rows_walked, 10) << plan.text;
    EXPECT_LE(plan.buffers, 30) << plan.text;
  }
}

}  // namespace
}  // namespace nizhal::storage
