// Queries as SQL. The order and the comparisons must be those of compare_values in both dialects (bytes for text,
// numbers for numerics, null before everything), the logic that of judge, the folds those of Fold.
#include <limits>

#include <fmt/format.h>

#include "query/to_sql.hpp"

namespace nizhal {

namespace {

/// Parameters of 32-bit columns go as 64 bits, so that an operand out of range compares and does not fail.
ColumnType parameter_type(ColumnType type) { return type == ColumnType::integer ? ColumnType::bigint : type; }

std::int64_t row_count(std::size_t count) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return count > kMax ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(count);
}

class Writer {
 public:
  Writer(Dialect dialect, const CompiledQuery& query, std::string_view schema)
      : is_sqlite_(dialect == Dialect::sqlite), query_(query), schema_(schema) {}

  Result<SqlText> run(std::string_view extra) {
    if (!is_sqlite_ && (query_.is_joined() || query_.is_folded))
      return failure(ErrorCode::invalid_args,
                     "joins and folds are for queries on the device; here, find the rows of one table");
    if (query_.is_joined() && !extra.empty())
      return failure(ErrorCode::internal, "a further condition for a query of more than one table");
    auto where = all_sql(query_.filter.parts);
    if (!where) return tl::unexpected(where.error());
    if (!extra.empty()) *where = fmt::format("({}) AND ({})", *where, extra);

    if (query_.is_folded) {
      // The groups are all made before they are ordered and cut, so that a sum that does not fit is always told.
      sql_.text = fmt::format("SELECT {} FROM (SELECT {} FROM {} WHERE {}{})", result_names(), folded_columns(),
                              tables(), *where, group_by());
    } else {
      std::string columns;
      for (std::size_t i = 0; i < query_.joined_columns.size(); ++i) {
        if (i > 0) columns += ", ";
        columns += column(i);
      }
      sql_.text = fmt::format("SELECT {} FROM {} WHERE {}", columns, tables(), *where);
    }
    sql_.text += fmt::format(" ORDER BY {}", order());
    if (query_.limit) {
      add_count("LIMIT", *query_.limit);
    } else if (query_.offset > 0 && is_sqlite_) {
      sql_.text += " LIMIT -1";  // SQLite has no OFFSET without a LIMIT
    }
    if (query_.offset > 0) add_count("OFFSET", query_.offset);
    return std::move(sql_);
  }

 private:
  /// A column of the joined row.
  std::string column(std::size_t index) const {
    std::size_t source = query_.sources.size() - 1;
    while (query_.sources[source].first_column > index) --source;
    const CompiledSource& owner = query_.sources[source];
    const std::string name = quote_identifier(owner.table->columns[index - owner.first_column].name);
    return query_.is_joined() ? fmt::format("t{}.{}", source, name) : name;
  }

  /// An expression as something that sorts like compare_values. SQLite's text is BINARY by default and its numerics,
  /// held as text, need the collation that the connection brings; Postgres sorts text by the database's locale.
  std::string sortable(std::string expression, ColumnType type) const {
    if (is_sqlite_ && type == ColumnType::numeric) expression += fmt::format(" COLLATE {}", kDecimalCollation);
    if (!is_sqlite_ && type == ColumnType::text) expression += " COLLATE \"C\"";
    return expression;
  }

  /// PostgreSQL is told the type, so that the operator and the index do not hang on what it guesses.
  std::string parameter(Value value, ColumnType type) {
    SqlParameter& added = sql_.parameters.emplace_back();
    added.value = std::move(value);
    added.type = parameter_type(type);
    if (is_sqlite_) return fmt::format("?{}", sql_.parameters.size());
    return fmt::format("${}::{}", sql_.parameters.size(), postgres_type(added.type));
  }

  void add_count(std::string_view word, std::size_t count) {
    sql_.text += fmt::format(" {} {}", word, parameter(row_count(count), ColumnType::bigint));
  }

  std::string tables() const {
    std::string text;
    const std::string in_schema = schema_.empty() ? std::string() : quote_identifier(schema_) + ".";
    for (std::size_t i = 0; i < query_.sources.size(); ++i) {
      const CompiledSource& source = query_.sources[i];
      const std::string table = in_schema + quote_identifier(source.table->name);
      if (!query_.is_joined()) return table;
      if (i == 0) {
        text = fmt::format("{} AS t0", table);
      } else {
        text += fmt::format(" {} {} AS t{} ON {} = {}", source.keeps_unmatched ? "LEFT JOIN" : "JOIN", table, i,
                            column(source.key_column()), column(source.join_column));
      }
    }
    return text;
  }

  // The filter

  Result<std::string> predicate_sql(const CompiledPredicate& predicate) {
    switch (predicate.kind) {
      case Predicate::Kind::condition:
        return condition_sql(predicate);
      case Predicate::Kind::in:
        return in_sql(predicate);
      case Predicate::Kind::like:
        return like_sql(predicate);
      case Predicate::Kind::all:
        return all_sql(predicate.parts);
      case Predicate::Kind::any:
        if (predicate.parts.empty()) return constant(false);
        return chain_sql(predicate.parts, 0, predicate.parts.size(), " OR ");
      case Predicate::Kind::negation: {
        auto part = predicate_sql(predicate.parts.front());
        if (!part) return part;
        return fmt::format("NOT ({})", *part);
      }
    }
    return failure(ErrorCode::internal, "a predicate of no kind");
  }

  Result<std::string> all_sql(const std::vector<CompiledPredicate>& parts) {
    if (parts.empty()) return constant(true);
    return chain_sql(parts, 0, parts.size(), " AND ");
  }

  /// As a balanced tree when it is long: databases bound how deep an expression nests, and a chain nests on the left.
  Result<std::string> chain_sql(const std::vector<CompiledPredicate>& parts, std::size_t begin, std::size_t end,
                                std::string_view word) {
    constexpr std::size_t kChainMax = 40;
    if (end - begin > kChainMax) {
      const std::size_t middle = begin + (end - begin) / 2;
      auto left = chain_sql(parts, begin, middle, word);
      if (!left) return left;
      auto right = chain_sql(parts, middle, end, word);
      if (!right) return right;
      return fmt::format("({}){}({})", *left, word, *right);
    }
    std::string chain;
    for (std::size_t i = begin; i < end; ++i) {
      auto part = predicate_sql(parts[i]);
      if (!part) return part;
      const bool is_chain = parts[i].kind == Predicate::Kind::all || parts[i].kind == Predicate::Kind::any;
      if (i > begin) chain += word;
      chain += is_chain && end - begin > 1 ? fmt::format("({})", *part) : *part;
    }
    return chain;
  }

  std::string constant(bool holds) const {
    if (is_sqlite_) return holds ? "1" : "0";
    return holds ? "true" : "false";
  }
  std::string unknown() const { return is_sqlite_ ? "NULL" : "NULL::boolean"; }

  Result<void> check_text(const CompiledPredicate& predicate, std::string_view text) const {
    if (is_sqlite_ || text.find('\0') == std::string_view::npos) return {};
    return failure(ErrorCode::invalid_args,
                   fmt::format("column {} cannot be compared with a text that has a NUL", column(predicate.column)));
  }

  Result<std::string> operand_sql(const CompiledPredicate& predicate, const Value& operand) {
    if (const auto* text = std::get_if<std::string>(&operand))
      if (auto checked = check_text(predicate, *text); !checked) return tl::unexpected(checked.error());
    return parameter(operand, predicate.type);
  }

  Result<std::string> condition_sql(const CompiledPredicate& predicate) {
    const char* comparison = comparison_sql(predicate.comparison);
    const std::string name = column(predicate.column);
    if (predicate.comparison == Comparison::is_null || predicate.comparison == Comparison::is_not_null)
      return fmt::format("{} {}", name, comparison);
    if (predicate.operands.empty()) return unknown();
    const auto operand = operand_sql(predicate, predicate.operands.front());
    if (!operand) return operand;
    // Whether two texts are equal is the same in every collation that a key or bucket column may have; without one of
    // its own the comparison can use any index on the column.
    const bool by_order = predicate.comparison != Comparison::eq && predicate.comparison != Comparison::ne;
    const std::string left = is_sqlite_ || by_order ? sortable(name, predicate.type) : name;
    return fmt::format("{} {} {}", left, comparison, *operand);
  }

  Result<std::string> in_sql(const CompiledPredicate& predicate) {
    if (predicate.operands.empty() && !predicate.has_null_operand) return constant(false);
    std::string values;
    for (const Value& operand : predicate.operands) {
      const auto one = operand_sql(predicate, operand);
      if (!one) return one;
      if (!values.empty()) values += ", ";
      values += *one;
    }
    if (predicate.has_null_operand) values += values.empty() ? "NULL" : ", NULL";
    const std::string name = column(predicate.column);
    return fmt::format("{} IN ({})", is_sqlite_ ? sortable(name, predicate.type) : name, values);
  }

  Result<std::string> like_sql(const CompiledPredicate& predicate) {
    if (auto checked = check_text(predicate, predicate.pattern); !checked) return tl::unexpected(checked.error());
    const std::string name = column(predicate.column);
    const std::string pattern = parameter(predicate.pattern, ColumnType::text);
    if (is_sqlite_) return fmt::format("{}({}, {})", kLikeFunction, name, pattern);
    return fmt::format("{} COLLATE \"C\" LIKE {} ESCAPE E'\\\\'", name, pattern);
  }

  // Folds. The inner SELECT names its columns c0, c1, …

  std::string result_names() const {
    std::string names;
    for (std::size_t i = 0; i < query_.columns.size(); ++i) names += fmt::format("{}c{}", i == 0 ? "" : ", ", i);
    return names;
  }

  std::string folded_columns() const {
    std::string columns;
    std::size_t number = 0;
    const auto add = [&](const std::string& expression) {
      columns += fmt::format("{}{} AS c{}", number == 0 ? "" : ", ", expression, number);
      ++number;
    };
    for (const std::size_t group : query_.group_by)
      add(representative(column(group), query_.joined_columns[group].type));
    for (const CompiledFold& fold : query_.folds) add(fold_sql(fold));
    return columns;
  }

  /// group_value in SQL.
  static std::string representative(const std::string& expression, ColumnType type) {
    if (type == ColumnType::numeric) return fmt::format("{}({})", kShortestFunction, expression);
    if (type == ColumnType::real) return fmt::format("{} + 0.0", expression);
    return expression;
  }

  std::string fold_sql(const CompiledFold& fold) const {
    const std::string input = fold.column == TableDef::npos ? "*" : column(fold.column);
    switch (fold.kind) {
      case FoldSpec::Kind::count:
        return fmt::format("count({})", input);
      case FoldSpec::Kind::min:
      case FoldSpec::Kind::max:
        return representative(
            fmt::format("{}({})", fold.kind == FoldSpec::Kind::min ? "min" : "max", sortable(input, fold.type)),
            fold.type);
      case FoldSpec::Kind::sum:
      case FoldSpec::Kind::average:
        break;
    }
    return fmt::format("{}({}, {}, {})", fold.kind == FoldSpec::Kind::sum ? kSumFunction : kAverageFunction, input,
                       static_cast<int>(fold.type), quote_text(fold.subject));
  }

  std::string group_by() const {
    std::string columns;
    for (const std::size_t group : query_.group_by) {
      columns += columns.empty() ? " GROUP BY " : ", ";
      columns += sortable(column(group), query_.joined_columns[group].type);
    }
    return columns;
  }

  // The order

  std::string order() const {
    if (query_.order.empty()) return "1";  // folded without groups: there is one row
    std::string terms;
    for (const CompiledOrder& order : query_.order) {
      if (!terms.empty()) terms += ", ";
      terms += sortable(query_.is_folded ? fmt::format("c{}", order.column) : column(order.column), order.type);
      if (order.descending) terms += " DESC";
      // SQLite takes null as the smallest value, as we do; Postgres as the greatest.
      if (!is_sqlite_ && query_.columns[order.column].nullable)
        terms += order.descending ? " NULLS LAST" : " NULLS FIRST";
    }
    return terms;
  }

  const bool is_sqlite_;
  const CompiledQuery& query_;
  const std::string_view schema_;
  SqlText sql_;
};

}  // namespace

Result<SqlText> query_sql(Dialect dialect, const CompiledQuery& query, std::string_view extra,
                          std::string_view schema) {
  return Writer(dialect, query, schema).run(extra);
}

Result<SqlText> query_sql(Dialect dialect, const QuerySpec& query, std::string_view extra, std::string_view schema) {
  const auto compiled = compile_query(query);
  if (!compiled) return tl::unexpected(compiled.error());
  return query_sql(dialect, *compiled, extra, schema);
}

}  // namespace nizhal
