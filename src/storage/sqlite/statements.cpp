#include "storage/sqlite/statements.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/json.hpp"
#include "domain/value_json.hpp"
#include "query/to_sql.hpp"
#include "storage/grant_definition.hpp"
#include "storage/merge_columns.hpp"
#include "storage/sqlite/bucket_sql.hpp"
#include "storage/sqlite/engine_tables.hpp"
#include "storage/sqlite/reads.hpp"
#include "storage/sqlite/triggers.hpp"

namespace nizhal::storage {
namespace {

bool is_whole_number(ColumnType type) { return type == ColumnType::integer || type == ColumnType::bigint; }

std::optional<std::int64_t> canonical_number(const std::string& text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, fault] = std::from_chars(text.data(), end, number);
  if (fault != std::errc() || stopped != end || fmt::to_string(number) != text) return std::nullopt;
  return number;
}

ColumnType type_of(const TableDef& table, const std::string& column) {
  const std::size_t index = table.index_of(column);
  return index == TableDef::npos ? ColumnType::text : table.columns[index].type;
}

EntrySql entry_sql(const CompiledDomain& domain, const BucketTable& entry) {
  const TableDef& table = domain.table(entry.table);
  EntrySql sql;
  sql.table = entry.table;
  std::string where;
  for (std::size_t i = 0; i < entry.parameter_columns.size(); ++i) {
    sql.parameter_types.push_back(type_of(table, entry.parameter_columns[i]));
    where += fmt::format("{} = ?{} AND ", column_sql("r", entry.parameter_columns[i]), i + 1);
  }
  where += fmt::format("{} AND {}", readable_sql("r", table.key_column()),
                       conditions_hold_sql("r", table, entry.conditions));
  const std::size_t next = entry.parameter_columns.size() + 1;
  const std::string name = quote_identifier(table.name);
  const std::string key = column_sql("r", table.key), version = column_sql("r", kVersionColumn);
  std::string columns = fmt::format("{}, {}", version, column_list(table, "r"));
  if (has_stamps(table)) columns += ", " + column_sql("r", kStampsColumn);
  // Naming the index makes a missing one an error instead of a page that sorts everything that is left.
  const std::string live_index = quote_identifier(live_index_name(table, entry));
  const auto live = [&](const std::string& list) {
    return fmt::format("SELECT {} FROM {} AS r INDEXED BY {} WHERE {} AND {} > ?{} AND {} <= ?{} ORDER BY {}, {}", list,
                       name, live_index, where, version, next, version, next + 1, version, key);
  };
  sql.live = live(columns);
  if (has_recent(domain, entry.table)) sql.live_recent = live(columns + ", " + column_sql("r", kRecentColumn));
  const std::string backfill_index = backfill_index_name(table, entry);
  const std::string from = backfill_index.empty()
                               ? fmt::format("FROM {} AS r", name)
                               : fmt::format("FROM {} AS r INDEXED BY {}", name, quote_identifier(backfill_index));
  sql.from_where = fmt::format("{} WHERE {}", from, where);
  sql.backfill = fmt::format("SELECT {} {} ORDER BY {}", columns, sql.from_where, key);
  sql.backfill_after = fmt::format("SELECT {} {} AND {} > ?{} ORDER BY {}", columns, sql.from_where, key, next, key);
  return sql;
}

}  // namespace

bool EntrySql::bind_values(sqlite::Statement& statement, const Bucket& bucket, int first) const {
  if (bucket.values.size() != parameter_types.size()) return false;
  for (std::size_t i = 0; i < parameter_types.size(); ++i) {
    const int index = first + static_cast<int>(i);
    if (!is_whole_number(parameter_types[i])) {
      statement.bind_text(index, bucket.values[i]);
      continue;
    }
    const auto number = canonical_number(bucket.values[i]);
    if (!number) return false;
    statement.bind(index, *number);
  }
  return true;
}

DomainSql::DomainSql(const CompiledDomain& domain) {
  const auto& definitions = domain.definitions();
  for (std::size_t d = 0; d < definitions.size(); ++d) {
    entries.emplace_back();
    for (const BucketTable& entry : definitions[d].tables) entries.back().push_back(entry_sql(domain, entry));
    grant_ids.push_back(definitions[d].is_static() ? std::string() : grant_definition_id(domain, d));
  }
  for (std::size_t t = 0; t < domain.tables().size(); ++t) {
    const TableDef& table = domain.table(t);
    TableSql sql;
    sql.has_stamps = has_stamps(table);
    sql.has_recent = has_recent(domain, t);
    std::string bucket_keys;
    for (std::size_t d = 0; d < definitions.size(); ++d) {
      for (const BucketTable& entry : definitions[d].tables) {
        if (entry.table != t) continue;
        if (!sql.buckets_of_key.empty()) sql.buckets_of_key += " UNION ALL ";
        sql.buckets_of_key += fmt::format("SELECT {}, r.nizhal_version FROM {} AS r WHERE {} = ?1 AND {}",
                                          bucket_key_sql(domain, d, entry, "r"), quote_identifier(table.name),
                                          column_sql("r", table.key), in_bucket_sql(domain, d, entry, "r"));
        sql.delivered_by.push_back(d);
        bucket_keys += fmt::format(", CASE WHEN {} THEN {} END", in_bucket_sql(domain, d, entry, "r"),
                                   bucket_key_sql(domain, d, entry, "r"));
      }
    }
    if (!sql.delivered_by.empty()) {
      const std::string version = column_sql("r", kVersionColumn), name = quote_identifier(table.name);
      std::string columns = column_list(table, "r");
      for (const std::string& column : merge_columns(domain, t)) columns += ", " + column_sql("r", column);
      const std::string list = fmt::format("SELECT {}, {}{} FROM {} AS r", version, columns, bucket_keys, name);
      const std::string readable = readable_sql("r", table.key_column());
      sql.changed = fmt::format("{} INDEXED BY {} WHERE {} > ?1 AND {} ORDER BY {} LIMIT ?2", list,
                                quote_identifier(version_index_name(table)), version, readable, version);
      sql.changed_row = fmt::format("{} WHERE {} = ?1 AND {}", list, column_sql("r", table.key), readable);
    }
    for (const ColumnDef& column : table.columns) {
      std::string name = sql.names.empty() ? "{" : ",";
      append_json_string(name, column.name);
      sql.names.push_back(name + ":");
    }
    tables.push_back(std::move(sql));
  }
}

void append_stored_row_json(std::string& out, const TableSql& sql, const TableDef& table,
                            const sqlite::Statement& statement, int first_column) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    out += sql.names[i];
    const ColumnType type = table.columns[i].type;
    append_value_json(out, type, statement.value(first_column + static_cast<int>(i), type));
  }
  out += '}';
}

void read_merge_columns(EncodedRow& row, const TableSql& sql, const sqlite::Statement& statement, int& next,
                        bool with_recent) {
  if (sql.has_stamps) row.stamps = bytes_at(statement, next++);
  if (sql.has_recent && with_recent) row.recent = bytes_at(statement, next++);
}

ScopeSql scope_sql(const CompiledDomain& domain, std::size_t table_index, const std::vector<Bucket>& buckets,
                   int first) {
  const TableDef& table = domain.table(table_index);
  ScopeSql scope;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d) {
    for (const BucketTable& entry : domain.definitions()[d].tables) {
      if (entry.table != table_index) continue;
      std::string values;
      for (const Bucket& bucket : buckets) {
        if (bucket.definition != d || bucket.values.size() != entry.parameter_columns.size()) continue;
        std::string tuple;
        bool fits = true;
        for (std::size_t i = 0; i < bucket.values.size(); ++i) {
          if (i > 0) tuple += ',';
          if (!is_whole_number(type_of(table, entry.parameter_columns[i])))
            append_json_string(tuple, bucket.values[i]);
          else if (const auto number = canonical_number(bucket.values[i]))
            append_json_number(tuple, *number);
          else
            fits = false;
        }
        if (!fits) continue;
        values += values.empty() ? "[" : ",";
        values += bucket.values.size() == 1 ? tuple : "[" + tuple + "]";
      }
      if (values.empty()) continue;
      const std::size_t parameter = static_cast<std::size_t>(first) + scope.parameters.size();
      std::string columns, elements;
      for (std::size_t i = 0; i < entry.parameter_columns.size(); ++i) {
        columns += (i > 0 ? ", " : "") + quote_identifier(entry.parameter_columns[i]);
        elements += fmt::format("{}json_extract(value, '$[{}]')", i > 0 ? ", " : "", i);
      }
      const std::string in = entry.parameter_columns.size() == 1
                                 ? fmt::format("{} IN (SELECT value FROM json_each(?{}))", columns, parameter)
                                 : fmt::format("({}) IN (SELECT {} FROM json_each(?{}))", columns, elements, parameter);
      scope.condition += fmt::format("{}({} AND {})", scope.condition.empty() ? "" : " OR ", in,
                                     conditions_hold_sql("", table, entry.conditions));
      scope.parameters.push_back(values + "]");
    }
  }
  scope.condition = scope.condition.empty() ? "0" : "(" + scope.condition + ")";
  return scope;
}

}  // namespace nizhal::storage
