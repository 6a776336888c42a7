// What a query may say, and how it is told what is wrong with it.
#include "query/compiled_query.hpp"

#include <gtest/gtest.h>

namespace nizhal {
namespace {

TableDef table_of(std::string name, std::vector<ColumnDef> columns) {
  TableDef table;
  table.name = std::move(name);
  table.key = "id";
  table.columns = std::move(columns);
  return table;
}

const TableDef kEntries = table_of("entries", {{"id", ColumnType::text, false, {}},
                                               {"shop_id", ColumnType::text, false, {}},
                                               {"customer_id", ColumnType::text, false, {}},
                                               {"amount", ColumnType::bigint, false, {}},
                                               {"price", ColumnType::numeric, true, {}},
                                               {"note", ColumnType::json, true, {}},
                                               {"uuid", ColumnType::uuid, true, {}}});
const TableDef kCustomers = table_of("customers", {{"id", ColumnType::text, false, {}},
                                                   {"shop_id", ColumnType::text, false, {}},
                                                   {"name", ColumnType::text, true, {}},
                                                   {"rank", ColumnType::integer, false, {}}});
const TableDef kRanks = table_of("ranks", {{"id", ColumnType::bigint, false, {}}});

QuerySpec entries() {
  QuerySpec query;
  query.table = &kEntries;
  return query;
}
QuerySpec joined() {
  QuerySpec query = entries();
  query.joins = {{&kCustomers, "customer_id"}};
  return query;
}

/// The message, which must have all the parts.
void expect_refused(const QuerySpec& query, std::initializer_list<std::string_view> parts) {
  const auto compiled = compile_query(query);
  ASSERT_FALSE(compiled) << "accepted; expected: " << *parts.begin();
  EXPECT_EQ(compiled.error().code, ErrorCode::invalid_args);
  for (const std::string_view part : parts)
    EXPECT_NE(compiled.error().message.find(part), std::string::npos) << compiled.error().message << "\nlacks " << part;
}
QuerySpec where(QuerySpec query, Predicate predicate) {
  query.predicates.push_back(std::move(predicate));
  return query;
}
QuerySpec folded(QuerySpec query, FoldSpec fold) {
  query.folds.push_back(std::move(fold));
  return query;
}
QuerySpec ordered(QuerySpec query, std::string column) {
  query.order.push_back({std::move(column), Direction::ascending});
  return query;
}

TEST(CompiledQuery, AnUnknownColumnIsNamedWithThoseThatThereAre) {
  expect_refused(where(entries(), eq("amont", 1)), {"table entries has no column amont", "amount", "condition"});
  expect_refused(ordered(entries(), "x"), {"order_by", "table entries has no column x"});
  expect_refused(where(joined(), eq("customers.nam", "x")), {"table customers has no column nam", "name, rank"});
  expect_refused(where(joined(), eq("shops.name", "x")), {"entries, customers", "shops.name"});
  expect_refused(where(joined(), eq("nothing", "x")), {"entries, customers", "nothing"});
}

TEST(CompiledQuery, ANameThatIsNotUniqueIsToBeWrittenWithItsTable) {
  expect_refused(where(joined(), eq("shop_id", "s")), {"entries.shop_id or customers.shop_id"});
  expect_refused(ordered(joined(), "id"), {"order_by", "entries.id or customers.id"});
  EXPECT_TRUE(compile_query(where(joined(), eq("customers.shop_id", "s"))));
  EXPECT_TRUE(compile_query(where(joined(), eq("name", "s"))));
  EXPECT_TRUE(compile_query(where(entries(), eq("entries.shop_id", "s"))));
}

TEST(CompiledQuery, OperandsMustFitTheirColumnWhereverTheyStand) {
  expect_refused(where(entries(), !(eq("id", "x") || eq("amount", "1"))), {"entries.amount is bigint"});
  expect_refused(where(entries(), in("amount", {"1"})), {"entries.amount is bigint"});
  expect_refused(where(entries(), in("note", {"{}"})), {"entries.note is json", "is_null"});
  expect_refused(where(entries(), in("note", std::vector<std::string>{})), {"entries.note is json"});
  expect_refused(where(entries(), like("amount", "1%")), {"entries.amount is bigint", "like() is for text"});
  expect_refused(where(entries(), like("id", "a\\")), {"entries.id", "ends with a lone \\"});
  EXPECT_TRUE(compile_query(where(entries(), is_null("note") && !is_not_null("note"))));
}

TEST(CompiledQuery, WhatNoDatabaseTakesIsRefusedBeforeItIsAsked) {
  expect_refused(
      where(entries(), in("amount", std::vector<int>(20'000, 1)) && in("amount", std::vector<int>(10'001, 1))),
      {"entries.amount", "30000"});
  EXPECT_TRUE(compile_query(where(entries(), in("amount", std::vector<int>(30'000, 1)))));
  Predicate deep = eq("amount", 1);
  for (int i = 0; i < 60; ++i) deep = !std::move(deep);
  expect_refused(where(entries(), deep), {"nests deeper"});
  QuerySpec many = entries();
  for (int i = 0; i < 40; ++i) many.joins.push_back({&kCustomers, "customer_id", false, "c" + std::to_string(i)});
  expect_refused(many, {"joins", "at most"});
}

TEST(CompiledQuery, AJoinIsByAColumnThatCanHoldKeys) {
  QuerySpec query = entries();
  query.joins = {{&kCustomers, "uuid"}};
  expect_refused(query, {"join of customers by entries.uuid", "uuid", "customers.id is text"});
  query.joins = {{&kCustomers, "customer"}};
  expect_refused(query, {"join of customers", "no column customer"});
  query.joins = {{&kCustomers, "customer_id"}, {&kCustomers, "entries.id"}};
  expect_refused(query, {"already has a table customers", "name"});
  query.joins = {{&kCustomers, "customer_id"}, {&kCustomers, "entries.id", false, "second"}};
  EXPECT_TRUE(compile_query(query));
  query.joins = {{&kCustomers, "customer_id"}, {&kRanks, "rank"}};
  EXPECT_TRUE(compile_query(query)) << "integers of both widths are one kind of key";
  query.joins = {{&kCustomers, "customers.id"}};
  expect_refused(query, {"customers.id"});
}

TEST(CompiledQuery, FoldsAreOfWhatHasThem) {
  expect_refused(folded(entries(), sum("id")), {"sum of entries.id", "text", "only numbers"});
  expect_refused(folded(entries(), average("id")), {"average of entries.id", "only numbers"});
  expect_refused(folded(entries(), average("price")), {"average of entries.price", "numeric", "fold sum and count"});
  expect_refused(folded(entries(), max("note")), {"max of entries.note", "json", "no order"});
  expect_refused(folded(entries(), sum("")), {"sum"});
  EXPECT_TRUE(compile_query(folded(entries(), count("note"))));
  QuerySpec query = folded(entries(), count());
  query.group_by = {"note"};
  expect_refused(query, {"group_by", "entries.note", "json"});
  expect_refused(folded(folded(entries(), count()), count("amount").as("count")), {"two columns count", "as()"});
}

TEST(CompiledQuery, AFoldedResultIsOrderedByItsOwnColumns) {
  QuerySpec query = folded(entries(), sum("amount").as("total"));
  query.group_by = {"customer_id"};
  expect_refused(ordered(query, "amount"), {"order_by: amount", "customer_id, total", "group"});
  EXPECT_TRUE(compile_query(ordered(query, "total")));
  EXPECT_TRUE(compile_query(ordered(query, "entries.customer_id")));
  expect_refused(ordered(entries(), "note"), {"entries.note is json", "no order"});
}

TEST(CompiledQuery, ResultColumnsHaveNamesAndTypes) {
  QuerySpec query = joined();
  query.joins[0].keeps_unmatched = true;
  auto compiled = compile_query(query);
  ASSERT_TRUE(compiled);
  ASSERT_EQ(compiled->columns.size(), 11U);
  EXPECT_EQ(compiled->columns[0].name, "entries.id");
  EXPECT_EQ(compiled->columns[3].name, "amount");
  EXPECT_EQ(compiled->columns[7].name, "customers.id");
  EXPECT_TRUE(compiled->columns[7].nullable) << "of a left join";
  EXPECT_EQ(compiled->key_column(), 0U);
  EXPECT_EQ(compiled->sources[1].key_column(), 7U);
  EXPECT_EQ(compiled->sources[1].join_column, 2U);

  query.group_by = {"customers.name", "price"};
  query.folds = {count(), sum("amount"), average("rank"), sum("price"), max("rank")};
  compiled = compile_query(query);
  ASSERT_TRUE(compiled) << compiled.error().message;
  std::string shape;
  for (const CompiledColumn& column : compiled->columns)
    shape += column.name + " " + to_string(column.type) + (column.nullable ? " null; " : "; ");
  EXPECT_EQ(shape,
            "customers.name text null; price numeric null; count bigint; sum_amount bigint null; "
            "average_rank real null; sum_price numeric null; max_rank integer null; ");
}

TEST(CompiledQuery, TheOrderIsTotal) {
  auto compiled = compile_query(ordered(joined(), "name"));
  ASSERT_TRUE(compiled);
  ASSERT_EQ(compiled->order.size(), 2U);
  EXPECT_EQ(compiled->order[1].column, compiled->key_column());
  QuerySpec query = ordered(folded(entries(), count()), "count");
  query.group_by = {"customer_id", "price"};
  compiled = compile_query(query);
  ASSERT_TRUE(compiled);
  ASSERT_EQ(compiled->order.size(), 3U);
  EXPECT_EQ(compiled->order[0].column, 2U);
  EXPECT_EQ(compiled->order[1].column, 0U);
  EXPECT_EQ(compiled->order[2].column, 1U);
  query.order = {{"customer_id", Direction::descending}};
  compiled = compile_query(query);
  ASSERT_TRUE(compiled);
  EXPECT_EQ(compiled->order.size(), 2U) << "not twice";
}

TEST(CompiledQuery, LimitAndOffsetMakeAWindow) {
  QuerySpec query = entries();
  query.offset = 3;
  query.limit = 4;
  const auto compiled = compile_query(query);
  ASSERT_TRUE(compiled);
  EXPECT_EQ(window_of(*compiled, 2).begin, 2U);
  EXPECT_EQ(window_of(*compiled, 2).end, 2U);
  EXPECT_EQ(window_of(*compiled, 5).end, 5U);
  EXPECT_EQ(window_of(*compiled, 9).end, 7U);
}

TEST(CompiledQuery, TablesAreTakenFromWhoHasThem) {
  const TableDef own_entries = kEntries, own_customers = kCustomers;
  const auto find = [&](std::string_view name) -> const TableDef* {
    if (name == "entries") return &own_entries;
    if (name == "customers") return &own_customers;
    return nullptr;
  };
  auto resolved = with_tables(joined(), find);
  ASSERT_TRUE(resolved);
  EXPECT_EQ(resolved->table, &own_entries);
  EXPECT_EQ(resolved->joins[0].table, &own_customers);
  QuerySpec query = entries();
  query.joins = {{&kRanks, "amount"}};
  EXPECT_EQ(with_tables(query, find).error().code, ErrorCode::not_found);
  EXPECT_EQ(with_tables(QuerySpec{}, find).error().code, ErrorCode::usage);
  TableDef other = kCustomers;
  other.columns.pop_back();
  query.joins = {{&other, "customer_id"}};
  EXPECT_EQ(with_tables(query, find).error().code, ErrorCode::usage);
}

}  // namespace
}  // namespace nizhal
