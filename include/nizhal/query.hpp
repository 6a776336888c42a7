// Queries as data: a filter, an order and a limit over one table. Mutators use them through
// MutatorContext::find, apps through Store::query, and rules borrow the conditions.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/value.hpp>

namespace nizhal {

struct TableDef;
template <class T>
class Table;

enum class Comparison { eq, ne, lt, le, gt, ge, is_null, is_not_null };

/// A constant inside a sync rule, where a bare text names a parameter: eq("status", literal("open")).
struct Literal {
  Value value;
};
template <class T>
Literal literal(const T& value) {
  return Literal{to_value(value)};
}

/// `column comparison operand`. A comparison with null is never true, as in SQL; use is_null.
struct Condition {
  std::string column;
  Comparison comparison = Comparison::eq;
  Value operand;
  bool is_literal = false;  // only rules care: see Literal
};

namespace detail {
template <class T>
Condition make_condition(std::string column, Comparison comparison, const T& operand) {
  if constexpr (std::is_same_v<T, Literal>) {
    return Condition{std::move(column), comparison, operand.value, true};
  } else {
    Value value = to_value(operand);
    const bool names_nothing = !std::holds_alternative<std::string>(value);
    return Condition{std::move(column), comparison, std::move(value), names_nothing};
  }
}
}  // namespace detail

template <class T>
Condition eq(std::string column, const T& operand) {
  return detail::make_condition(std::move(column), Comparison::eq, operand);
}
template <class T>
Condition ne(std::string column, const T& operand) {
  return detail::make_condition(std::move(column), Comparison::ne, operand);
}
template <class T>
Condition lt(std::string column, const T& operand) {
  return detail::make_condition(std::move(column), Comparison::lt, operand);
}
template <class T>
Condition le(std::string column, const T& operand) {
  return detail::make_condition(std::move(column), Comparison::le, operand);
}
template <class T>
Condition gt(std::string column, const T& operand) {
  return detail::make_condition(std::move(column), Comparison::gt, operand);
}
template <class T>
Condition ge(std::string column, const T& operand) {
  return detail::make_condition(std::move(column), Comparison::ge, operand);
}
inline Condition is_null(std::string column) {
  return Condition{std::move(column), Comparison::is_null, Value{}, true};
}
/// For literals, which would otherwise also fit is_null(const Value&).
inline Condition is_null(const char* column) { return is_null(std::string(column)); }
inline Condition is_not_null(std::string column) {
  return Condition{std::move(column), Comparison::is_not_null, Value{}, true};
}

enum class Direction { ascending, descending };

struct Order {
  std::string column;
  Direction direction = Direction::ascending;
};

/// A query without its C++ row type: all conditions hold (and), rows in `order`, ties by primary key.
struct QuerySpec {
  const TableDef* table = nullptr;
  std::vector<Condition> conditions;
  std::vector<Order> order;
  std::optional<std::size_t> limit;
  std::size_t offset = 0;
};

/// `from(entries).where(eq("customer_id", id)).order_by("created_at").limit(50)`
template <class T>
class Query {
 public:
  explicit Query(const Table<T>& table);

  Query& where(Condition condition) & {
    spec_.conditions.push_back(std::move(condition));
    return *this;
  }
  Query&& where(Condition condition) && { return std::move(where(std::move(condition))); }
  Query& order_by(std::string column, Direction direction = Direction::ascending) & {
    spec_.order.push_back({std::move(column), direction});
    return *this;
  }
  Query&& order_by(std::string column, Direction direction = Direction::ascending) && {
    return std::move(order_by(std::move(column), direction));
  }
  Query& limit(std::size_t rows) & {
    spec_.limit = rows;
    return *this;
  }
  Query&& limit(std::size_t rows) && { return std::move(limit(rows)); }
  Query& offset(std::size_t rows) & {
    spec_.offset = rows;
    return *this;
  }
  Query&& offset(std::size_t rows) && { return std::move(offset(rows)); }

  const QuerySpec& spec() const { return spec_; }
  const Table<T>& table() const { return table_; }

 private:
  Table<T> table_;  // a cheap handle; keeps the definition alive
  QuerySpec spec_;
};

}  // namespace nizhal
