#include "storage/sqlite/bucket_sql.hpp"

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "query/to_sql.hpp"
#include "storage/bucket_entries.hpp"

namespace nizhal::storage {
namespace {

constexpr const char* kNever = "0";

/// Time as it is stored by the engine, so that text order is time order; other programs' forms to the millisecond.
/// Null for what is no time.
std::string instant_sql(const std::string& column) {
  return fmt::format(
      "CASE WHEN {0} GLOB '???\?-?\?-?\?T?\?:?\?:?\?.??????Z' THEN {0} "
      "ELSE strftime('%Y-%m-%dT%H:%M:%f', {0}) || '000Z' END",
      column);
}

/// 0, 1 or null, from the words that SQLite programs use.
std::string boolean_sql(const std::string& column) {
  return fmt::format(
      "CASE WHEN typeof({0}) = 'integer' THEN {0} <> 0 WHEN lower({0}) IN ('true', 't', 'yes', 'on') THEN 1 "
      "WHEN lower({0}) IN ('false', 'f', 'no', 'off') THEN 0 END",
      column);
}

std::string condition_sql(std::string_view row, const TableDef& table, const Condition& condition) {
  const std::size_t index = table.index_of(condition.column);
  if (index == TableDef::npos) return kNever;
  const ColumnDef& column = table.columns[index];
  const std::string readable = readable_sql(row, column);
  if (condition.comparison == Comparison::is_null) return fmt::format("NOT {}", readable);
  if (condition.comparison == Comparison::is_not_null) return readable;
  if (is_null(condition.operand)) return kNever;
  const std::string literal = sql_literal(Dialect::sqlite, column.type, condition.operand);
  std::string left = column_sql(row, condition.column);
  std::string right = literal;
  if (column.type == ColumnType::boolean) left = fmt::format("({})", boolean_sql(left));
  if (column.type == ColumnType::timestamp) left = fmt::format("({})", instant_sql(left));
  if (column.type == ColumnType::date) left = fmt::format("substr({}, 1, 10)", left);
  // Exact up to a double's 15 digits: SQLite has no decimal comparison that every program would have, too.
  if (column.type == ColumnType::numeric) {
    left = fmt::format("CAST({} AS REAL)", left);
    right = fmt::format("CAST({} AS REAL)", literal);
  }
  return fmt::format("({} AND {} {} {})", readable, left, comparison_sql(condition.comparison), right);
}

/// All columns hold values that can be part of a bucket key.
std::string values_sql(std::string_view row, const TableDef& table, const std::vector<std::string>& columns) {
  std::string text;
  for (const std::string& name : columns) {
    const std::size_t index = table.index_of(name);
    if (index == TableDef::npos) return kNever;
    const ColumnDef& column = table.columns[index];
    if (!text.empty()) text += " AND ";
    text += readable_sql(row, column);
    if (column.type == ColumnType::text) text += fmt::format(" AND {} <> ''", column_sql(row, name));
  }
  return text.empty() ? "1" : text;
}

/// Values of columns as a bucket key or grant subject is made of them (join_bucket_values).
std::string joined_sql(std::string_view prefix, std::string_view row, const std::vector<std::string>& columns) {
  std::string text = quote_text(prefix);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (i > 0) text += " || '/'";
    const std::string value = column_sql(row, columns[i]);
    if (columns.size() == 1)
      text += " || " + value;
    else
      text += fmt::format(" || replace(replace({}, '%', '%25'), '/', '%2F')", value);
  }
  // The cast gives the expression text affinity, without which an index on it would not serve comparisons with text
  // columns; the concatenation strips a column's own collation.
  return fmt::format("CAST({} AS TEXT)", text);
}

/// A key that starts with a longer prefix belongs to that prefix's definition.
std::string unambiguous_sql(const CompiledDomain& domain, std::size_t definition, const std::string& key) {
  const std::string& prefix = domain.definitions()[definition].prefix;
  std::string text;
  for (const BucketDefinition& other : domain.definitions()) {
    if (other.prefix.size() <= prefix.size() || other.prefix.compare(0, prefix.size(), prefix) != 0) continue;
    const std::string literal = quote_text(other.prefix);
    text += fmt::format(" AND substr({}, 1, {}) <> {}", key, count_code_points(other.prefix), literal);
  }
  return text;
}

}  // namespace

std::string column_sql(std::string_view row, std::string_view column) {
  std::string text(row);
  if (!text.empty()) text += '.';
  return text + quote_identifier(column);
}

std::string readable_sql(std::string_view row, const ColumnDef& column) {
  const std::string name = column_sql(row, column.name);
  switch (column.type) {
    case ColumnType::text:
      return fmt::format("(typeof({0}) = 'text' AND instr({0}, char(0)) = 0)", name);
    case ColumnType::uuid:
      // Lower case only, as the engine writes them: keys and buckets are compared as bytes.
      return fmt::format(
          "(typeof({0}) = 'text' AND instr({0}, char(0)) = 0 AND {0} LIKE '________-____-____-____-____________' AND "
          "{0} "
          "NOT GLOB '*[^-0-9a-f]*')",
          name);
    case ColumnType::integer:
      return fmt::format("(typeof({0}) = 'integer' AND {0} BETWEEN -2147483648 AND 2147483647)", name);
    case ColumnType::bigint:
      return fmt::format("(typeof({}) = 'integer')", name);
    case ColumnType::boolean:
      return fmt::format("({} IS NOT NULL)", boolean_sql(name));
    case ColumnType::real:
      return fmt::format("(typeof({}) IN ('real', 'integer'))", name);
    case ColumnType::numeric:
      return fmt::format("(typeof({0}) = 'text' AND {0} GLOB '*[0-9]*' AND {0} NOT GLOB '*[^-+.0-9eE]*')", name);
    case ColumnType::timestamp:
      return fmt::format("(typeof({}) = 'text' AND {} IS NOT NULL)", name, instant_sql(name));
    case ColumnType::date:
      return fmt::format("(typeof({0}) = 'text' AND date(substr({0}, 1, 10)) IS substr({0}, 1, 10))", name);
    case ColumnType::json:
      return fmt::format("(typeof({0}) = 'text' AND json_valid({0}))", name);
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return fmt::format("(typeof({}) <> 'null')", name);
  }
  return fmt::format("(typeof({}) = 'text')", name);
}

std::string key_sql(std::string_view row, const TableDef& table) {
  return fmt::format("CAST('' || {} AS TEXT)", column_sql(row, table.key));
}

std::string client_key_sql(std::string_view row, const TableDef& table) {
  const std::size_t index = table.index_of("client_id");
  if (index == TableDef::npos || table.key == "client_id") return "NULL";
  const ColumnType type = table.columns[index].type;
  if (type != ColumnType::text && type != ColumnType::uuid) return "NULL";
  return fmt::format("CASE WHEN {} THEN NULLIF('' || {}, {}) END", readable_sql(row, table.columns[index]),
                     column_sql(row, "client_id"), key_sql(row, table));
}

std::string conditions_hold_sql(std::string_view row, const TableDef& table, const std::vector<Condition>& conditions) {
  std::string text;
  for (const Condition& condition : conditions) {
    if (!text.empty()) text += " AND ";
    text += condition_sql(row, table, condition);
  }
  return text.empty() ? "1" : text;
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

}  // namespace nizhal::storage
