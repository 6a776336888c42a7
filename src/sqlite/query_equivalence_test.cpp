// The one check that SQL and memory give the same rows: random tables' worth of rows, random queries, both ways.
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/environment.hpp"
#include "base/ids.hpp"
#include "base/test_seed.hpp"
#include "query/evaluate.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::sqlite {
namespace {

TableDef every_type(ColumnType key_type) {
  TableDef table;
  table.name = "odd \"name\"";
  table.key = "id";
  table.columns = {{"id", key_type, false, {}},
                   {"text", ColumnType::text, true, {}},
                   {"uuid", ColumnType::uuid, true, {}},
                   {"integer", ColumnType::integer, true, {}},
                   {"real", ColumnType::real, true, {}},
                   {"boolean", ColumnType::boolean, true, {}},
                   {"bigint", ColumnType::bigint, true, {}},
                   {"numeric", ColumnType::numeric, true, {}},
                   {"timestamp", ColumnType::timestamp, true, {}},
                   {"date", ColumnType::date, true, {}},
                   {"json", ColumnType::json, true, {}},
                   {"blob", ColumnType::blob, true, {}}};
  return table;
}

/// Values from a small pool per type, so that equal values and edges are common.
Value random_value(Random& random, ColumnType type) {
  const auto one_of = [&](const auto& pool) { return pool[random.below(std::size(pool))]; };
  switch (type) {
    case ColumnType::text: {
      static const std::string kPool[] = {"",  "a", "A",  "b", "aa", "ab", "é",          "ä",
                                          "z", "Z", "10", "9", " ",  "_",  "\U0001F600", "a\tb"};
      return one_of(kPool);
    }
    case ColumnType::uuid: {
      SeededRandom few(random.below(6));
      return random_uuid(few);
    }
    case ColumnType::integer: {
      constexpr std::int64_t kPool[] = {0, 1, -1, 2, 10, 2147483647, -2147483648};
      return one_of(kPool);
    }
    case ColumnType::bigint: {
      constexpr std::int64_t kPool[] = {0,
                                        1,
                                        -1,
                                        9007199254740992,
                                        9007199254740993,
                                        std::numeric_limits<std::int64_t>::max(),
                                        std::numeric_limits<std::int64_t>::min()};
      return one_of(kPool);
    }
    case ColumnType::real: {
      constexpr double kPool[] = {0.0, -0.0, 1.0, 1.5, -1.5, 0.1, 1e300, -1e300, 5e-324, 9007199254740992.0};
      return one_of(kPool);
    }
    case ColumnType::boolean:
      return random.below(2) == 1;
    case ColumnType::numeric: {
      static const std::string kPool[] = {"0",
                                          "0.00",
                                          "1",
                                          "1.0",
                                          "1.50",
                                          "-1",
                                          "-1.5",
                                          "10",
                                          "9.99",
                                          "2",
                                          "-0.01",
                                          "123456789012345678901234567890.5",
                                          "123456789012345678901234567890.49"};
      return one_of(kPool);
    }
    case ColumnType::timestamp: {
      constexpr std::int64_t kPool[] = {0, 1, -1, 1'700'000'000'000'000, 1'700'000'000'000'001, -62167219200000000};
      return one_of(kPool);
    }
    case ColumnType::date: {
      static const std::string kPool[] = {"0000-01-01", "1969-12-31", "2024-02-29", "2024-03-01", "9999-12-31"};
      return one_of(kPool);
    }
    case ColumnType::json: {
      static const std::string kPool[] = {"{}", "[1,2]", "null", "\"x\""};
      return one_of(kPool);
    }
    default: {
      Blob blob;
      blob.bytes.resize(random.below(3));
      for (auto& byte : blob.bytes) byte = static_cast<std::uint8_t>(random.below(2) * 255);
      return blob;
    }
  }
}

const ColumnDef& random_column(Random& random, const TableDef& table) {
  return table.columns[random.below(table.columns.size())];
}

QuerySpec random_query(Random& random, const TableDef& table) {
  QuerySpec query;
  query.table = &table;
  for (std::uint64_t n = random.below(4); n > 0; --n) {
    const ColumnDef& column = random_column(random, table);
    Condition condition;
    condition.column = column.name;
    condition.comparison = static_cast<Comparison>(random.below(8));
    if (column.type == ColumnType::json && condition.comparison < Comparison::is_null)
      condition.comparison = Comparison::is_not_null;
    if (random.below(12) != 0) condition.operand = random_value(random, column.type);
    // Integers stand for numbers of the other kinds too.
    if ((column.type == ColumnType::real || column.type == ColumnType::numeric) && random.below(3) == 0)
      condition.operand = static_cast<std::int64_t>(random.below(3));
    query.conditions.push_back(std::move(condition));
  }
  for (std::uint64_t n = random.below(4); n > 0; --n) {
    const ColumnDef& column = random_column(random, table);
    if (column.type == ColumnType::json) continue;
    query.order.push_back({column.name, random.below(2) ? Direction::descending : Direction::ascending});
  }
  if (random.below(2)) query.limit = random.below(12);
  if (random.below(3) == 0) query.offset = random.below(12);
  return query;
}

std::string describe(const Row& row) {
  std::string text;
  for (const Value& value : row) text += sql_literal(Dialect::sqlite, ColumnType::text, value) + " ";
  return text;
}

void expect_same_rows(const TableDef& table, const std::vector<Row>& sql, const std::vector<Row>& memory) {
  ASSERT_EQ(sql.size(), memory.size());
  for (std::size_t r = 0; r < sql.size(); ++r)
    for (std::size_t c = 0; c < table.columns.size(); ++c)
      ASSERT_TRUE(compare_values(sql[r][c], memory[r][c]) == 0)
          << table.columns[c].name << " of row " << r << "\n  SQL    " << describe(sql[r]) << "\n  memory "
          << describe(memory[r]);
}

TEST(QueryEquivalence, SqlGivesWhatMemoryGives) {
  SeededRandom random(test_seed());
  for (int round = 0; round < 30; ++round) {
    constexpr ColumnType kKeys[] = {ColumnType::text, ColumnType::uuid, ColumnType::integer, ColumnType::bigint};
    const TableDef table = every_type(kKeys[random.below(std::size(kKeys))]);
    auto connection = Connection::open(":memory:", {});
    ASSERT_TRUE(connection) << connection.error().message;
    ASSERT_TRUE((*connection)->execute(table_ddl(table)));

    std::vector<Row> rows;
    for (std::uint64_t n = random.below(60); n > 0; --n) {
      Row row;
      for (const ColumnDef& column : table.columns)
        row.push_back(column.nullable && random.below(4) == 0 ? Value{} : random_value(random, column.type));
      if (table.columns[0].type == ColumnType::uuid) row[0] = random_uuid(random);
      const auto inserted = insert_row(**connection, table, row);
      ASSERT_TRUE(inserted) << inserted.error().message;
      if (*inserted) rows.push_back(std::move(row));
    }

    for (int i = 0; i < 200; ++i) {
      const QuerySpec query = random_query(random, table);
      const auto selected = select_rows(**connection, query);
      ASSERT_TRUE(selected) << selected.error().message;
      SCOPED_TRACE(query_sql(Dialect::sqlite, query)->text);
      expect_same_rows(table, *selected, evaluate(query, rows));
      if (HasFatalFailure()) return;
    }
  }
}

TEST(QueryEquivalence, AnOperandThatMemoryNeverMatchesIsRefusedBySql) {
  SeededRandom random(test_seed());
  const TableDef table = every_type(ColumnType::text);
  auto connection = Connection::open(":memory:", {});
  ASSERT_TRUE(connection);
  ASSERT_TRUE((*connection)->execute(table_ddl(table)));
  for (int i = 0; i < 3000; ++i) {
    const ColumnDef& column = random_column(random, table);
    const ColumnDef& other = random_column(random, table);
    Condition condition{column.name, static_cast<Comparison>(random.below(6)), random_value(random, other.type), true};
    QuerySpec query;
    query.table = &table;
    query.conditions = {condition};
    if (select_rows(**connection, query)) continue;
    Row row;
    for (const ColumnDef& each : table.columns) row.push_back(random_value(random, each.type));
    EXPECT_FALSE(matches(table, query.conditions, row)) << column.name;
  }
}

}  // namespace
}  // namespace nizhal::sqlite
