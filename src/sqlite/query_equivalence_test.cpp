// The one check that SQL and memory give the same rows: random tables' worth of rows, random queries, both ways.
#include <sqlite3.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.hpp"
#include "query/evaluate.hpp"
#include "query/test_queries.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::sqlite {
namespace {

using test_queries::every_type;
using test_queries::RandomQueries;

class QueryEquivalence : public ::testing::Test {
 protected:
  /// New tables, with rows in both places.
  void fill(Random& random, std::uint64_t rows) {
    tables_ = {every_type("odd \"name\"", test_queries::random_key_type(random)),
               every_type("other", test_queries::random_key_type(random))};
    rows_.clear();
    auto connection = Connection::open(":memory:", {});
    ASSERT_TRUE(connection) << connection.error().message;
    connection_ = std::move(*connection);
    for (const TableDef& table : tables_) {
      ASSERT_TRUE(connection_->execute(table_ddl(table)));
      rows_[table.name] = test_queries::random_rows(random, table, rows);
      for (const Row& row : rows_[table.name]) ASSERT_TRUE(insert_row(*connection_, table, row).value_or(false));
    }
  }

  /// True when both gave rows; a sum that does not fit must be told by both.
  void expect_same(const QuerySpec& query) {
    const auto sql = query_sql(Dialect::sqlite, query);
    ASSERT_TRUE(sql) << sql.error().message;
    SCOPED_TRACE(sql->text);
    const auto selected = select_rows(*connection_, query);
    const auto evaluated = evaluate(query, rows_);
    ASSERT_EQ(selected.has_value(), evaluated.has_value())
        << (selected ? evaluated.error().message : selected.error().message);
    if (!selected) {
      ASSERT_EQ(selected.error().code, ErrorCode::invalid_args) << selected.error().message;
      ASSERT_NE(selected.error().message.find("sum of "), std::string::npos) << selected.error().message;
      ++refused_;
      return;
    }
    ASSERT_EQ(test_queries::difference(*selected, *evaluated), "");
    if (!selected->empty()) ++not_empty_;
    ++answered_;
  }

  void compare(RandomQueries::Shape shape, int rounds, int queries) {
    SeededRandom random(test_seed());
    for (int round = 0; round < rounds; ++round) {
      fill(random, shape.joins ? 30 : 60);
      RandomQueries random_queries(random, tables_);
      for (int i = 0; i < queries && !HasFatalFailure(); ++i) expect_same(random_queries.next(shape));
      if (HasFatalFailure()) return;
    }
    EXPECT_GT(not_empty_, answered_ / 5) << "the queries are of no use";
  }

  std::vector<TableDef> tables_;
  TableRows rows_;
  std::unique_ptr<Connection> connection_;
  int answered_ = 0, not_empty_ = 0, refused_ = 0;
};

TEST_F(QueryEquivalence, SqlGivesWhatMemoryGives) { compare({}, 12, 150); }
TEST_F(QueryEquivalence, JoinsToo) { compare({.joins = true}, 12, 100); }
TEST_F(QueryEquivalence, FoldsToo) {
  compare({.folds = true}, 12, 150);
  EXPECT_GT(refused_, 0) << "no sum was too great";
}
TEST_F(QueryEquivalence, FoldsOfJoinsToo) { compare({.joins = true, .folds = true}, 12, 100); }

TEST_F(QueryEquivalence, ListsAndChainsMayBeLong) {
  SeededRandom random(test_seed());
  fill(random, 60);
  QuerySpec query;
  query.table = &tables_.front();
  std::vector<std::int64_t> many;
  Predicate chain = eq("integer", -1);
  for (std::int64_t i = 0; i < 30'000; ++i) many.push_back(i);
  for (std::int64_t i = 0; i < 2'000; ++i) chain = std::move(chain) || eq("integer", i);
  query.predicates = {in("bigint", many)};
  expect_same(query);
  query.predicates = {chain};
  expect_same(query);
  query.predicates = {!chain};
  expect_same(query);
  // As deep as a query may be, with every kind of step on the way.
  Predicate deep = eq("boolean", true);
  for (int i = 0; i < 14; ++i) {
    if (i % 3 == 0) deep = eq("integer", i) && std::move(deep);
    if (i % 3 == 1) deep = gt("integer", i) || std::move(deep);
    if (i % 3 == 2) deep = !std::move(deep);
  }
  query.predicates = {eq("boolean", false) || deep};
  expect_same(query);
}

TEST_F(QueryEquivalence, ASumThatDoesNotFitNamesItsColumn) {
  const TableDef table = every_type("t", ColumnType::integer);
  auto connection = Connection::open(":memory:", {});
  ASSERT_TRUE(connection);
  ASSERT_TRUE((*connection)->execute(table_ddl(table)));
  ASSERT_TRUE((*connection)
                  ->execute("INSERT INTO t (id, bigint) VALUES (1, 9223372036854775807), (2, 1), (3, -5), (4, 7);"
                            "INSERT INTO t (id, boolean, bigint) VALUES (5, 1, 9223372036854775807), (6, 1, 1)"));
  QuerySpec query;
  query.table = &table;
  query.folds = {sum("bigint").as("total")};
  query.conditions = {lt("id", 4)};
  const auto fits = select_rows(**connection, query);
  ASSERT_TRUE(fits) << "only what comes out counts, in whatever order SQLite goes";
  EXPECT_EQ((*fits)[0][0], Value(std::int64_t{9223372036854775803}));
  query.conditions = {};
  query.group_by = {"boolean"};
  query.limit = 1;
  const auto refused = select_rows(**connection, query);
  ASSERT_FALSE(refused) << "though the limit cuts off the group that does not fit";
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_args);
  EXPECT_NE(refused.error().message.find("sum of t.bigint"), std::string::npos) << refused.error().message;
}

TEST_F(QueryEquivalence, AFoldThatIsGivenUpLeavesNothingBehind) {
  SeededRandom random(test_seed());
  fill(random, 60);
  auto statement = connection_->prepare(
      "SELECT nizhal_sum(\"numeric\", 6, 'a sum of something'), nizhal_average(\"real\", 3, 'x') FROM other "
      "GROUP BY \"text\"");
  ASSERT_TRUE(statement) << statement.error().message;
  EXPECT_TRUE(statement->step());  // and no further: what is kept of the next group goes with the statement
}

TEST_F(QueryEquivalence, LikeIsThereForPlainSqlToo) {
  auto connection = Connection::open(":memory:", {});
  ASSERT_TRUE(connection);
  EXPECT_EQ((*connection)->query_integer("SELECT nizhal_like('50%', '50\\%')").value(), 1);
  EXPECT_EQ((*connection)->query_integer("SELECT nizhal_like('Ab', 'a_')").value(), 0);
  EXPECT_EQ((*connection)->query_integer("SELECT nizhal_like(NULL, '%') IS NULL").value(), 1);
}

}  // namespace
}  // namespace nizhal::sqlite
