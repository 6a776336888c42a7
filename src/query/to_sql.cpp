// SQL's names, types and constants in both dialects.
#include "query/to_sql.hpp"

#include <cmath>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/json.hpp"

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

std::string postgres_time_text(std::string text) {
  if (!text.starts_with("0000-")) return text;
  text[3] = '1';
  return text.append(" BC");
}

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

}  // namespace nizhal
