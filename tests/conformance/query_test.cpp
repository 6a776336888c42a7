// What mutators find on the server is what the query says, on both kinds of database: random predicates over random
// rows, against the queries' meaning in memory.
#include <gtest/gtest.h>

#include "base/test_seed.hpp"
#include "query/evaluate.hpp"
#include "query/test_queries.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

/// The columns of test_queries::every_type, to which rows and queries are made.
struct Thing {
  std::string id;
  std::optional<std::string> text;
  std::optional<Uuid> uuid;
  std::optional<std::int32_t> integer;
  std::optional<double> real;
  std::optional<bool> boolean;
  std::optional<std::int64_t> bigint;
  std::optional<Numeric> numeric;
  std::optional<Timestamp> timestamp;
  std::optional<Date> date;
  std::optional<Json> json;
  std::optional<Blob> blob;
};
const auto things = table<Thing>("things")
                        .key("id", &Thing::id)
                        .column("text", &Thing::text)
                        .column("uuid", &Thing::uuid)
                        .column("integer", &Thing::integer)
                        .column("real", &Thing::real)
                        .column("boolean", &Thing::boolean)
                        .column("bigint", &Thing::bigint)
                        .column("numeric", &Thing::numeric)
                        .column("timestamp", &Thing::timestamp)
                        .column("date", &Thing::date)
                        .column("json", &Thing::json)
                        .column("blob", &Thing::blob);

Domain things_domain() {
  Domain d("things", {.version = "1.0.0"});
  d.add(things);
  d.rule("mine").parameter("ownerId", actor::owner_id).data(things, eq("text", "ownerId"));
  return d;
}

/// PostgreSQL writes JSON in its own way.
void drop_json(std::vector<Row>& rows) {
  const std::size_t json = things.def().index_of("json");
  for (Row& row : rows)
    if (!is_null(row[json])) row[json] = std::string("{}");
}

struct QueryTest : OnEveryBackend {
  TestDatabase db{GetParam(), things_domain()};
};
INSTANTIATE_TEST_SUITE_P(On, QueryTest, every_backend(), kind_name);

TEST_P(QueryTest, FindGivesWhatTheQuerySays) {
  SeededRandom random(test_seed());
  const std::vector<TableDef> tables = {test_queries::every_type("things", ColumnType::text)};
  test_queries::RandomQueries queries(random, tables);
  int not_empty = 0;
  for (int round = 0; round < 5; ++round) {
    auto transaction = db.search();
    TableRows rows = {{"things", test_queries::random_rows(random, tables.front(), 40)}};
    for (const Row& row : rows["things"]) ASSERT_TRUE(transaction->insert(db.domain->table(0), row).value_or(false));
    for (int i = 0; i < 200; ++i) {
      QuerySpec query = queries.next({});
      query.table = &db.domain->table(0);
      SCOPED_TRACE(query_sql(Dialect::postgres, query)->text);
      auto found = transaction->find(query, nullptr);
      ASSERT_TRUE(found.has_value()) << found.error().message;
      auto expected = evaluate(query, rows);
      ASSERT_TRUE(expected.has_value());
      drop_json(*found);
      drop_json(*expected);
      ASSERT_EQ(test_queries::difference(*found, *expected), "");
      not_empty += found->empty() ? 0 : 1;
    }
  }  // and nothing is kept
  EXPECT_GT(not_empty, 200);
}

TEST_P(QueryTest, AScopeHoldsWhateverTheQuerySays) {
  auto transaction = db.search();
  for (const char* owner : {"o1", "o2"}) {
    Row row(things.def().columns.size());
    row[0] = std::string("of ") + owner;
    row[1] = std::string(owner);
    ASSERT_TRUE(transaction->insert(db.domain->table(0), row).value_or(false));
  }
  const storage::ScopeFilter scope{db.bucket("o1")};
  QuerySpec query;
  query.table = &db.domain->table(0);
  for (const Predicate& predicate : {eq("id", "of o1") || eq("id", "of o2"), !(eq("id", "x")) || is_null("blob"),
                                     like("id", "%"), in("text", {"o1", "o2"}) || in("text", {"o2"})}) {
    query.predicates = {predicate};
    const auto found = transaction->find(query, &scope);
    ASSERT_TRUE(found.has_value()) << found.error().message;
    ASSERT_EQ(found->size(), 1U);
    EXPECT_EQ(found->front()[0], Value(std::string("of o1")));
  }
}

TEST_P(QueryTest, LikeIsTheSameAsOnTheDevice) {
  auto transaction = db.search();
  Row row(things.def().columns.size());
  const auto finds = [&](std::string text, std::string pattern) {
    row[0] = row[1] = text;
    EXPECT_TRUE(transaction->insert(db.domain->table(0), row).value_or(false));
    QuerySpec query;
    query.table = &db.domain->table(0);
    query.predicates = {like("text", std::move(pattern))};
    const auto found = transaction->find(query, nullptr);
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    EXPECT_TRUE(transaction->remove(db.domain->table(0), row[0]).value_or(false));
    return found && found->size() == 1;
  };
  EXPECT_TRUE(finds("50%", "50\\%"));
  EXPECT_FALSE(finds("50x", "50\\%"));
  EXPECT_TRUE(finds("a\\b", "a\\\\b"));
  EXPECT_TRUE(finds("\U0001F600x", "_x"));
  EXPECT_FALSE(finds("Abc", "a%"));
  EXPECT_TRUE(finds("it's", "%'s"));
  EXPECT_TRUE(finds("ab", "\\a_"));
}

}  // namespace
}  // namespace nizhal::testing
