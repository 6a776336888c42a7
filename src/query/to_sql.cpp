// Queries as SQL. The order and the comparisons must be those of compare_values in both dialects: bytes for text,
// numbers for numerics, null before everything.
#include "query/to_sql.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "query/operand.hpp"

namespace nizhal {

namespace {

std::string quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char character : text) {
    if (character == quote) out += quote;
    out += character;
  }
  out += quote;
  return out;
}

/// PostgreSQL is told the type, so that the operator and the index do not hang on what it guesses.
std::string placeholder(Dialect dialect, std::size_t number, ColumnType type) {
  if (dialect == Dialect::sqlite) return fmt::format("?{}", number);
  return fmt::format("${}::{}", number, postgres_type(type));
}

/// The column as something that sorts like compare_values. SQLite's text is BINARY by default and its numerics, held
/// as text, need the collation that the connection brings; Postgres sorts text by the database's locale.
std::string sortable(Dialect dialect, const ColumnDef& column) {
  std::string name = quote_identifier(column.name);
  if (dialect == Dialect::sqlite && column.type == ColumnType::numeric)
    name += fmt::format(" COLLATE {}", kDecimalCollation);
  if (dialect == Dialect::postgres && column.type == ColumnType::text) name += " COLLATE \"C\"";
  return name;
}

/// Parameters of 32-bit columns go as 64 bits, so that an operand out of range compares and does not fail.
ColumnType parameter_type(ColumnType type) { return type == ColumnType::integer ? ColumnType::bigint : type; }

Result<std::string> condition_sql(Dialect dialect, const TableDef& table, const Condition& condition,
                                  std::vector<SqlParameter>& parameters) {
  const std::size_t index = table.index_of(condition.column);
  if (index == TableDef::npos) {
    return failure(ErrorCode::invalid_args,
                   fmt::format("table {} has no column {}: name one of its declared columns in the condition",
                               table.name, condition.column));
  }
  const ColumnDef& column = table.columns[index];
  const char* comparison = comparison_sql(condition.comparison);
  if (condition.comparison == Comparison::is_null || condition.comparison == Comparison::is_not_null)
    return fmt::format("{} {}", quote_identifier(column.name), comparison);
  if (!is_comparable(column.type)) {
    return failure(ErrorCode::invalid_args,
                   fmt::format("column {}.{} is {}, which can only be tested with is_null and is_not_null", table.name,
                               column.name, to_string(column.type)));
  }
  auto operand = comparable_operand(column.type, condition.operand);
  if (!operand) {
    return failure(ErrorCode::invalid_args, fmt::format("column {}.{} is {}: it cannot be compared with that operand",
                                                        table.name, column.name, to_string(column.type)));
  }
  if (is_null(*operand)) return std::string(dialect == Dialect::sqlite ? "0" : "false");
  const auto* text = std::get_if<std::string>(&*operand);
  if (dialect == Dialect::postgres && text && text->find('\0') != std::string::npos) {
    return failure(ErrorCode::invalid_args,
                   fmt::format("column {}.{} cannot be compared with a text that has a NUL", table.name, column.name));
  }
  // Whether two texts are equal is the same in every collation that a key or bucket column may have; without one of its
  // own the comparison can use any index on the column.
  const bool by_order = condition.comparison != Comparison::eq && condition.comparison != Comparison::ne;
  const std::string left =
      dialect == Dialect::postgres && !by_order ? quote_identifier(column.name) : sortable(dialect, column);
  const ColumnType type = parameter_type(column.type);
  parameters.push_back({std::move(*operand), type});
  return fmt::format("{} {} {}", left, comparison, placeholder(dialect, parameters.size(), type));
}

Result<std::string> order_sql(Dialect dialect, const QuerySpec& query) {
  const TableDef& table = *query.table;
  std::string sql;
  const auto add = [&](const ColumnDef& column, Direction direction) {
    if (!sql.empty()) sql += ", ";
    sql += sortable(dialect, column);
    const bool descending = direction == Direction::descending;
    if (descending) sql += " DESC";
    // SQLite takes null as the smallest value, as we do; Postgres as the greatest.
    if (dialect == Dialect::postgres && column.nullable) sql += descending ? " NULLS LAST" : " NULLS FIRST";
  };
  bool has_key = false;
  for (const Order& order : query.order) {
    const std::size_t index = table.index_of(order.column);
    if (index == TableDef::npos) {
      return failure(ErrorCode::invalid_args,
                     fmt::format("table {} has no column {} to order by", table.name, order.column));
    }
    const ColumnDef& column = table.columns[index];
    if (!is_comparable(column.type)) {
      return failure(ErrorCode::invalid_args, fmt::format("column {}.{} is {}, which has no order", table.name,
                                                          column.name, to_string(column.type)));
    }
    add(column, order.direction);
    has_key = has_key || column.name == table.key;
  }
  if (!has_key) add(table.key_column(), Direction::ascending);
  return sql;
}

std::int64_t row_count(std::size_t count) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return count > kMax ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(count);
}

std::string double_literal(Dialect dialect, double number) {
  if (std::isnan(number)) return dialect == Dialect::sqlite ? "NULL" : "'NaN'::float8";
  if (std::isinf(number)) {
    const char* sign = number < 0 ? "-" : "";
    return dialect == Dialect::sqlite ? fmt::format("{}9e999", sign) : fmt::format("'{}Infinity'::float8", sign);
  }
  std::string text;
  append_json_number(text, number);
  // Without a point or an exponent it would be an integer.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

const char* postgres_type(ColumnType type) {
  switch (type) {
    case ColumnType::text:
      return "text";
    case ColumnType::uuid:
      return "uuid";
    case ColumnType::integer:
      return "integer";
    case ColumnType::bigint:
      return "bigint";
    case ColumnType::boolean:
      return "boolean";
    case ColumnType::real:
      return "double precision";
    case ColumnType::numeric:
      return "numeric";
    case ColumnType::timestamp:
      return "timestamptz";
    case ColumnType::date:
      return "date";
    case ColumnType::json:
      return "jsonb";
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return "bytea";
  }
  return "text";
}

const char* comparison_sql(Comparison comparison) {
  switch (comparison) {
    case Comparison::eq:
      return "=";
    case Comparison::ne:
      return "<>";
    case Comparison::lt:
      return "<";
    case Comparison::le:
      return "<=";
    case Comparison::gt:
      return ">";
    case Comparison::ge:
      return ">=";
    case Comparison::is_null:
      return "IS NULL";
    case Comparison::is_not_null:
      return "IS NOT NULL";
  }
  return "";
}

std::string quote_identifier(std::string_view name) { return quoted(name, '"'); }

std::string quote_text(std::string_view text) { return quoted(text, '\''); }

std::string sql_literal(Dialect dialect, ColumnType type, const Value& value) {
  if (const auto* boolean = std::get_if<bool>(&value)) {
    if (dialect == Dialect::sqlite) return *boolean ? "1" : "0";
    return *boolean ? "true" : "false";
  }
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    switch (type) {
      case ColumnType::timestamp:
        return quote_text(to_iso8601(Timestamp{*integer}));
      case ColumnType::real:
        return double_literal(dialect, static_cast<double>(*integer));
      case ColumnType::numeric:
        return quote_text(std::to_string(*integer));
      default:
        return std::to_string(*integer);
    }
  }
  if (const auto* number = std::get_if<double>(&value)) return double_literal(dialect, *number);
  if (const auto* text = std::get_if<std::string>(&value)) return quote_text(*text);
  if (const auto* blob = std::get_if<Blob>(&value)) {
    const std::string hex = to_hex(blob->bytes);
    return dialect == Dialect::sqlite ? fmt::format("X'{}'", hex) : fmt::format("'\\x{}'::bytea", hex);
  }
  return "NULL";
}

std::string column_list(const TableDef& table, std::string_view alias) {
  std::string list;
  for (const ColumnDef& column : table.columns) {
    if (!list.empty()) list += ", ";
    if (!alias.empty()) list.append(alias).append(1, '.');
    list += quote_identifier(column.name);
  }
  return list;
}

Result<std::string> conditions_sql(Dialect dialect, const TableDef& table, const std::vector<Condition>& conditions,
                                   std::vector<SqlParameter>& parameters) {
  std::string sql;
  for (const Condition& condition : conditions) {
    auto one = condition_sql(dialect, table, condition, parameters);
    if (!one) return one;
    if (!sql.empty()) sql += " AND ";
    sql += *one;
  }
  if (sql.empty()) sql = dialect == Dialect::sqlite ? "1" : "true";
  return sql;
}

Result<SqlText> query_sql(Dialect dialect, const QuerySpec& query, std::string_view extra, std::string_view schema) {
  if (!query.table || query.table->key_index() == TableDef::npos)
    return failure(ErrorCode::internal, "a query was made without a table that has a key");
  const TableDef& table = *query.table;
  SqlText sql;
  const auto conditions = conditions_sql(dialect, table, query.conditions, sql.parameters);
  if (!conditions) return tl::unexpected(conditions.error());
  const auto order = order_sql(dialect, query);
  if (!order) return tl::unexpected(order.error());

  const std::string in_schema = schema.empty() ? std::string() : quote_identifier(schema) + ".";
  sql.text = fmt::format("SELECT {} FROM {}{} WHERE {}", column_list(table), in_schema, quote_identifier(table.name),
                         *conditions);
  if (!extra.empty()) sql.text += fmt::format(" AND ({})", extra);
  sql.text += fmt::format(" ORDER BY {}", *order);
  const auto add_count = [&](std::string_view word, std::size_t count) {
    SqlParameter& parameter = sql.parameters.emplace_back();
    parameter.value = row_count(count);
    parameter.type = ColumnType::bigint;
    sql.text += fmt::format(" {} {}", word, placeholder(dialect, sql.parameters.size(), ColumnType::bigint));
  };
  if (query.limit) {
    add_count("LIMIT", *query.limit);
  } else if (query.offset > 0 && dialect == Dialect::sqlite) {
    sql.text += " LIMIT -1";  // SQLite has no OFFSET without a LIMIT
  }
  if (query.offset > 0) add_count("OFFSET", query.offset);
  return sql;
}

}  // namespace nizhal
