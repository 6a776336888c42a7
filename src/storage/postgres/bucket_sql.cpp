#include "storage/postgres/bucket_sql.hpp"

#include <fmt/format.h>

#include "base/decimal.hpp"
#include "query/to_sql.hpp"
#include "storage/bucket_entries.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

constexpr const char* kNever = "false";
constexpr int kJsonDepthMax = 48;  // as base/json.hpp reads it

std::string joined_with_and(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : " AND ") + part;
  return text.empty() ? "true" : text;
}

/// The fixed form of an instant or a day, in which text order is time order.
std::string instant_sql(const std::string& column) {
  return fmt::format("(to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') COLLATE \"C\")", column);
}
std::string day_sql(const std::string& column) {
  return fmt::format("(to_char({}, 'YYYY-MM-DD') COLLATE \"C\")", column);
}

std::string condition_sql(std::string_view row, const TableDef& table, const Condition& condition) {
  const std::size_t index = table.index_of(condition.column);
  if (index == TableDef::npos) return kNever;
  const ColumnDef& column = table.columns[index];
  const std::string readable = readable_sql(row, column);
  if (condition.comparison == Comparison::is_null) return fmt::format("NOT {}", readable);
  if (condition.comparison == Comparison::is_not_null) return readable;
  if (is_null(condition.operand)) return kNever;
  std::string left = column_sql(row, condition.column);
  std::string right = sql_literal(Dialect::postgres, column.type, condition.operand);
  const auto* text = std::get_if<std::string>(&condition.operand);
  switch (column.type) {
    case ColumnType::text:
    case ColumnType::uuid:  // as text: an operand in upper case equals no uuid, as in memory
      left = text_sql(row, condition.column);
      if (text == nullptr) return kNever;
      right = text_literal(*text);
      break;
    case ColumnType::real:
      // What is read of a `real` is its shortest text; widening it would give another number.
      left =
          fmt::format("(CASE WHEN pg_typeof({0}) = 'real'::regtype THEN {0}::text::float8 ELSE {0}::float8 END)", left);
      right = fmt::format("({}::float8)", right);
      break;
    case ColumnType::numeric:
      left += "::numeric";
      right += "::numeric";
      break;
    case ColumnType::timestamp:
      left = instant_sql(left);
      break;
    case ColumnType::date:
      left = day_sql(left);
      break;
    default:
      break;
  }
  // The order of evaluation matters nowhere: whatever cannot be read makes the comparison false or null, not an error.
  return fmt::format("({} AND {} {} {})", readable, left, comparison_sql(condition.comparison), right);
}

/// All columns hold values that can be part of a bucket key.
std::string values_sql(std::string_view row, const TableDef& table, const std::vector<std::string>& columns) {
  std::vector<std::string> parts;
  for (const std::string& name : columns) {
    const std::size_t index = table.index_of(name);
    if (index == TableDef::npos) return kNever;
    const ColumnDef& column = table.columns[index];
    parts.push_back(readable_sql(row, column));
    if (column.type == ColumnType::text) parts.push_back(fmt::format("{} <> ''", text_sql(row, name)));
  }
  return joined_with_and(parts);
}

/// Values of columns as a bucket key or grant subject is made of them (join_bucket_values).
std::string joined_sql(std::string_view prefix, std::string_view row, const std::vector<std::string>& columns) {
  std::string text = prefix.empty() ? std::string() : text_literal(prefix);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (i > 0) text += " || '/'";
    const std::string value = text_sql(row, columns[i]);
    if (!text.empty()) text += " || ";
    text += columns.size() == 1 ? value : fmt::format("replace(replace({}, '%', '%25'), '/', '%2F')", value);
  }
  return text.empty() ? "''" : "(" + text + ")";
}

/// A key that starts with a longer prefix belongs to that prefix's definition.
std::string unambiguous_sql(const CompiledDomain& domain, std::size_t definition, const std::string& key) {
  const std::string& prefix = domain.definitions()[definition].prefix;
  std::string text;
  for (const BucketDefinition& other : domain.definitions()) {
    if (other.prefix.size() <= prefix.size() || !other.prefix.starts_with(prefix)) continue;
    text += fmt::format(" AND NOT starts_with({}, {})", key, text_literal(other.prefix));
  }
  return text;
}

}  // namespace

std::string column_sql(std::string_view row, std::string_view column) {
  std::string text(row);
  if (!text.empty()) text += '.';
  return text + quote_identifier(column);
}

std::string text_sql(std::string_view row, std::string_view column) {
  return fmt::format("({}::text COLLATE \"C\")", column_sql(row, column));
}

std::string text_literal(std::string_view text) {
  if (text.find('\\') == std::string_view::npos) return quote_text(text);
  std::string escaped;
  for (const char character : text) {
    if (character == '\\') escaped += '\\';
    escaped += character;
  }
  return "E" + quote_text(escaped);
}

std::string readable_sql(std::string_view row, const ColumnDef& column) {
  const std::string name = column_sql(row, column.name);
  switch (column.type) {
    case ColumnType::real:
      return fmt::format("({0} IS NOT NULL AND {0} NOT IN ('NaN', 'Infinity', '-Infinity'))", name);
    case ColumnType::numeric:
      // As text: an infinite numeric cannot be written where there is none (PostgreSQL 13).
      return fmt::format(
          "({0} IS NOT NULL AND {0}::text NOT IN ('NaN', 'Infinity', '-Infinity') AND length({0}::text) <= {1})", name,
          kDecimalBytesMax);
    case ColumnType::timestamp:
      return fmt::format(
          "({0} IS NOT NULL AND {0} >= '0001-01-01T00:00:00Z'::timestamptz AND {0} < "
          "'10000-01-01T00:00:00Z'::timestamptz)",
          name);
    case ColumnType::date:
      return fmt::format("({0} IS NOT NULL AND {0} >= '0001-01-01'::date AND {0} <= '9999-12-31'::date)", name);
    case ColumnType::json:
      // A column of type json is taken as it is: looking inside could fail, and a trigger must not.
      return fmt::format(
          "({0} IS NOT NULL AND CASE WHEN pg_typeof({0}) = 'jsonb'::regtype THEN NOT jsonb_path_exists({0}::jsonb, "
          "'strict $.**{{{1} to last}} ? (@.type() == \"object\" || @.type() == \"array\")') ELSE true END)",
          name, kJsonDepthMax);
    default:
      return fmt::format("({} IS NOT NULL)", name);
  }
}

std::string key_sql(std::string_view row, const TableDef& table) { return text_sql(row, table.key); }

std::string key_order_sql(std::string_view row, const TableDef& table) {
  const std::string name = column_sql(row, table.key);
  return table.key_column().type == ColumnType::text ? name + " COLLATE \"C\"" : name;
}

std::string client_key_sql(std::string_view row, const TableDef& table) {
  const std::size_t index = table.index_of("client_id");
  if (index == TableDef::npos || table.key == "client_id") return "NULL::text";
  const ColumnType type = table.columns[index].type;
  if (type != ColumnType::text && type != ColumnType::uuid) return "NULL::text";
  return fmt::format("nullif({}, {})", text_sql(row, "client_id"), key_sql(row, table));
}

std::string conditions_hold_sql(std::string_view row, const TableDef& table, const std::vector<Condition>& conditions) {
  std::vector<std::string> parts;
  for (const Condition& condition : conditions) parts.push_back(condition_sql(row, table, condition));
  return joined_with_and(parts);
}

std::string in_bucket_sql(const CompiledDomain& domain, std::size_t definition, const BucketTable& entry,
                          std::string_view row) {
  const TableDef& table = domain.table(entry.table);
  return fmt::format("({} AND {} AND {}{})", readable_sql(row, table.key_column()),
                     values_sql(row, table, entry.parameter_columns), conditions_hold_sql(row, table, entry.conditions),
                     unambiguous_sql(domain, definition, bucket_key_sql(domain, definition, entry, row)));
}

std::string bucket_key_sql(const CompiledDomain& domain, std::size_t definition, const BucketTable& entry,
                           std::string_view row) {
  return joined_sql(domain.definitions()[definition].prefix, row, entry.parameter_columns);
}

std::string grants_sql(const CompiledDomain& domain, std::size_t definition, std::string_view row) {
  const BucketDefinition& def = domain.definitions()[definition];
  const TableDef& table = membership_table(domain, def);
  std::string text =
      "(" + values_sql(row, table, claim_columns(def)) + " AND " + values_sql(row, table, membership_columns(def));
  for (const MembershipFilter& filter : def.membership_filters)
    if (filter.claim.empty())
      text += " AND " + condition_sql(row, table, {filter.column, Comparison::eq, filter.constant, true});
  return text + unambiguous_sql(domain, definition, grant_bucket_sql(domain, definition, row)) + ")";
}

std::string grant_subject_sql(const CompiledDomain& domain, std::size_t definition, std::string_view row) {
  return joined_sql("", row, claim_columns(domain.definitions()[definition]));
}

std::string grant_bucket_sql(const CompiledDomain& domain, std::size_t definition, std::string_view row) {
  const BucketDefinition& def = domain.definitions()[definition];
  return joined_sql(def.prefix, row, membership_columns(def));
}

}  // namespace nizhal::storage::postgres_schema
