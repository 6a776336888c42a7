#include "query/evaluate.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace nizhal {
namespace {

TableDef notes() {
  TableDef table;
  table.name = "notes";
  table.key = "id";
  table.columns = {{"id", ColumnType::text, false, {}},
                   {"body", ColumnType::text, true, {}},
                   {"stars", ColumnType::integer, true, {}},
                   {"price", ColumnType::numeric, true, {}},
                   {"extra", ColumnType::json, true, {}}};
  return table;
}

const TableDef kNotes = notes();

Row note(std::string id, Value body, Value stars = {}, Value price = {}, Value extra = {}) {
  return {Value(std::move(id)), std::move(body), std::move(stars), std::move(price), std::move(extra)};
}
Value text(std::string value) { return Value(std::move(value)); }
Value integer(std::int64_t value) { return Value(value); }

bool holds(const Condition& condition, const Row& row) { return matches(kNotes, {condition}, row); }

std::string ids(const QuerySpec& query, const std::vector<Row>& rows) {
  std::string all;
  for (const Row& row : evaluate(query, rows)) all += std::get<std::string>(row[0]);
  return all;
}

QuerySpec query_of(std::vector<Condition> conditions, std::vector<Order> order = {}) {
  QuerySpec query;
  query.table = &kNotes;
  query.conditions = std::move(conditions);
  query.order = std::move(order);
  return query;
}

TEST(Evaluate, EveryComparisonHoldsForItsOrdering) {
  const Row row = note("a", text("x"), integer(5));
  EXPECT_TRUE(holds(eq("stars", 5), row));
  EXPECT_FALSE(holds(eq("stars", 6), row));
  EXPECT_TRUE(holds(ne("stars", 6), row));
  EXPECT_FALSE(holds(ne("stars", 5), row));
  EXPECT_TRUE(holds(lt("stars", 6), row));
  EXPECT_FALSE(holds(lt("stars", 5), row));
  EXPECT_TRUE(holds(le("stars", 5), row));
  EXPECT_FALSE(holds(le("stars", 4), row));
  EXPECT_TRUE(holds(gt("stars", 4), row));
  EXPECT_FALSE(holds(gt("stars", 5), row));
  EXPECT_TRUE(holds(ge("stars", 5), row));
  EXPECT_FALSE(holds(ge("stars", 6), row));
}

TEST(Evaluate, AComparisonWithNullIsNeverTrue) {
  const Row with = note("a", text("x"));
  const Row without = note("b", Value{});
  for (int i = 0; i < 6; ++i) {
    const auto comparison = static_cast<Comparison>(i);
    EXPECT_FALSE(holds({"body", comparison, Value{}, true}, with));
    EXPECT_FALSE(holds({"body", comparison, Value{}, true}, without));
    EXPECT_FALSE(holds({"body", comparison, text("x"), true}, without));
  }
  EXPECT_TRUE(holds(is_null("body"), without));
  EXPECT_FALSE(holds(is_null("body"), with));
  EXPECT_TRUE(holds(is_not_null("body"), with));
  EXPECT_FALSE(holds(is_not_null("body"), without));
}

TEST(Evaluate, AConditionOnAnUnknownColumnNeverHolds) {
  const Row row = note("a", text("x"));
  EXPECT_FALSE(holds(eq("nothing", 1), row));
  EXPECT_FALSE(holds(is_null("nothing"), row));
}

TEST(Evaluate, AnOperandOfTheWrongTypeNeverHolds) {
  const Row row = note("a", text("5"), integer(5), text("5"), text("5"));
  EXPECT_FALSE(holds(eq("body", 5), row));
  EXPECT_FALSE(holds(ne("body", 5), row));
  EXPECT_FALSE(holds(ne("stars", "5"), row));
  EXPECT_FALSE(holds(ne("price", "cheap"), row));
  EXPECT_FALSE(holds(eq("extra", "5"), row));
}

TEST(Evaluate, NumericsCompareAsNumbers) {
  const Row row = note("a", {}, {}, text("10.00"));
  EXPECT_TRUE(holds(eq("price", Numeric{"10"}), row));
  EXPECT_TRUE(holds(gt("price", Numeric{"9.5"}), row));
  EXPECT_TRUE(holds(eq("price", 10), row));
}

TEST(Evaluate, AllConditionsMustHold) {
  const Row row = note("a", text("x"), integer(5));
  EXPECT_TRUE(matches(kNotes, {}, row));
  EXPECT_TRUE(matches(kNotes, {eq("body", "x"), eq("stars", 5)}, row));
  EXPECT_FALSE(matches(kNotes, {eq("body", "x"), eq("stars", 4)}, row));
}

TEST(Evaluate, RowsComeInOrderNullsFirstTiesByKey) {
  const std::vector<Row> rows = {note("d", text("b")), note("c", text("B")), note("b", Value{}), note("a", text("b"))};
  EXPECT_EQ(ids(query_of({}), rows), "abcd");
  EXPECT_EQ(ids(query_of({}, {{"body", Direction::ascending}}), rows), "bcad");
  EXPECT_EQ(ids(query_of({}, {{"body", Direction::descending}}), rows), "adcb");
  EXPECT_EQ(ids(query_of({}, {{"id", Direction::descending}}), rows), "dcba");
}

TEST(Evaluate, OffsetAndLimitCutTheOrderedRows) {
  const std::vector<Row> rows = {note("d", {}), note("b", {}), note("a", {}), note("c", {})};
  QuerySpec query = query_of({});
  query.offset = 1;
  query.limit = 2;
  EXPECT_EQ(ids(query, rows), "bc");
  query.limit = 0;
  EXPECT_EQ(ids(query, rows), "");
  query.limit = std::numeric_limits<std::size_t>::max();
  query.offset = 3;
  EXPECT_EQ(ids(query, rows), "d");
  query.offset = std::numeric_limits<std::size_t>::max();
  EXPECT_EQ(ids(query, rows), "");
}

}  // namespace
}  // namespace nizhal
