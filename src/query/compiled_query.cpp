// Resolving and checking of queries, and what a compiled one says about rows.
#include "query/compiled_query.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/decimal.hpp"
#include "domain/conditions.hpp"
#include "query/like.hpp"
#include "query/operand.hpp"

namespace nizhal {

namespace {

constexpr std::size_t kTablesMax = 32;  // databases join 64 at most
/// Each is a parameter, of which SQLite takes 32,766 and PostgreSQL 65,535, limits and scopes among them.
constexpr std::size_t kOperandsMax = 30'000;
/// SQLite's parser keeps at most 100 things open.
constexpr std::size_t kPredicateDepthMax = 16;

tl::unexpected<Error> wrong(std::string message) { return failure(ErrorCode::invalid_args, std::move(message)); }

const char* fold_name(FoldSpec::Kind kind) {
  switch (kind) {
    case FoldSpec::Kind::count:
      return "count";
    case FoldSpec::Kind::sum:
      return "sum";
    case FoldSpec::Kind::min:
      return "min";
    case FoldSpec::Kind::max:
      return "max";
    case FoldSpec::Kind::average:
      return "average";
  }
  return "fold";
}

class Compiler {
 public:
  explicit Compiler(const QuerySpec& query) : query_(query) {}

  Result<CompiledQuery> run() {
    if (auto done = add_source({query_.table, {}, false}, {}); !done) return tl::unexpected(done.error());
    for (const JoinSpec& join : query_.joins)
      if (auto done = add_join(join); !done) return tl::unexpected(done.error());
    if (auto done = add_filter(); !done) return tl::unexpected(done.error());
    out_.is_folded = !query_.group_by.empty() || !query_.folds.empty();
    name_joined_columns();
    if (out_.is_folded) {
      for (const std::string& column : query_.group_by)
        if (auto done = add_group(column); !done) return tl::unexpected(done.error());
      for (const FoldSpec& fold : query_.folds)
        if (auto done = add_fold(fold); !done) return tl::unexpected(done.error());
    } else {
      out_.columns = out_.joined_columns;
    }
    for (const Order& order : query_.order)
      if (auto done = add_order(order); !done) return tl::unexpected(done.error());
    settle_ties();
    out_.limit = query_.limit;
    out_.offset = query_.offset;
    return std::move(out_);
  }

 private:
  struct Found {
    std::size_t column = 0;  // of the joined row
    ColumnType type = ColumnType::text;
    std::string name;  // "table.column"
  };

  Result<void> add_source(const JoinSpec& join, std::string name) {
    if (!join.table || join.table->key_index() == TableDef::npos)
      return failure(ErrorCode::internal, "a query was made without a table that has a key");
    CompiledSource source;
    source.table = join.table;
    source.name = name.empty() ? join.table->name : std::move(name);
    source.first_column = out_.joined_columns.size();
    source.keeps_unmatched = join.keeps_unmatched;
    for (const ColumnDef& column : join.table->columns)
      out_.joined_columns.push_back({column.name, column.type, column.nullable || join.keeps_unmatched});
    out_.sources.push_back(std::move(source));
    return {};
  }

  Result<void> add_join(const JoinSpec& join) {
    if (!join.table) return failure(ErrorCode::internal, "a query joins no table");
    const std::string name = join.name.empty() ? join.table->name : join.name;
    if (out_.sources.size() == kTablesMax) return wrong(fmt::format("a query joins {} tables at most", kTablesMax));
    for (const CompiledSource& source : out_.sources)
      if (source.name == name)
        return wrong(
            fmt::format("the join of {} by {}: the query already has a table {}; give this one another name, "
                        "join(table, column, name)",
                        join.table->name, join.column, name));
    const auto column = find(join.column, fmt::format("the join of {}", name));
    if (!column) return tl::unexpected(column.error());
    const std::size_t first_column = out_.joined_columns.size();
    if (auto added = add_source(join, name); !added) return added;
    CompiledSource& source = out_.sources.back();
    const ColumnDef& key = join.table->key_column();
    if (!can_equal(column->type, key.type))
      return wrong(
          fmt::format("the join of {} by {}: the column is {}, the key {}.{} is {}; join by a column that holds "
                      "keys of {}",
                      name, column->name, to_string(column->type), name, key.name, to_string(key.type), name));
    source.first_column = first_column;
    source.join_column = column->column;
    return {};
  }

  static bool can_equal(ColumnType left, ColumnType right) {
    const auto is_integer = [](ColumnType type) { return type == ColumnType::integer || type == ColumnType::bigint; };
    return left == right || (is_integer(left) && is_integer(right));
  }

  /// A column of the joined row by its name alone, or after its table's.
  Result<Found> find(std::string_view name, std::string_view place) const {
    std::vector<Found> all;
    for (const CompiledSource& source : out_.sources)
      for (std::size_t i = 0; i < source.table->columns.size(); ++i) {
        const ColumnDef& column = source.table->columns[i];
        std::string full = fmt::format("{}.{}", source.name, column.name);
        if (column.name == name || full == name) all.push_back({source.first_column + i, column.type, std::move(full)});
      }
    if (all.size() == 1) return std::move(all.front());
    if (all.size() > 1) {
      std::string names;
      for (const Found& one : all) names += (names.empty() ? "" : " or ") + one.name;
      return wrong(
          fmt::format("{}: column {} is in more than one of the query's tables: write {}", place, name, names));
    }
    const auto dot = name.find('.');
    for (const CompiledSource& source : out_.sources) {
      const bool is_meant =
          dot == std::string_view::npos ? out_.sources.size() == 1 : name.substr(0, dot) == source.name;
      if (!is_meant) continue;
      std::vector<std::string_view> names;
      for (const ColumnDef& column : source.table->columns) names.push_back(column.name);
      return wrong(fmt::format("{}: table {} has no column {}; it has {}", place, source.name,
                               dot == std::string_view::npos ? name : name.substr(dot + 1), fmt::join(names, ", ")));
    }
    std::vector<std::string_view> names;
    for (const CompiledSource& source : out_.sources) names.push_back(source.name);
    return wrong(
        fmt::format("{}: none of the query's tables ({}) has a column {}", place, fmt::join(names, ", "), name));
  }

  Result<void> add_filter() {
    for (const Condition& condition : query_.conditions) {
      auto part = compile(condition);
      if (!part) return tl::unexpected(part.error());
      out_.filter.parts.push_back(std::move(*part));
    }
    for (const Predicate& predicate : query_.predicates) {
      auto part = compile(predicate, 1);
      if (!part) return tl::unexpected(part.error());
      out_.filter.parts.push_back(std::move(*part));
    }
    return {};
  }

  Result<CompiledPredicate> compile(const Predicate& predicate, std::size_t depth) {
    if (depth > kPredicateDepthMax)
      return wrong(fmt::format("a predicate nests deeper than {} levels: join parts of one kind in one && or || chain",
                               kPredicateDepthMax));
    switch (predicate.kind) {
      case Predicate::Kind::condition:
        return compile(predicate.condition);
      case Predicate::Kind::in:
        return compile_in(predicate);
      case Predicate::Kind::like:
        return compile_like(predicate);
      case Predicate::Kind::all:
      case Predicate::Kind::any:
      case Predicate::Kind::negation:
        break;
    }
    if (predicate.kind == Predicate::Kind::negation && predicate.parts.size() != 1)
      return failure(ErrorCode::internal, "a negation of more or less than one predicate");
    CompiledPredicate out;
    out.kind = predicate.kind;
    for (const Predicate& part : predicate.parts) {
      auto compiled = compile(part, depth + 1);
      if (!compiled) return compiled;
      out.parts.push_back(std::move(*compiled));
    }
    return out;
  }

  Result<CompiledPredicate> on_column(Predicate::Kind kind, std::string_view name) const {
    const auto found = find(name, "a condition");
    if (!found) return tl::unexpected(found.error());
    CompiledPredicate out;
    out.kind = kind;
    out.column = found->column;
    out.type = found->type;
    return out;
  }

  /// "entries.amount"
  std::string full_name(std::size_t column) const {
    const CompiledSource* owner = &out_.sources.front();
    for (const CompiledSource& source : out_.sources)
      if (source.first_column <= column) owner = &source;
    return fmt::format("{}.{}", owner->name, owner->table->columns[column - owner->first_column].name);
  }

  Result<void> add_operand(CompiledPredicate& out, const Value& value) {
    if (++operands_ > kOperandsMax)
      return wrong(fmt::format("column {}: the query compares with more than {} values; ask in parts",
                               full_name(out.column), kOperandsMax));
    if (!is_comparable(out.type))
      return wrong(fmt::format("column {} is {}, which can only be tested with is_null and is_not_null",
                               full_name(out.column), to_string(out.type)));
    auto operand = comparable_operand(out.type, value);
    if (!operand)
      return wrong(fmt::format("column {} is {}: it cannot be compared with that operand", full_name(out.column),
                               to_string(out.type)));
    if (is_null(*operand)) {
      out.has_null_operand = true;
    } else {
      out.operands.push_back(std::move(*operand));
    }
    return {};
  }

  Result<CompiledPredicate> compile(const Condition& condition) {
    auto out = on_column(Predicate::Kind::condition, condition.column);
    if (!out) return out;
    out->comparison = condition.comparison;
    if (condition.comparison == Comparison::is_null || condition.comparison == Comparison::is_not_null) return out;
    if (auto added = add_operand(*out, condition.operand); !added) return tl::unexpected(added.error());
    return out;
  }

  Result<CompiledPredicate> compile_in(const Predicate& predicate) {
    auto out = on_column(Predicate::Kind::in, predicate.condition.column);
    if (!out) return out;
    if (!is_comparable(out->type)) return tl::unexpected(add_operand(*out, Value{}).error());
    for (const Value& value : predicate.values)
      if (auto added = add_operand(*out, value); !added) return tl::unexpected(added.error());
    return out;
  }

  Result<CompiledPredicate> compile_like(const Predicate& predicate) const {
    auto out = on_column(Predicate::Kind::like, predicate.condition.column);
    if (!out) return out;
    if (out->type != ColumnType::text)
      return wrong(
          fmt::format("column {} is {}: like() is for text columns", full_name(out->column), to_string(out->type)));
    if (!is_like_pattern(predicate.pattern))
      return wrong(
          fmt::format("column {}: the pattern of like() ends with a lone \\, which takes the next character as "
                      "it is; write \\\\ for the character itself",
                      full_name(out->column)));
    out->pattern = predicate.pattern;
    return out;
  }

  /// Where a column's name alone is not unique it gets its table's before it.
  void name_joined_columns() {
    std::vector<std::string> names(out_.joined_columns.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto same = [&](const CompiledColumn& other) { return other.name == out_.joined_columns[i].name; };
      const bool is_unique = std::count_if(out_.joined_columns.begin(), out_.joined_columns.end(), same) == 1;
      names[i] = is_unique ? out_.joined_columns[i].name : full_name(i);
    }
    for (std::size_t i = 0; i < names.size(); ++i) out_.joined_columns[i].name = std::move(names[i]);
  }

  Result<void> add_column(CompiledColumn column) {
    for (const CompiledColumn& other : out_.columns)
      if (other.name == column.name)
        return wrong(
            fmt::format("the folded result has two columns {}: name one of them otherwise with as()", column.name));
    out_.columns.push_back(std::move(column));
    return {};
  }

  Result<void> add_group(const std::string& name) {
    const auto found = find(name, "group_by");
    if (!found) return tl::unexpected(found.error());
    if (!is_comparable(found->type))
      return wrong(
          fmt::format("group_by: column {} is {}, which cannot be grouped", found->name, to_string(found->type)));
    out_.group_by.push_back(found->column);
    return add_column({name, found->type, out_.joined_columns[found->column].nullable});
  }

  Result<void> add_fold(const FoldSpec& spec) {
    CompiledFold fold;
    fold.kind = spec.kind;
    fold.subject = fold_name(spec.kind);
    if (!spec.column.empty() || spec.kind != FoldSpec::Kind::count) {
      const auto found = find(spec.column, fold.subject);
      if (!found) return tl::unexpected(found.error());
      fold.column = found->column;
      fold.type = found->type;
      fold.subject += " of " + found->name;
    }
    const auto result = result_type(fold);
    if (!result) return tl::unexpected(result.error());
    fold.result_type = *result;
    fold.name = spec.name.empty() ? fold.subject : spec.name;
    if (auto added = add_column({fold.name, fold.result_type, fold.kind != FoldSpec::Kind::count}); !added)
      return added;
    out_.folds.push_back(std::move(fold));
    return {};
  }

  static Result<ColumnType> result_type(const CompiledFold& fold) {
    const auto refused = [&](std::string_view fix) {
      return wrong(fmt::format("{}: the column is {}; {}", fold.subject, to_string(fold.type), fix));
    };
    const bool is_integer = fold.type == ColumnType::integer || fold.type == ColumnType::bigint;
    switch (fold.kind) {
      case FoldSpec::Kind::count:
        return ColumnType::bigint;
      case FoldSpec::Kind::sum:
        if (is_integer) return ColumnType::bigint;
        if (fold.type == ColumnType::real || fold.type == ColumnType::numeric) return fold.type;
        return refused("only numbers have a sum");
      case FoldSpec::Kind::average:
        if (is_integer || fold.type == ColumnType::real) return ColumnType::real;
        if (fold.type == ColumnType::numeric)
          return refused("an average of those is not exact: fold sum and count, and divide as you round");
        return refused("only numbers have an average");
      case FoldSpec::Kind::min:
      case FoldSpec::Kind::max:
        if (is_comparable(fold.type)) return fold.type;
        return refused("it has no order, so no least and no greatest value");
    }
    return refused("no such fold");
  }

  Result<void> add_order(const Order& order) {
    auto column = result_column(order.column);
    if (!column) return tl::unexpected(column.error());
    const CompiledColumn& definition = out_.columns[*column];
    if (!is_comparable(definition.type))
      return wrong(fmt::format("order_by: column {} is {}, which has no order",
                               out_.is_folded ? definition.name : full_name(*column), to_string(definition.type)));
    out_.order.push_back({*column, definition.type, order.direction == Direction::descending});
    return {};
  }

  Result<std::size_t> result_column(const std::string& name) const {
    if (!out_.is_folded) {
      const auto found = find(name, "order_by");
      if (!found) return tl::unexpected(found.error());
      return found->column;
    }
    for (std::size_t i = 0; i < out_.columns.size(); ++i)
      if (out_.columns[i].name == name) return i;
    // "customer_id" and "entries.customer_id" may name one column of the group.
    if (const auto found = find(name, "order_by")) {
      const auto group = std::find(out_.group_by.begin(), out_.group_by.end(), found->column);
      if (group != out_.group_by.end()) return static_cast<std::size_t>(group - out_.group_by.begin());
    }
    std::vector<std::string_view> names;
    for (const CompiledColumn& column : out_.columns) names.push_back(column.name);
    return wrong(
        fmt::format("order_by: {} is not in the folded result, which has {}; order by one of these, or group "
                    "by it too",
                    name, fmt::join(names, ", ")));
  }

  void settle_ties() {
    const auto add = [&](std::size_t column) {
      for (const CompiledOrder& order : out_.order)
        if (order.column == column) return;
      out_.order.push_back({column, out_.columns[column].type, false});
    };
    if (!out_.is_folded) return add(out_.key_column());
    for (std::size_t i = 0; i < out_.group_by.size(); ++i) add(i);
  }

  const QuerySpec& query_;
  CompiledQuery out_;
  std::size_t operands_ = 0;
};

Truth truth_of(bool holds) { return holds ? Truth::yes : Truth::no; }

Truth judge_in(const CompiledPredicate& predicate, const Value& value) {
  if (predicate.operands.empty() && !predicate.has_null_operand) return Truth::no;
  if (is_null(value)) return Truth::unknown;
  for (const Value& operand : predicate.operands)
    if (compare_values(value, operand, predicate.type) == 0) return Truth::yes;
  return predicate.has_null_operand ? Truth::unknown : Truth::no;
}

Truth judge_condition(const CompiledPredicate& predicate, const Value& value) {
  if (predicate.comparison == Comparison::is_null) return truth_of(is_null(value));
  if (predicate.comparison == Comparison::is_not_null) return truth_of(!is_null(value));
  if (predicate.operands.empty() || is_null(value)) return Truth::unknown;
  return truth_of(
      ordering_holds(predicate.comparison, compare_values(value, predicate.operands.front(), predicate.type)));
}

Truth judge_like(const CompiledPredicate& predicate, const Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text ? truth_of(is_like(*text, predicate.pattern)) : Truth::unknown;
}

bool is_same(const TableDef& left, const TableDef& right) {
  return left.key == right.key &&
         std::equal(left.columns.begin(), left.columns.end(), right.columns.begin(), right.columns.end(),
                    [](const ColumnDef& a, const ColumnDef& b) { return a.name == b.name && a.type == b.type; });
}

}  // namespace

Result<CompiledQuery> compile_query(const QuerySpec& query) { return Compiler(query).run(); }

Result<QuerySpec> with_tables(const QuerySpec& query,
                              const std::function<const TableDef*(std::string_view name)>& find) {
  QuerySpec own = query;
  const auto resolve = [&](const TableDef*& table) -> Result<void> {
    if (!table) return failure(ErrorCode::usage, "a query without a table");
    const TableDef* found = find(table->name);
    if (!found)
      return failure(ErrorCode::not_found, fmt::format("the domain has no table \"{}\": add() it", table->name));
    if (found != table && !is_same(*table, *found))
      return failure(ErrorCode::usage,
                     fmt::format("table \"{}\" is declared with other columns in the domain than in this query: use "
                                 "one declaration for both",
                                 table->name));
    table = found;
    return {};
  };
  if (auto done = resolve(own.table); !done) return tl::unexpected(done.error());
  for (JoinSpec& join : own.joins)
    if (auto done = resolve(join.table); !done) return tl::unexpected(done.error());
  return own;
}

Truth judge(const CompiledPredicate& predicate, const Row& joined_row) {
  switch (predicate.kind) {
    case Predicate::Kind::condition:
      return judge_condition(predicate, joined_row[predicate.column]);
    case Predicate::Kind::in:
      return judge_in(predicate, joined_row[predicate.column]);
    case Predicate::Kind::like:
      return judge_like(predicate, joined_row[predicate.column]);
    case Predicate::Kind::all: {
      Truth truth = Truth::yes;
      for (const CompiledPredicate& part : predicate.parts) {
        truth = std::min(truth, judge(part, joined_row));
        if (truth == Truth::no) break;
      }
      return truth;
    }
    case Predicate::Kind::any: {
      Truth truth = Truth::no;
      for (const CompiledPredicate& part : predicate.parts) {
        truth = std::max(truth, judge(part, joined_row));
        if (truth == Truth::yes) break;
      }
      return truth;
    }
    case Predicate::Kind::negation: {
      const Truth truth = judge(predicate.parts.front(), joined_row);
      return truth == Truth::unknown ? Truth::unknown : truth_of(truth == Truth::no);
    }
  }
  return Truth::unknown;
}

bool passes(const CompiledQuery& query, const Row& joined_row) { return judge(query.filter, joined_row) == Truth::yes; }

std::strong_ordering compare_results(const CompiledQuery& query, const Row& left, const Row& right) {
  for (const CompiledOrder& order : query.order) {
    const auto ordering = compare_values(left[order.column], right[order.column], order.type);
    if (ordering != 0) return order.descending ? 0 <=> ordering : ordering;
  }
  return std::strong_ordering::equal;
}

Value group_value(ColumnType type, const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value); text && type == ColumnType::numeric)
    return shortest_decimal(*text);
  if (const auto* number = std::get_if<double>(&value); number && *number == 0) return 0.0;
  return value;
}

Row group_of(const CompiledQuery& query, const Row& joined_row) {
  Row group;
  group.reserve(query.group_by.size());
  for (const std::size_t column : query.group_by)
    group.push_back(group_value(query.joined_columns[column].type, joined_row[column]));
  return group;
}

Window window_of(const CompiledQuery& query, std::size_t count) {
  Window window;
  window.begin = std::min(query.offset, count);
  window.end = query.limit ? window.begin + std::min(*query.limit, count - window.begin) : count;
  return window;
}

}  // namespace nizhal
