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

Truth truth(const Predicate& predicate, const Row& row) {
  QuerySpec query;
  query.table = &kNotes;
  query.predicates = {predicate};
  const auto compiled = compile_query(query);
  EXPECT_TRUE(compiled) << (compiled ? "" : compiled.error().message);
  return compiled ? judge(compiled->filter, row) : Truth::unknown;
}
bool holds(const Predicate& predicate, const Row& row) { return truth(predicate, row) == Truth::yes; }

std::string ids(const QuerySpec& query, const std::vector<Row>& rows) {
  std::string all;
  const auto found = evaluate(query, {{"notes", rows}});
  EXPECT_TRUE(found) << (found ? "" : found.error().message);
  if (found)
    for (const Row& row : *found) all += std::get<std::string>(row[0]);
  return all;
}

QuerySpec query_of(std::vector<Predicate> predicates, std::vector<Order> order = {}) {
  QuerySpec query;
  query.table = &kNotes;
  query.predicates = std::move(predicates);
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

TEST(Evaluate, AComparisonWithNullIsUnknown) {
  const Row with = note("a", text("x"));
  const Row without = note("b", Value{});
  for (int i = 0; i < 6; ++i) {
    const auto comparison = static_cast<Comparison>(i);
    EXPECT_EQ(truth(Condition{"body", comparison, Value{}, true}, with), Truth::unknown);
    EXPECT_EQ(truth(Condition{"body", comparison, Value{}, true}, without), Truth::unknown);
    EXPECT_EQ(truth(Condition{"body", comparison, text("x"), true}, without), Truth::unknown);
  }
  EXPECT_TRUE(holds(is_null("body"), without));
  EXPECT_FALSE(holds(is_null("body"), with));
  EXPECT_TRUE(holds(is_not_null("body"), with));
  EXPECT_FALSE(holds(is_not_null("body"), without));
}

TEST(Evaluate, AndOrAndNotAreThoseOfThreeTruths) {
  const Row row = note("a", text("x"), Value{});
  const Predicate yes = eq("body", "x"), no = eq("body", "y"), unknown = eq("stars", 1);
  EXPECT_EQ(truth(!yes, row), Truth::no);
  EXPECT_EQ(truth(!no, row), Truth::yes);
  EXPECT_EQ(truth(!unknown, row), Truth::unknown);
  EXPECT_EQ(truth(yes && unknown, row), Truth::unknown);
  EXPECT_EQ(truth(no && unknown, row), Truth::no);
  EXPECT_EQ(truth(unknown && no, row), Truth::no);
  EXPECT_EQ(truth(yes || unknown, row), Truth::yes);
  EXPECT_EQ(truth(unknown || yes, row), Truth::yes);
  EXPECT_EQ(truth(no || unknown, row), Truth::unknown);
  EXPECT_EQ(truth(!(no || unknown), row), Truth::unknown);
  EXPECT_EQ(truth(!is_null("stars"), row), Truth::no);
  EXPECT_EQ(ids(query_of({!unknown}), {row}), "");
}

TEST(Evaluate, InIsTrueForAnyOfTheValuesAndUnknownWithANullAmongThem) {
  const Row row = note("a", text("x"), integer(5));
  const Row null = note("b", Value{});
  const std::vector<std::optional<std::string>> with_null = {"y", std::nullopt};
  EXPECT_EQ(truth(in("body", {"y", "x"}), row), Truth::yes);
  EXPECT_EQ(truth(in("body", {"y", "z"}), row), Truth::no);
  EXPECT_EQ(truth(in("stars", {4, 5}), row), Truth::yes);
  EXPECT_EQ(truth(in("body", with_null), row), Truth::unknown);
  EXPECT_EQ(truth(in("body", std::vector<std::optional<std::string>>{"x", std::nullopt}), row), Truth::yes);
  EXPECT_EQ(truth(in("body", {"x"}), null), Truth::unknown);
  EXPECT_EQ(truth(in("body", std::vector<std::string>{}), row), Truth::no);
  EXPECT_EQ(truth(in("body", std::vector<std::string>{}), null), Truth::no);
  EXPECT_EQ(truth(!in("body", with_null), row), Truth::unknown);
}

TEST(Evaluate, LikeOfNullIsUnknown) {
  EXPECT_EQ(truth(like("body", "x%"), note("a", text("xy"))), Truth::yes);
  EXPECT_EQ(truth(like("body", "x%"), note("a", text("Xy"))), Truth::no);
  EXPECT_EQ(truth(like("body", "%"), note("a", Value{})), Truth::unknown);
  EXPECT_EQ(truth(!like("body", "%"), note("a", Value{})), Truth::unknown);
}

TEST(Evaluate, NumericsCompareAsNumbers) {
  const Row row = note("a", {}, {}, text("10.00"));
  EXPECT_TRUE(holds(eq("price", Numeric{"10"}), row));
  EXPECT_TRUE(holds(gt("price", Numeric{"9.5"}), row));
  EXPECT_TRUE(holds(eq("price", 10), row));
}

TEST(Evaluate, AllConditionsAndPredicatesMustHold) {
  const Row row = note("a", text("x"), integer(5));
  QuerySpec query = query_of({eq("body", "x")});
  query.conditions = {eq("stars", 5)};
  EXPECT_EQ(ids(query, {row}), "a");
  query.conditions = {eq("stars", 4)};
  EXPECT_EQ(ids(query, {row}), "");
  query = query_of({eq("body", "y")});
  query.conditions = {eq("stars", 5)};
  EXPECT_EQ(ids(query, {row}), "");
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

TableDef books() {
  TableDef table;
  table.name = "books";
  table.key = "id";
  table.columns = {{"id", ColumnType::text, false, {}},
                   {"note_id", ColumnType::text, true, {}},
                   {"twin_id", ColumnType::text, true, {}},
                   {"pages", ColumnType::bigint, true, {}}};
  return table;
}
const TableDef kBooks = books();

const TableRows kLibrary = {{"notes", {note("n1", text("x"), integer(1)), note("n2", text("y"), integer(2))}},
                            {"books",
                             {{text("b1"), text("n1"), text("b2"), integer(10)},
                              {text("b2"), text("n2"), text("b9"), Value{}},
                              {text("b3"), Value{}, text("b1"), integer(30)},
                              {text("b4"), text("n9"), Value{}, integer(40)},
                              {text("b5"), text("n1"), Value{}, integer(50)}}}};

/// Rows as "b1 n1 | b2 null": each value of the given columns.
std::string shown(const QuerySpec& query, std::vector<std::size_t> columns) {
  const auto found = evaluate(query, kLibrary);
  if (!found) return found.error().message;
  std::string all;
  for (const Row& row : *found) {
    if (!all.empty()) all += " | ";
    for (const std::size_t column : columns) {
      if (column != columns.front()) all += " ";
      const Value& value = row[column];
      if (const auto* words = std::get_if<std::string>(&value)) all += *words;
      if (const auto* number = std::get_if<std::int64_t>(&value)) all += std::to_string(*number);
      if (const auto* real = std::get_if<double>(&value)) all += std::to_string(*real).substr(0, 4);
      if (is_null(value)) all += "null";
    }
  }
  return all;
}

TEST(Evaluate, AJoinLeavesOutWhatMeetsNoneAndALeftJoinKeepsIt) {
  QuerySpec query;
  query.table = &kBooks;
  query.joins = {{&kNotes, "note_id"}};
  EXPECT_EQ(shown(query, {0, 4, 5}), "b1 n1 x | b2 n2 y | b5 n1 x");
  query.joins[0].keeps_unmatched = true;
  EXPECT_EQ(shown(query, {0, 4, 5}), "b1 n1 x | b2 n2 y | b3 null null | b4 null null | b5 n1 x");
  query.predicates = {is_null("notes.id")};
  EXPECT_EQ(shown(query, {0}), "b3 | b4");
}

TEST(Evaluate, JoinsAreDoneOneAfterTheOther) {
  QuerySpec query;
  query.table = &kBooks;
  query.joins = {{&kBooks, "twin_id", true, "twin"}, {&kNotes, "twin.note_id", false}};
  EXPECT_EQ(shown(query, {0, 4, 8}), "b1 b2 n2 | b3 b1 n1");
  query.order = {{"twin.pages", Direction::descending}};
  EXPECT_EQ(shown(query, {0}), "b3 | b1");
}

TEST(Evaluate, FoldsAreOfTheGroupsOfWhatPasses) {
  QuerySpec query;
  query.table = &kBooks;
  query.group_by = {"note_id"};
  query.folds = {count().as("n"), sum("pages"), average("pages"), min("pages"), max("id"), count("pages")};
  EXPECT_EQ(shown(query, {0, 1, 2, 3, 4, 5, 6}),
            "null 1 30 30.0 30 b3 1 | n1 2 60 30.0 10 b5 2 | n2 1 null null null b2 0 | n9 1 40 40.0 40 b4 1");
  query.order = {{"n", Direction::descending}};
  query.limit = 2;
  EXPECT_EQ(shown(query, {0}), "n1 | null");
  query.order = {{"sum_pages", Direction::ascending}};
  EXPECT_EQ(shown(query, {0}), "n2 | null");
  query.predicates = {gt("pages", 30)};
  EXPECT_EQ(shown(query, {0, 1}), "n9 1 | n1 1");
}

TEST(Evaluate, AFoldWithoutGroupsIsThereWithoutRowsAndOneWithGroupsIsNot) {
  QuerySpec query;
  query.table = &kBooks;
  query.folds = {count(), sum("pages")};
  query.predicates = {eq("id", "none")};
  EXPECT_EQ(shown(query, {0, 1}), "0 null");
  query.group_by = {"note_id"};
  EXPECT_EQ(shown(query, {0, 1}), "");
}

TEST(Evaluate, GroupsWithoutFoldsAreTheDistinctValues) {
  QuerySpec query;
  query.table = &kBooks;
  query.joins = {{&kNotes, "note_id"}};
  query.group_by = {"body"};
  EXPECT_EQ(shown(query, {0}), "x | y");
}

}  // namespace
}  // namespace nizhal
