// Queries as data: a filter, an order and a limit over one table, joined to others by their keys, or folded by group.
// Mutators use the plain ones through MutatorContext::find, apps all of them through Store::query and Store::live;
// rules borrow the conditions.
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

/// A tree of conditions, as SQL judges it: with a null in it a comparison is unknown, not(unknown) is unknown, and
/// only what is true lets a row through. Built with `&&`, `||`, `!`, in() and like():
/// `eq("shop_id", id) && (like("name", "A%") || !is_null("vip_since"))`
struct Predicate {
  enum class Kind { condition, in, like, all, any, negation };
  Kind kind = Kind::condition;
  Condition condition;           // condition; of in and like only the column
  std::vector<Value> values;     // in
  std::string pattern;           // like: % any text, _ one character, \ takes the next as it is; case counts
  std::vector<Predicate> parts;  // all and any: any number; negation: one

  Predicate() = default;
  Predicate(Condition single) : condition(std::move(single)) {}  // NOLINT: a condition is the simplest predicate
};

/// Every row of the tables before it meets the row of `table` whose key is in `column` (at most one).
struct JoinSpec {
  const TableDef* table = nullptr;
  std::string column;            // of a table before, "table.column" where the name alone is not unique
  bool keeps_unmatched = false;  // a row that meets none stays, with nulls (left join); else it goes
};

struct FoldSpec {
  enum class Kind { count, sum, min, max, average };
  Kind kind = Kind::count;
  std::string column;  // empty for count: rows are counted, else values that are not null
  std::string name;    // of the column in the result
};

/// A query without its C++ row type: all conditions and predicates hold (and), rows in `order`, ties by the primary
/// keys of the tables in turn. A result row is the rows of `table` and of the joined tables one after the other; with
/// folds it is the values of `group_by`, then the folds, one row per group, ties by the group's values.
/// With joins a column is named "table.column" where its name alone is not unique.
struct QuerySpec {
  const TableDef* table = nullptr;
  std::vector<Condition> conditions;
  std::vector<Predicate> predicates;
  std::vector<Order> order;  // with folds: by columns of the result
  std::optional<std::size_t> limit;
  std::size_t offset = 0;
  std::vector<JoinSpec> joins;
  std::vector<std::string> group_by;  // empty with folds: all rows are one group, which is there even without rows
  std::vector<FoldSpec> folds;
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
