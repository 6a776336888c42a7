#include "query/to_sql.hpp"

#include <algorithm>
#include <limits>

#include <gtest/gtest.h>

namespace nizhal {
namespace {

TableDef items() {
  TableDef table;
  table.name = "items";
  table.key = "id";
  table.columns = {{"id", ColumnType::text, false, {}},       {"name", ColumnType::text, true, {}},
                   {"count", ColumnType::integer, false, {}}, {"price", ColumnType::numeric, true, {}},
                   {"at", ColumnType::timestamp, false, {}},  {"done", ColumnType::boolean, false, {}},
                   {"ref", ColumnType::uuid, true, {}},       {"day", ColumnType::date, true, {}},
                   {"weight", ColumnType::real, true, {}},    {"extra", ColumnType::json, true, {}},
                   {"data", ColumnType::blob, true, {}}};
  return table;
}

const TableDef kItems = items();

SqlText query(Dialect dialect, const QuerySpec& spec, std::string_view extra = {}) {
  const auto sql = query_sql(dialect, spec, extra);
  return sql ? *sql : SqlText{"error: " + sql.error().message, {}};
}

QuerySpec spec_of(std::vector<Condition> list = {}, std::vector<Order> order = {}) {
  QuerySpec spec;
  spec.table = &kItems;
  spec.conditions = std::move(list);
  spec.order = std::move(order);
  return spec;
}

/// What stands between WHERE and ORDER BY.
std::string filter(Dialect dialect, const Predicate& predicate) {
  QuerySpec spec = spec_of();
  spec.predicates = {predicate};
  const std::string text = query(dialect, spec).text;
  const auto begin = text.find(" WHERE ");
  return begin == std::string::npos ? text : text.substr(begin + 7, text.find(" ORDER BY ") - begin - 7);
}
std::string conditions(Dialect dialect, const std::vector<Condition>& list) {
  const std::string text = query(dialect, spec_of(list)).text;
  const auto begin = text.find(" WHERE ");
  return begin == std::string::npos ? text : text.substr(begin + 7, text.find(" ORDER BY ") - begin - 7);
}
std::vector<SqlParameter> parameters_of(Dialect dialect, const std::vector<Condition>& list) {
  return query(dialect, spec_of(list)).parameters;
}

/// A table of one column, for texts that fit on a line.
TableDef keys_only() {
  TableDef table;
  table.name = "k";
  table.key = "id";
  table.columns = {{"id", ColumnType::text, false, {}}};
  return table;
}

TEST(ToSql, IdentifiersAndTextAreQuoted) {
  EXPECT_EQ(quote_identifier("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(quote_text("it's"), "'it''s'");
  EXPECT_EQ(column_list(keys_only()), "\"id\"");
  EXPECT_EQ(column_list(items(), "t").substr(0, 16), "t.\"id\", t.\"name\"");
}

TEST(ToSql, NoConditionsAreTrue) {
  EXPECT_EQ(conditions(Dialect::sqlite, {}), "1");
  EXPECT_EQ(conditions(Dialect::postgres, {}), "true");
}

TEST(ToSql, ConditionsAreJoinedAndNumbered) {
  const std::vector<Condition> list = {eq("name", "x"), ge("count", 3), is_null("price"), ne("done", true)};
  EXPECT_EQ(conditions(Dialect::sqlite, list), R"("name" = ?1 AND "count" >= ?2 AND "price" IS NULL AND "done" <> ?3)");
  EXPECT_EQ(conditions(Dialect::postgres, list),
            R"("name" = $1::text AND "count" >= $2::bigint AND "price" IS NULL AND "done" <> $3::boolean)");
}

TEST(ToSql, AComparisonWithNullIsUnknown) {
  EXPECT_EQ(conditions(Dialect::sqlite, {eq("name", std::nullopt)}), "NULL");
  EXPECT_EQ(conditions(Dialect::postgres, {ne("name", std::nullopt)}), "NULL::boolean");
}

TEST(ToSql, PredicatesAreNestedAsTheyWereMade) {
  const Predicate nested = eq("name", "x") && (gt("count", 1) || !is_null("price")) && !(eq("done", true));
  EXPECT_EQ(filter(Dialect::sqlite, nested),
            R"("name" = ?1 AND ("count" > ?2 OR NOT ("price" IS NULL)) AND NOT ("done" = ?3))");
  EXPECT_EQ(filter(Dialect::sqlite, eq("name", "x") || eq("name", "y")), R"("name" = ?1 OR "name" = ?2)");
  EXPECT_EQ(filter(Dialect::sqlite, Predicate(in("count", std::vector<int>{}))), "0");
  EXPECT_EQ(filter(Dialect::postgres, Predicate(in("count", std::vector<int>{}))), "false");
}

TEST(ToSql, SeveralPredicatesAreInParentheses) {
  QuerySpec spec = spec_of({eq("name", "x")});
  spec.predicates = {eq("count", 1) || eq("count", 2)};
  const std::string text = query(Dialect::sqlite, spec, "e OR f").text;
  EXPECT_NE(text.find(R"(WHERE ("name" = ?1 AND ("count" = ?2 OR "count" = ?3)) AND (e OR f) ORDER)"),
            std::string::npos)
      << text;
  spec.conditions = {};
  const std::string alone = query(Dialect::sqlite, spec, "e").text;
  EXPECT_NE(alone.find(R"(WHERE ("count" = ?1 OR "count" = ?2) AND (e) ORDER)"), std::string::npos) << alone;
}

TEST(ToSql, InAndLike) {
  const std::vector<std::optional<std::string>> prices = {"1", std::nullopt, "2"};
  EXPECT_EQ(filter(Dialect::sqlite, in("price", prices)), R"("price" COLLATE nizhal_decimal IN (?1, ?2, NULL))");
  EXPECT_EQ(filter(Dialect::postgres, in("price", prices)), R"("price" IN ($1::numeric, $2::numeric, NULL))");
  EXPECT_EQ(filter(Dialect::sqlite, like("name", "a%")), R"(nizhal_like("name", ?1))");
  EXPECT_EQ(filter(Dialect::postgres, like("name", "a%")), R"("name" COLLATE "C" LIKE $1::text ESCAPE E'\\')");
}

TEST(ToSql, ALongChainIsABalancedTree) {
  Predicate any = eq("count", 0);
  for (int i = 1; i < 3000; ++i) any = std::move(any) || eq("count", i);
  const std::string text = filter(Dialect::sqlite, any);
  std::size_t depth = 0, deepest = 0;
  for (const char character : text) {
    if (character == '(') deepest = std::max(deepest, ++depth);
    if (character == ')') --depth;
  }
  EXPECT_LE(deepest, 8U);
  EXPECT_NE(text.find("?3000"), std::string::npos);
}

TEST(ToSql, NumericsCompareByTheDecimalCollationInSqlite) {
  EXPECT_EQ(conditions(Dialect::sqlite, {lt("price", Numeric{"1.5"})}), R"("price" COLLATE nizhal_decimal < ?1)");
  EXPECT_EQ(conditions(Dialect::postgres, {lt("price", Numeric{"1.5"})}), R"("price" < $1::numeric)");
}

TEST(ToSql, OperandsTakeTheFormOfTheirColumn) {
  const Timestamp far{std::numeric_limits<std::int64_t>::max()};
  const auto parameters = parameters_of(
      Dialect::postgres, {eq("price", 3), eq("price", "1e2"), eq("weight", 2),
                          eq("ref", "ABCDEFAB-0000-0000-0000-000000000000"), le("at", far), eq("count", 1LL << 40)});
  ASSERT_EQ(parameters.size(), 6U);
  EXPECT_EQ(parameters[0].value, Value(std::string("3")));
  EXPECT_EQ(parameters[1].value, Value(std::string("100")));
  EXPECT_EQ(parameters[2].value, Value(2.0));
  EXPECT_EQ(parameters[3].value, Value(std::string("abcdefab-0000-0000-0000-000000000000")));
  EXPECT_EQ(parameters[4].value, Value(parse_iso8601("9999-12-31T23:59:59.999999Z")->microseconds));
  EXPECT_EQ(parameters[5].type, ColumnType::bigint);
}

TEST(ToSql, UnknownColumnsAndWrongOperandsAreNamed) {
  const auto unknown = query_sql(Dialect::sqlite, spec_of({eq("nam", "x")}));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::invalid_args);
  EXPECT_NE(unknown.error().message.find("table items has no column nam"), std::string::npos);
  const auto wrong = [](const Condition& condition) { return conditions(Dialect::sqlite, {condition}); };
  for (const Condition& condition :
       {eq("name", 1), eq("count", "1"), eq("count", 1.5), eq("count", true), eq("done", 1), eq("weight", "1"),
        eq("weight", std::numeric_limits<double>::quiet_NaN()), eq("price", 1.5), eq("price", "x"), eq("at", "2026"),
        eq("ref", "x"), eq("day", "2026-02-30"), eq("day", "2026-2-3"), eq("extra", "{}"), eq("data", "x"),
        eq("name", Blob{{1}})}) {
    const std::string message = wrong(condition);
    EXPECT_NE(message.find("column items." + condition.column + " is "), std::string::npos) << message;
  }
}

TEST(ToSql, AQueryIsOrderedWithTiesByKey) {
  const TableDef table = keys_only();
  QuerySpec spec;
  spec.table = &table;
  EXPECT_EQ(query(Dialect::sqlite, spec).text, R"(SELECT "id" FROM "k" WHERE 1 ORDER BY "id")");
  EXPECT_EQ(query(Dialect::postgres, spec).text, R"(SELECT "id" FROM "k" WHERE true ORDER BY "id" COLLATE "C")");
  spec.order = {{"id", Direction::descending}};
  EXPECT_EQ(query(Dialect::sqlite, spec, "a OR b").text,
            R"(SELECT "id" FROM "k" WHERE (1) AND (a OR b) ORDER BY "id" DESC)");
}

TEST(ToSql, NullsComeFirstInBothDialects) {
  const auto order = [](Dialect dialect) {
    const std::string text = query(dialect, spec_of({}, {{"price", Direction::ascending},
                                                         {"name", Direction::descending},
                                                         {"count", Direction::ascending}}))
                                 .text;
    return text.substr(text.find("ORDER BY"));
  };
  EXPECT_EQ(order(Dialect::sqlite), R"(ORDER BY "price" COLLATE nizhal_decimal, "name" DESC, "count", "id")");
  EXPECT_EQ(order(Dialect::postgres),
            R"(ORDER BY "price" NULLS FIRST, "name" COLLATE "C" DESC NULLS LAST, "count", "id" COLLATE "C")");
}

TEST(ToSql, LimitAndOffsetAreParameters) {
  const auto tail = [](Dialect dialect, std::optional<std::size_t> limit, std::size_t offset) {
    QuerySpec spec = spec_of({eq("name", "x")});
    spec.limit = limit;
    spec.offset = offset;
    const SqlText sql = query(dialect, spec);
    std::string text = sql.text.substr(sql.text.find(" ORDER BY"));
    for (const SqlParameter& parameter : sql.parameters)
      if (const auto* number = std::get_if<std::int64_t>(&parameter.value)) text += " " + std::to_string(*number);
    return text.substr(text.find_first_of("LO", 10));
  };
  EXPECT_EQ(tail(Dialect::sqlite, 5, 0), "LIMIT ?2 5");
  EXPECT_EQ(tail(Dialect::sqlite, 5, 7), "LIMIT ?2 OFFSET ?3 5 7");
  EXPECT_EQ(tail(Dialect::sqlite, std::nullopt, 7), "LIMIT -1 OFFSET ?2 7");
  EXPECT_EQ(tail(Dialect::sqlite, std::numeric_limits<std::size_t>::max(), 0), "LIMIT ?2 9223372036854775807");
}

TEST(ToSql, PostgresIsToldSchemaTypesAndByteOrder) {
  QuerySpec spec = spec_of({gt("name", "x"), eq("name", "y")});
  spec.limit = 3;
  const auto sql = query_sql(Dialect::postgres, spec, {}, "my schema");
  ASSERT_TRUE(sql);
  EXPECT_NE(sql->text.find(R"( FROM "my schema".")"), std::string::npos) << sql->text;
  EXPECT_NE(sql->text.find(R"("name" COLLATE "C" > $1::text AND "name" = $2::text)"), std::string::npos) << sql->text;
  EXPECT_NE(sql->text.find("LIMIT $3::bigint"), std::string::npos) << sql->text;
}

TEST(ToSql, ATextThatPostgresCannotHoldIsNoOperandThere) {
  const std::string text("a\0b", 3);
  for (const Predicate& predicate : {Predicate(eq("name", text)), in("name", {text}), like("name", text)}) {
    QuerySpec spec = spec_of();
    spec.predicates = {predicate};
    const auto refused = query_sql(Dialect::postgres, spec);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_args);
    EXPECT_TRUE(query_sql(Dialect::sqlite, spec));
  }
}

TEST(ToSql, OrderingByWhatHasNoOrderIsRefused) {
  EXPECT_NE(query(Dialect::sqlite, spec_of({}, {{"extra", Direction::ascending}})).text.find("has no order"),
            std::string::npos);
  EXPECT_NE(query(Dialect::sqlite, spec_of({}, {{"nothing", Direction::ascending}})).text.find("no column nothing"),
            std::string::npos);
}

TEST(ToSql, LiteralsAreWrittenAsTheDialectStoresThem) {
  const auto sqlite = [](ColumnType type, const Value& value) { return sql_literal(Dialect::sqlite, type, value); };
  const auto postgres = [](ColumnType type, const Value& value) { return sql_literal(Dialect::postgres, type, value); };
  EXPECT_EQ(sqlite(ColumnType::text, Value{}), "NULL");
  EXPECT_EQ(sqlite(ColumnType::boolean, true), "1");
  EXPECT_EQ(postgres(ColumnType::boolean, false), "false");
  EXPECT_EQ(sqlite(ColumnType::bigint, std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(sqlite(ColumnType::timestamp, std::int64_t{0}), "'1970-01-01T00:00:00.000000Z'");
  EXPECT_EQ(sqlite(ColumnType::real, 1.0), "1.0");
  EXPECT_EQ(sqlite(ColumnType::real, std::int64_t{2}), "2.0");
  EXPECT_EQ(sqlite(ColumnType::real, 1e300), "1e+300");
  EXPECT_EQ(sqlite(ColumnType::real, -std::numeric_limits<double>::infinity()), "-9e999");
  EXPECT_EQ(postgres(ColumnType::real, std::numeric_limits<double>::infinity()), "'Infinity'::float8");
  EXPECT_EQ(sqlite(ColumnType::numeric, std::int64_t{5}), "'5'");
  EXPECT_EQ(sqlite(ColumnType::text, std::string("it's")), "'it''s'");
  EXPECT_EQ(sqlite(ColumnType::blob, Blob{{0, 255}}), "X'00ff'");
  EXPECT_EQ(postgres(ColumnType::blob, Blob{{0, 255}}), "'\\x00ff'::bytea");
}

TEST(ToSql, TheYear0000IsTheOneBeforeTheFirstToPostgres) {
  EXPECT_EQ(postgres_time_text("0000-02-29"), "0001-02-29 BC");
  EXPECT_EQ(postgres_time_text("0000-01-01T00:00:00.000000Z"), "0001-01-01T00:00:00.000000Z BC");
  EXPECT_EQ(postgres_time_text("2026-01-02"), "2026-01-02");
}

TEST(ToSql, AQueryWithoutATableIsABugThatIsReported) {
  EXPECT_EQ(query_sql(Dialect::sqlite, QuerySpec{}).error().code, ErrorCode::internal);
}

TableDef owners() {
  TableDef table;
  table.name = "o";
  table.key = "id";
  table.columns = {{"id", ColumnType::text, false, {}}, {"rank", ColumnType::bigint, true, {}}};
  return table;
}
const TableDef kOwners = owners();

TEST(ToSql, JoinedTablesAreNumbered) {
  const TableDef keys = keys_only();
  QuerySpec spec;
  spec.table = &keys;
  spec.joins = {{&kOwners, "k.id"}, {&keys, "o.id", true, "again"}};
  spec.order = {{"rank", Direction::descending}};
  EXPECT_EQ(query(Dialect::sqlite, spec).text,
            R"(SELECT t0."id", t1."id", t1."rank", t2."id" FROM "k" AS t0 JOIN "o" AS t1 ON t1."id" = t0."id")"
            R"( LEFT JOIN "k" AS t2 ON t2."id" = t1."id" WHERE 1 ORDER BY t1."rank" DESC, t0."id")");
}

TEST(ToSql, FoldsAreMadeBeforeTheyAreOrderedAndCut) {
  QuerySpec spec = spec_of({eq("done", true)}, {{"n", Direction::descending}});
  spec.group_by = {"price", "day"};
  spec.folds = {count().as("n"), sum("count"), min("price")};
  spec.limit = 2;
  EXPECT_EQ(query(Dialect::sqlite, spec).text,
            R"(SELECT c0, c1, c2, c3, c4 FROM (SELECT nizhal_shortest_decimal("price") AS c0, "day" AS c1, )"
            R"(count(*) AS c2, nizhal_sum("count", 2, 'sum of items.count') AS c3, )"
            R"(nizhal_shortest_decimal(min("price" COLLATE nizhal_decimal)) AS c4 FROM "items" WHERE "done" = ?1 )"
            R"(GROUP BY "price" COLLATE nizhal_decimal, "day") )"
            R"(ORDER BY c2 DESC, c0 COLLATE nizhal_decimal, c1 LIMIT ?2)");
}

TEST(ToSql, PostgresIsAskedForRowsOfOneTableOnly) {
  QuerySpec spec = spec_of();
  spec.folds = {count()};
  EXPECT_EQ(query_sql(Dialect::postgres, spec).error().code, ErrorCode::invalid_args);
  spec = spec_of();
  spec.joins = {{&kOwners, "name"}};
  EXPECT_EQ(query_sql(Dialect::postgres, spec).error().code, ErrorCode::invalid_args);
}

}  // namespace
}  // namespace nizhal
