// Queries as data: a filter, an order and a limit over one table, joined to others by their keys, or folded by group.
// Mutators use the plain ones through MutatorContext::find, apps all of them through Store::query and Store::live;
// rules borrow the conditions.
#pragma once

#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
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

/// One of the values; with a null among them, or in the column, it is unknown where no value is equal.
template <class Values>
Predicate in(std::string column, const Values& values) {
  Predicate predicate;
  predicate.kind = Predicate::Kind::in;
  predicate.condition.column = std::move(column);
  for (const auto& value : values) predicate.values.push_back(to_value(value));
  return predicate;
}
template <class T>
Predicate in(std::string column, std::initializer_list<T> values) {
  return in<std::initializer_list<T>>(std::move(column), values);
}
/// Of text columns. `%` any text, `_` one character, `\` takes the next as it is; case counts.
inline Predicate like(std::string column, std::string pattern) {
  Predicate predicate;
  predicate.kind = Predicate::Kind::like;
  predicate.condition.column = std::move(column);
  predicate.pattern = std::move(pattern);
  return predicate;
}

namespace detail {
/// Chains of one kind stay flat, however long they get.
inline Predicate combine(Predicate::Kind kind, Predicate left, Predicate right) {
  Predicate both;
  if (left.kind == kind) {
    both = std::move(left);
  } else {
    both.kind = kind;
    both.parts.push_back(std::move(left));
  }
  if (right.kind == kind) {
    for (Predicate& part : right.parts) both.parts.push_back(std::move(part));
  } else {
    both.parts.push_back(std::move(right));
  }
  return both;
}
}  // namespace detail

inline Predicate operator&&(Predicate left, Predicate right) {
  return detail::combine(Predicate::Kind::all, std::move(left), std::move(right));
}
inline Predicate operator||(Predicate left, Predicate right) {
  return detail::combine(Predicate::Kind::any, std::move(left), std::move(right));
}
inline Predicate operator!(Predicate negated) {
  Predicate predicate;
  predicate.kind = Predicate::Kind::negation;
  predicate.parts.push_back(std::move(negated));
  return predicate;
}

/// Every row of the tables before it meets the row of `table` whose key is in `column` (at most one).
struct JoinSpec {
  const TableDef* table = nullptr;
  std::string column;            // of a table before, "table.column" where the name alone is not unique
  bool keeps_unmatched = false;  // a row that meets none stays, with nulls (left join); else it goes
  std::string name = {};         // in "name.column"; empty: the table's. For a table that is joined twice, or to itself
};

struct FoldSpec {
  enum class Kind { count, sum, min, max, average };
  Kind kind = Kind::count;
  std::string column;  // empty for count: rows are counted, else values that are not null
  std::string name;    // of the column in the result

  FoldSpec as(std::string result_name) const { return {kind, column, std::move(result_name)}; }
};

namespace detail {
inline FoldSpec make_fold(FoldSpec::Kind kind, std::string name, std::string column) {
  const auto dot = column.rfind('.');
  name += dot == std::string::npos ? column : column.substr(dot + 1);
  return {kind, std::move(column), std::move(name)};
}
}  // namespace detail

/// How many rows; in the result "count".
inline FoldSpec count() { return {FoldSpec::Kind::count, {}, "count"}; }
/// How many rows have a value there; "count_amount".
inline FoldSpec count(std::string column) {
  return detail::make_fold(FoldSpec::Kind::count, "count_", std::move(column));
}
/// "sum_amount". Of integers: 64 bits, an error beyond (invalid_args); of reals and numerics: exact, whatever the
/// order of the rows. Null when no row has a value; so are the other three.
inline FoldSpec sum(std::string column) { return detail::make_fold(FoldSpec::Kind::sum, "sum_", std::move(column)); }
/// "min_amount".
inline FoldSpec min(std::string column) { return detail::make_fold(FoldSpec::Kind::min, "min_", std::move(column)); }
/// "max_amount".
inline FoldSpec max(std::string column) { return detail::make_fold(FoldSpec::Kind::max, "max_", std::move(column)); }
/// "average_amount"; a real. Of numerics there is none: divide sum by count as you round.
inline FoldSpec average(std::string column) {
  return detail::make_fold(FoldSpec::Kind::average, "average_", std::move(column));
}

/// A query without its C++ row type: all conditions and predicates hold (and), rows in `order`, ties by the primary
/// keys of the tables in turn. A result row is the rows of `table` and of the joined tables one after the other; with
/// folds it is the values of `group_by`, then the folds, one row per group, ties by the group's values. Groups without
/// folds are the distinct values.
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

/// A row of a folded query: the group's values, then the folds, by name.
/// What a folded column can be read as. Integers are std::int64_t there whatever the folded column is, because a sum of
/// small ones need not be small; reading one as less would cut it off, so that does not compile.
template <class T>
concept FoldValue = !std::same_as<T, std::int32_t> && !std::same_as<T, std::optional<std::int32_t>>;

class FoldRow {
 public:
  using Names = std::vector<std::string>;
  FoldRow(std::shared_ptr<const Names> names, Row values) : names_(std::move(names)), values_(std::move(values)) {}

  /// `row.get<std::int64_t>("balance")`. Null is T's zero or empty value, or nothing as std::optional<T>. T is the type
  /// of the column: of integers always std::int64_t, of averages double, else that of what is folded.
  /// A name that is not there, or another type, stops at an assertion in debug builds and is T's empty value else.
  template <FoldValue T>
  T get(std::string_view name) const {
    T out{};
    const Value* found = find(name);
    assert(found && "the folded result has no column of that name");
    if (!found || nizhal::is_null(*found)) return out;
    [[maybe_unused]] const bool fits = ValueTraits<T>::from_value(*found, out);
    assert(fits && "the column of the folded result is of another type");
    return out;
  }
  bool is_null(std::string_view name) const {
    const Value* found = find(name);
    return !found || nizhal::is_null(*found);
  }
  const Names& names() const { return *names_; }
  const Row& values() const { return values_; }

 private:
  const Value* find(std::string_view name) const {
    for (std::size_t i = 0; i < names_->size() && i < values_.size(); ++i)
      if ((*names_)[i] == name) return &values_[i];
    return nullptr;
  }
  std::shared_ptr<const Names> names_;
  Row values_;
};

/// What Store::query, live and explain take: all of the builders below.
template <class Q>
concept TypedQuery = requires(const Q& query, const Row& row) {
  typename Q::Result;
  { query.spec() } -> std::convertible_to<const QuerySpec&>;
  { query.from_row(row) } -> std::same_as<typename Q::Result>;
};

namespace detail {
/// The steps that every builder has, on an object that is kept (&) and in a chain (&&).
template <class Builder>
class QuerySteps {
 public:
  /// All that are given hold.
  Builder& where(Condition condition) & {
    spec_.conditions.push_back(std::move(condition));
    return self();
  }
  Builder&& where(Condition condition) && { return std::move(where(std::move(condition))); }
  Builder& where(Predicate predicate) & {
    spec_.predicates.push_back(std::move(predicate));
    return self();
  }
  Builder&& where(Predicate predicate) && { return std::move(where(std::move(predicate))); }
  /// The first one given counts most. Null comes before every value, and last when descending.
  Builder& order_by(std::string column, Direction direction = Direction::ascending) & {
    spec_.order.push_back({std::move(column), direction});
    return self();
  }
  Builder&& order_by(std::string column, Direction direction = Direction::ascending) && {
    return std::move(order_by(std::move(column), direction));
  }
  Builder& limit(std::size_t rows) & {
    spec_.limit = rows;
    return self();
  }
  Builder&& limit(std::size_t rows) && { return std::move(limit(rows)); }
  Builder& offset(std::size_t rows) & {
    spec_.offset = rows;
    return self();
  }
  Builder&& offset(std::size_t rows) && { return std::move(offset(rows)); }

  const QuerySpec& spec() const { return spec_; }

 protected:
  QuerySteps() = default;
  explicit QuerySteps(QuerySpec spec) : spec_(std::move(spec)) {}
  QuerySpec spec_;

 private:
  Builder& self() { return static_cast<Builder&>(*this); }
};
}  // namespace detail

/// `from(entries).group_by("customer_id").fold(sum("amount").as("balance")).order_by("balance")`: one FoldRow per
/// group. What comes before it (where, joins) decides which rows are folded; order, limit and offset are of the groups.
class FoldQuery : public detail::QuerySteps<FoldQuery> {
 public:
  using Result = FoldRow;
  FoldQuery(QuerySpec spec, std::vector<std::shared_ptr<const TableDef>> tables)
      : QuerySteps(std::move(spec)), tables_(std::move(tables)) {}

  FoldQuery& group_by(std::string column) & {
    spec_.group_by.push_back(std::move(column));
    take_names();
    return *this;
  }
  FoldQuery&& group_by(std::string column) && { return std::move(group_by(std::move(column))); }
  FoldQuery& fold(FoldSpec fold) & {
    spec_.folds.push_back(std::move(fold));
    take_names();
    return *this;
  }
  FoldQuery&& fold(FoldSpec one) && { return std::move(fold(std::move(one))); }

  FoldRow from_row(const Row& row) const { return FoldRow(names_, row); }

 private:
  void take_names() {
    FoldRow::Names names = spec_.group_by;
    for (const FoldSpec& fold : spec_.folds) names.push_back(fold.name);
    names_ = std::make_shared<const FoldRow::Names>(std::move(names));
  }
  std::vector<std::shared_ptr<const TableDef>> tables_;  // kept alive
  std::shared_ptr<const FoldRow::Names> names_ = std::make_shared<const FoldRow::Names>();
};

namespace detail {
template <class T>
struct JoinedTable {
  using Result = T;
  Table<T> table;
  T from(const Row& row) const { return table.from_row(row); }
};
template <class T>
struct LeftJoinedTable {
  using Result = std::optional<T>;
  Table<T> table;
  Result from(const Row& row) const {
    if (is_null(row[table.def().key_index()])) return std::nullopt;  // it met none
    return table.from_row(row);
  }
};
}  // namespace detail

/// Rows of several tables side by side: std::tuple<Entry, Customer>, with std::optional<Customer> for a left join.
template <class... Parts>
class JoinQuery : public detail::QuerySteps<JoinQuery<Parts...>> {
  using Steps = detail::QuerySteps<JoinQuery<Parts...>>;

 public:
  using Result = std::tuple<typename Parts::Result...>;
  JoinQuery(QuerySpec spec, std::tuple<Parts...> parts) : Steps(std::move(spec)), parts_(std::move(parts)) {}

  /// The row of `table` whose key is in `column`, a column of a table before; rows that meet none go. A table that is
  /// joined twice needs a name: `.join(people, "author_id", "author").join(people, "editor_id", "editor")`.
  template <class U>
  auto join(const Table<U>& table, std::string column, std::string name = {}) const {
    return joined(detail::JoinedTable<U>{table}, {&table.def(), std::move(column), false, std::move(name)});
  }
  /// The same, and rows that meet none stay.
  template <class U>
  auto left_join(const Table<U>& table, std::string column, std::string name = {}) const {
    return joined(detail::LeftJoinedTable<U>{table}, {&table.def(), std::move(column), true, std::move(name)});
  }
  FoldQuery group_by(std::string column) const { return folded().group_by(std::move(column)); }
  FoldQuery fold(FoldSpec fold) const { return folded().fold(std::move(fold)); }

  Result from_row(const Row& row) const {
    std::size_t first = 0;
    const auto next = [&](const auto& part) {
      const std::size_t end = first + part.table.def().columns.size();
      const Row own(row.begin() + static_cast<std::ptrdiff_t>(first), row.begin() + static_cast<std::ptrdiff_t>(end));
      first = end;
      return part.from(own);
    };
    return std::apply([&](const auto&... parts) { return Result{next(parts)...}; }, parts_);  // braces: left to right
  }

 private:
  template <class Part>
  JoinQuery<Parts..., Part> joined(Part part, JoinSpec join) const {
    QuerySpec spec = this->spec_;
    spec.joins.push_back(std::move(join));
    return {std::move(spec), std::tuple_cat(parts_, std::tuple<Part>(std::move(part)))};
  }
  FoldQuery folded() const {
    return {this->spec_, std::apply(
                             [](const auto&... parts) {
                               return std::vector<std::shared_ptr<const TableDef>>{parts.table.shared_def()...};
                             },
                             parts_)};
  }
  std::tuple<Parts...> parts_;
};

/// `from(entries).where(eq("customer_id", id)).order_by("created_at").limit(50)`
template <class T>
class Query : public detail::QuerySteps<Query<T>> {
  using Steps = detail::QuerySteps<Query<T>>;

 public:
  using Result = T;
  explicit Query(const Table<T>& table);

  /// As JoinQuery's: `from(entries).join(customers, "customer_id")` gives std::tuple<Entry, Customer>.
  template <class U>
  auto join(const Table<U>& table, std::string column, std::string name = {}) const {
    return as_join().join(table, std::move(column), std::move(name));
  }
  template <class U>
  auto left_join(const Table<U>& table, std::string column, std::string name = {}) const {
    return as_join().left_join(table, std::move(column), std::move(name));
  }
  /// As FoldQuery's. A fold without group_by is of all rows, and there is always one.
  FoldQuery group_by(std::string column) const { return as_join().group_by(std::move(column)); }
  FoldQuery fold(FoldSpec fold) const { return as_join().fold(std::move(fold)); }

  T from_row(const Row& row) const { return table_.from_row(row); }
  const Table<T>& table() const { return table_; }

 private:
  JoinQuery<detail::JoinedTable<T>> as_join() const { return {this->spec_, {detail::JoinedTable<T>{table_}}}; }
  Table<T> table_;  // a cheap handle; keeps the definition alive
};

}  // namespace nizhal
