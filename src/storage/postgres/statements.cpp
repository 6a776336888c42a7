#include "storage/postgres/statements.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "base/ids.hpp"
#include "base/json.hpp"
#include "query/to_sql.hpp"
#include "storage/grant_definition.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/values.hpp"

namespace nizhal::storage::pg {
namespace {

using postgres_schema::bucket_key_sql;
using postgres_schema::column_sql;
using postgres_schema::conditions_hold_sql;
using postgres_schema::in_bucket_sql;
using postgres_schema::key_order_sql;
using postgres_schema::kVersionColumn;

bool is_whole_number(ColumnType type) { return type == ColumnType::integer || type == ColumnType::bigint; }

bool is_canonical_number(const std::string& text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, fault] = std::from_chars(text.data(), end, number);
  return fault == std::errc() && stopped == end && fmt::to_string(number) == text;
}

bool is_canonical_uuid(const std::string& text) {
  return is_uuid(text) && std::none_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

/// True when a column of that type can hold a value with that text.
bool can_hold(ColumnType type, const std::string& text) {
  if (is_whole_number(type)) return is_canonical_number(text);
  if (type == ColumnType::uuid) return is_canonical_uuid(text);
  return true;
}

/// As what values are compared with columns of that type. A 32-bit column is compared with any number.
const char* parameter_type(ColumnType type) {
  if (is_whole_number(type)) return "bigint";
  return type == ColumnType::uuid ? "uuid" : "text";
}

ColumnType type_of(const TableDef& table, const std::string& column) {
  const std::size_t index = table.index_of(column);
  return index == TableDef::npos ? ColumnType::text : table.columns[index].type;
}

std::string qualified_name(std::string_view schema, const TableDef& table) {
  return quote_identifier(schema) + "." + quote_identifier(table.name);
}

EntrySql entry_sql(const CompiledDomain& domain, const BucketTable& entry, std::string_view schema) {
  const TableDef& table = domain.table(entry.table);
  EntrySql sql;
  sql.table = entry.table;
  // `listed`: the i-th value is v<i> of a list of buckets; `given`: it is a parameter.
  std::string lists, names, listed, given;
  // For pages by key: the last value is given as a range, see below.
  std::string range_start, range_end, range_order, range_after;
  const std::size_t count = entry.parameter_columns.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::string column = column_sql("r", entry.parameter_columns[i]);
    sql.parameter_types.push_back(type_of(table, entry.parameter_columns[i]));
    const char* type = parameter_type(sql.parameter_types.back());
    // All parameters are texts, so that statements over several tables can share them.
    const std::string parameter = fmt::format("${}::text::{}", i + 1, type);
    lists += fmt::format("${}::text[]::{}[], ", i + 1, type);
    names += fmt::format("v{}, ", i + 1);
    listed += fmt::format("{} = b.v{} AND ", column, i + 1);
    given += fmt::format("{} = {} AND ", column, parameter);
    if (i + 1 < count) continue;
    range_start = fmt::format("{} >= {} AND ", column, parameter);
    range_end = fmt::format("{} <= {} AND ", column, parameter);
    range_order = column + ", ";
    range_after = parameter + ", ";
  }
  std::string equal;  // the values before the last
  for (std::size_t i = 0; i + 1 < count; ++i)
    equal += fmt::format("{} = ${}::text::{} AND ", column_sql("r", entry.parameter_columns[i]), i + 1,
                         parameter_type(sql.parameter_types[i]));
  const std::string conditions = conditions_hold_sql("r", table, entry.conditions);
  const std::string version = column_sql("r", kVersionColumn);
  const std::string key = key_order_sql("r", table);
  std::string columns = fmt::format("{}, {}", version, column_list(table, "r"));
  if (has_stamps(table)) columns += ", " + column_sql("r", kStampsColumn);
  const std::string from = fmt::format("FROM {} AS r", qualified_name(schema, table));
  const std::size_t next = count + 1;

  const auto live = [&](const std::string& list) {
    const std::string page =
        fmt::format("SELECT {} {} WHERE {}{} AND {} > b.after AND {} <= ${}::bigint ORDER BY {}, {} LIMIT ${}::bigint",
                    list, from, listed, conditions, version, version, next + 1, version, key, next + 2);
    return fmt::format(
        "SELECT r.*, b.n FROM unnest({}${}::bigint[]) WITH ORDINALITY AS b({}after, n) CROSS JOIN LATERAL ({}) AS r "
        "ORDER BY {}, {} LIMIT ${}::bigint",
        lists, next, names, page, version, key, next + 3);
  };
  sql.live = live(columns);
  if (has_recent(domain, entry.table)) sql.live_recent = live(columns + ", " + column_sql("r", kRecentColumn));
  sql.from_where = fmt::format("{} WHERE {}{}", from, given, conditions);

  // With `column = value` the primary key's index, too, has the order asked for, and a planner whose statistics know of
  // one bucket only may scan it past everybody else's rows. A range of one value in the order of (value, key) is served
  // by the engine's index alone.
  sql.backfill = fmt::format("SELECT {} {} WHERE {}{}{}{} ORDER BY {}{} LIMIT ${}::bigint", columns, from, equal,
                             range_start, range_end, conditions, range_order, key, next);
  sql.backfill_after =
      fmt::format("SELECT {} {} WHERE {}{}({}{}) > ({}${}::text::{}) AND {} ORDER BY {}{} LIMIT ${}::bigint", columns,
                  from, equal, range_end, range_order, key, range_after, next + 1,
                  parameter_type(table.key_column().type), conditions, range_order, key, next);
  return sql;
}

}  // namespace

void ArrayText::separate() {
  if (text_.size() > 1) text_ += ',';
}

void ArrayText::add(std::string_view element) {
  separate();
  text_ += '"';
  for (std::size_t at = element.find_first_of("\"\\"); at != std::string_view::npos;
       at = element.find_first_of("\"\\", 1)) {
    text_.append(element.substr(0, at)).append(1, '\\');
    element.remove_prefix(at);
  }
  text_.append(element).append(1, '"');
}

void ArrayText::add_null() {
  separate();
  text_ += "NULL";
}

std::string ArrayText::finish() && {
  text_ += '}';
  return std::move(text_);
}

std::optional<Parameters> EntrySql::values_of(const Bucket& bucket) const {
  if (bucket.values.size() != parameter_types.size()) return std::nullopt;
  Parameters parameters;
  for (std::size_t i = 0; i < parameter_types.size(); ++i) {
    if (!can_hold(parameter_types[i], bucket.values[i])) return std::nullopt;
    parameters.emplace_back(bucket.values[i]);
  }
  return parameters;
}

Parameters EntrySql::values_of(const std::vector<const Bucket*>& buckets) const {
  Parameters parameters;
  for (std::size_t i = 0; i < parameter_types.size(); ++i) {
    ArrayText list;
    for (const Bucket* bucket : buckets) list.add(bucket->values[i]);
    parameters.emplace_back(std::move(list).finish());
  }
  return parameters;
}

DomainSql::DomainSql(const CompiledDomain& domain, std::string_view schema) {
  const auto& definitions = domain.definitions();
  for (std::size_t d = 0; d < definitions.size(); ++d) {
    entries.emplace_back();
    tables_of.emplace_back();
    for (const BucketTable& entry : definitions[d].tables) {
      entries.back().push_back(entry_sql(domain, entry, schema));
      auto& found = tables_of.back();
      if (std::find(found.begin(), found.end(), entry.table) == found.end()) found.push_back(entry.table);
    }
    grant_ids.push_back(definitions[d].is_static() ? std::string() : grant_definition_id(domain, d));
  }
  for (std::size_t t = 0; t < domain.tables().size(); ++t) {
    const TableDef& table = domain.table(t);
    TableSql sql;
    sql.name = qualified_name(schema, table);
    sql.has_stamps = has_stamps(table);
    sql.has_recent = has_recent(domain, t);
    sql.key_parameter_type = parameter_type(table.key_column().type);
    std::string buckets;
    for (std::size_t d = 0; d < definitions.size(); ++d) {
      for (const BucketTable& entry : definitions[d].tables) {
        if (entry.table != t) continue;
        buckets += fmt::format("{}SELECT {} AS bucket, {} AS version FROM {} AS r WHERE {} = k.key AND {}",
                               buckets.empty() ? "" : " UNION ALL ", bucket_key_sql(domain, d, entry, "r"),
                               column_sql("r", kVersionColumn), sql.name, column_sql("r", table.key),
                               in_bucket_sql(domain, d, entry, "r"));
      }
    }
    if (!buckets.empty())
      sql.buckets_of_keys = fmt::format(
          "SELECT k.n, e.bucket, e.version FROM unnest($1::{}[]) WITH ORDINALITY AS k(key, n) CROSS JOIN LATERAL ({}) "
          "AS e",
          sql.key_parameter_type, buckets);
    for (const ColumnDef& column : table.columns) {
      std::string name = sql.names.empty() ? "{" : ",";
      append_json_string(name, column.name);
      sql.names.push_back(name + ":");
    }
    if (!buckets.empty()) hold_tables += (hold_tables.empty() ? "LOCK TABLE " : ", ") + sql.name;
    tables.push_back(std::move(sql));
  }
  if (!hold_tables.empty()) hold_tables += " IN ACCESS SHARE MODE";
}

void append_stored_row_json(std::string& out, const TableSql& sql, const TableDef& table, const postgres::Rows& rows,
                            int row, int first_column) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    out += sql.names[i];
    const int column = first_column + static_cast<int>(i);
    if (rows.is_null(row, column))
      out += "null";
    else
      append_column_json(out, table.columns[i].type, rows.text(row, column));
  }
  out += '}';
}

void read_merge_columns(EncodedRow& row, const TableSql& sql, const postgres::Rows& rows, int at, int& next,
                        bool with_recent) {
  if (sql.has_stamps) row.stamps = std::string(rows.text(at, next++));
  if (sql.has_recent && with_recent) row.recent = bytes_from_text(rows.text(at, next++));
}

ScopeSql scope_sql(const CompiledDomain& domain, std::size_t table_index, const std::vector<Bucket>& buckets,
                   std::size_t first) {
  const TableDef& table = domain.table(table_index);
  ScopeSql scope;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d) {
    std::vector<const Bucket*> of_definition;
    for (const Bucket& bucket : buckets)
      if (bucket.definition == d) of_definition.push_back(&bucket);
    if (of_definition.empty()) continue;
    for (const BucketTable& entry : domain.definitions()[d].tables) {
      if (entry.table != table_index) continue;
      EntrySql shape;
      for (const std::string& column : entry.parameter_columns) shape.parameter_types.push_back(type_of(table, column));
      std::vector<const Bucket*> possible;
      for (const Bucket* bucket : of_definition)
        if (shape.values_of(*bucket)) possible.push_back(bucket);
      if (possible.empty()) continue;
      Parameters values = shape.values_of(possible);
      std::string columns, lists;
      for (std::size_t i = 0; i < entry.parameter_columns.size(); ++i) {
        columns += (i > 0 ? ", " : "") + quote_identifier(entry.parameter_columns[i]);
        lists += fmt::format("{}${}::{}[]", i > 0 ? ", " : "", first + scope.parameters.size() + i,
                             parameter_type(shape.parameter_types[i]));
      }
      std::string in = "true";
      if (entry.parameter_columns.size() == 1)
        in = fmt::format("{} = ANY({})", columns, lists);
      else if (!entry.parameter_columns.empty())
        in = fmt::format("({}) IN (SELECT * FROM unnest({}))", columns, lists);
      scope.condition += fmt::format("{}({} AND {})", scope.condition.empty() ? "" : " OR ", in,
                                     conditions_hold_sql("", table, entry.conditions));
      for (auto& value : values) scope.parameters.push_back(std::move(value));
    }
  }
  scope.condition = scope.condition.empty() ? "false" : "(" + scope.condition + ")";
  return scope;
}

}  // namespace nizhal::storage::pg
