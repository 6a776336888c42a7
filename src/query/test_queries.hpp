// For tests only: tables with a column of every type, random rows of them, and random queries over them, to hold one
// way of answering queries to another.
#pragma once

#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <nizhal/query.hpp>
#include <nizhal/table.hpp>

#include "base/environment.hpp"
#include "base/ids.hpp"
#include "query/compiled_query.hpp"
#include "query/evaluate.hpp"
#include "query/operand.hpp"
#include "query/to_sql.hpp"

namespace nizhal::test_queries {

inline TableDef every_type(std::string name, ColumnType key_type) {
  TableDef table;
  table.name = std::move(name);
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

inline ColumnType random_key_type(Random& random) {
  constexpr ColumnType kKeys[] = {ColumnType::text, ColumnType::uuid, ColumnType::integer, ColumnType::bigint};
  return kKeys[random.below(std::size(kKeys))];
}

/// Values from a small pool per type, so that equal values and edges are common.
inline Value random_value(Random& random, ColumnType type) {
  const auto one_of = [&](const auto& pool) { return pool[random.below(std::size(pool))]; };
  using Wide = std::numeric_limits<std::int64_t>;
  switch (type) {
    case ColumnType::text: {
      static const std::string kPool[] = {"",  "a", "A",  "b", "aa", "ab", "é",          "ä",    "z",
                                          "Z", "_", "10", "9", " ",  "%",  "\U0001F600", "a\tb", "a\\b"};
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
      constexpr std::int64_t kPool[] = {0,  1,  -1, 9007199254740992,   9007199254740993, Wide::max(), Wide::min(),
                                        10, -7, 3,  4611686018427387904};
      return one_of(kPool);
    }
    case ColumnType::real: {
      constexpr double kPool[] = {0.0, -0.0, 1.0, 1.5, -1.5, 0.1, 1e300, -1e300, 5e-324, 9007199254740992.0};
      return one_of(kPool);
    }
    case ColumnType::boolean:
      return random.below(2) == 1;
    case ColumnType::numeric: {
      static const std::string kPool[] = {"0",    "0.00", "1",  "1.0",   "1.50",
                                          "-1",   "-1.5", "10", "9.99",  "2",
                                          "2.00", "1.5",  "-1", "-0.01", "123456789012345678901234567890.5",
                                          "0.1",  "100",  "99", "10.0",  "123456789012345678901234567890.49"};
      return one_of(kPool);
    }
    case ColumnType::timestamp: {
      constexpr std::int64_t kPool[] = {0, 1, -1, 1'700'000'000'000'000, 1'700'000'000'000'001, -62135596800000000};
      return one_of(kPool);
    }
    case ColumnType::date: {
      static const std::string kPool[] = {"0001-01-01", "1969-12-31", "2024-02-29", "2024-03-01", "9999-12-31"};
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

/// Of unlike keys, for tables made by every_type.
inline std::vector<Row> random_rows(Random& random, const TableDef& table, std::uint64_t at_most) {
  std::vector<Row> rows;
  for (std::uint64_t n = random.below(at_most + 1); n > 0; --n) {
    Row row;
    for (const ColumnDef& column : table.columns)
      row.push_back(column.nullable && random.below(4) == 0 ? Value{} : random_value(random, column.type));
    if (table.columns[0].type == ColumnType::integer && random.below(2) == 0) row[0] = std::int64_t(random.below(99));
    bool is_new = true;
    for (const Row& other : rows) is_new = is_new && compare_values(other[0], row[0]) != 0;
    if (is_new) rows.push_back(std::move(row));
  }
  return rows;
}

/// Makes queries over tables, of which the first is what they are `from` unless another is named. What it makes them of
/// can be overridden: the values, the patterns and the joins.
class RandomQueries {
 public:
  RandomQueries(Random& random, std::vector<const TableDef*> tables) : random_(random), tables_(std::move(tables)) {}
  RandomQueries(Random& random, const std::vector<TableDef>& tables) : random_(random) {
    for (const TableDef& table : tables) tables_.push_back(&table);
  }
  virtual ~RandomQueries() = default;

  struct Shape {
    bool joins = false, folds = false;
    std::uint64_t filters_max = 2;  // conditions, and predicates
    int depth_max = 3;              // of a predicate
  };
  QuerySpec next(Shape shape) { return next(*tables_.front(), shape); }
  QuerySpec next(const TableDef& from, Shape shape) {
    query_ = {};
    query_.table = &from;
    columns_.clear();
    // With joins nearly every name is in more than one table; without, both ways of writing it are tried.
    add_columns(from, shape.joins || chance(2) ? from.name + "." : "");
    if (shape.joins) add_joins();
    for (std::uint64_t n = random_.below(shape.filters_max + 1); n > 0; --n) query_.conditions.push_back(condition());
    for (std::uint64_t n = random_.below(shape.filters_max + 1); n > 0; --n)
      query_.predicates.push_back(predicate(shape.depth_max));
    if (shape.folds) {
      add_folds();
    } else {
      for (std::uint64_t n = random_.below(4); n > 0; --n) add_order(column(), true);
    }
    if (chance(2)) query_.limit = random_.below(12);
    if (chance(3)) query_.offset = random_.below(8);
    return query_;
  }

  bool chance(std::uint64_t of) { return random_.below(of) == 0; }

 protected:
  virtual Value value(ColumnType type) { return random_value(random_, type); }
  virtual std::string pattern() {
    static const std::string kPatterns[] = {"%",   "_",  "a%",   "%b", "",       "__", "_%",   "\\_",
                                            "\\%", "é%", "A%_b", "%a", "a\\\\b", "1_", "%\t%", "\\a%"};
    return kPatterns[random_.below(std::size(kPatterns))];
  }
  virtual void add_joins() {
    for (std::uint64_t n = 1 + random_.below(3); n > 0; --n) {
      const TableDef& table = *tables_[random_.below(tables_.size())];
      std::vector<const Column*> fit;
      for (const Column& column : columns_)
        if (column.type == table.columns[0].type) fit.push_back(&column);
      if (fit.empty()) continue;
      add_join({&table, fit[random_.below(fit.size())]->name, chance(2), "j" + std::to_string(query_.joins.size())});
    }
  }
  const TableDef& from_table() const { return *query_.table; }
  void add_join(JoinSpec join) {
    add_columns(*join.table, (join.name.empty() ? join.table->name : join.name) + ".");
    query_.joins.push_back(std::move(join));
  }

  Random& random_;

 private:
  struct Column {
    std::string name;
    ColumnType type;
  };

  void add_columns(const TableDef& table, const std::string& prefix) {
    for (const ColumnDef& column : table.columns) columns_.push_back({prefix + column.name, column.type});
  }

  const Column& column() { return columns_[random_.below(columns_.size())]; }

  Value operand(ColumnType type) {
    if (random_.below(12) == 0) return {};
    // Integers stand for numbers of the other kinds too.
    if ((type == ColumnType::real || type == ColumnType::numeric) && random_.below(3) == 0)
      return static_cast<std::int64_t>(random_.below(3));
    return value(type);
  }
  Condition condition() {
    const Column& on = column();
    Condition condition;
    condition.column = on.name;
    condition.comparison = static_cast<Comparison>(random_.below(8));
    if (!is_comparable(on.type) && condition.comparison < Comparison::is_null)
      condition.comparison = Comparison::is_not_null;
    condition.operand = operand(on.type);
    return condition;
  }
  Predicate predicate(int depth_max) {
    switch (random_.below(depth_max > 0 ? 6 : 3)) {
      case 0: {
        const Column& on = column();
        if (!is_comparable(on.type)) return condition();
        std::vector<Value> values;
        for (std::uint64_t n = random_.below(5); n > 0; --n) values.push_back(operand(on.type));
        return in(on.name, values);
      }
      case 1: {
        const Column& on = column();
        if (on.type != ColumnType::text) return condition();
        return like(on.name, pattern());
      }
      case 2:
        return condition();
      case 3:
        return !predicate(depth_max - 1);
      default: {
        Predicate chain;
        chain.kind = random_.below(2) ? Predicate::Kind::all : Predicate::Kind::any;
        for (std::uint64_t n = random_.below(5); n > 0; --n) chain.parts.push_back(predicate(depth_max - 1));
        return chain;
      }
    }
  }

  void add_order(const Column& by, bool can_be_any) {
    if (can_be_any && !is_comparable(by.type)) return;
    query_.order.push_back({by.name, random_.below(2) ? Direction::descending : Direction::ascending});
  }
  void add_folds() {
    for (std::uint64_t n = random_.below(3); n > 0; --n) {
      const Column& by = column();
      bool is_new = is_comparable(by.type);
      for (const std::string& other : query_.group_by) is_new = is_new && other != by.name;
      if (is_new) query_.group_by.push_back(by.name);
    }
    std::vector<Column> results;
    for (const std::string& name : query_.group_by) results.push_back({name, ColumnType::text});
    for (std::uint64_t n = random_.below(5); n > 0; --n) {
      const Column& of = column();
      FoldSpec fold = count(of.name);
      const bool is_number = of.type == ColumnType::integer || of.type == ColumnType::bigint ||
                             of.type == ColumnType::real || of.type == ColumnType::numeric;
      switch (random_.below(5)) {
        case 0:
          fold = count();
          break;
        case 1:
          if (is_number) fold = sum(of.name);
          break;
        case 2:
          if (is_number && of.type != ColumnType::numeric) fold = average(of.name);
          break;
        case 3:
          if (is_comparable(of.type)) fold = min(of.name);
          break;
        default:
          if (is_comparable(of.type)) fold = max(of.name);
      }
      query_.folds.push_back(fold.as("f" + std::to_string(query_.folds.size())));
      results.push_back({query_.folds.back().name, of.type});
    }
    if (results.empty()) {
      query_.folds.push_back(count());
      return;
    }
    for (std::uint64_t n = random_.below(3); n > 0; --n) add_order(results[random_.below(results.size())], false);
  }

  std::vector<const TableDef*> tables_;
  std::vector<Column> columns_;
  QuerySpec query_;
};

inline std::string describe(const Row& row) {
  std::string text;
  for (const Value& value : row) text += sql_literal(Dialect::sqlite, ColumnType::text, value) + " ";
  return text;
}

/// Empty when both are the same; else the first difference.
inline std::string difference(const std::vector<Row>& left, const std::vector<Row>& right) {
  if (left.size() != right.size()) return fmt::format("{} rows and {} rows", left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i)
    if (left[i] != right[i]) return fmt::format("row {}:\n  {}\n  {}", i, describe(left[i]), describe(right[i]));
  return {};
}

}  // namespace nizhal::test_queries
