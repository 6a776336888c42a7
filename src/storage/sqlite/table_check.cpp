#include "storage/sqlite/table_check.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>

#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/sqlite/engine_tables.hpp"

namespace nizhal::storage {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

enum class Affinity { text, numeric, integer, real, blob };

/// SQLite's rules ("Determination Of Column Affinity", datatype3).
Affinity affinity_of(std::string_view declared_type) {
  const std::string type = lower_case(declared_type);
  const auto has = [&type](std::string_view part) { return type.find(part) != std::string::npos; };
  if (has("int")) return Affinity::integer;
  if (has("char") || has("clob") || has("text")) return Affinity::text;
  if (has("blob") || type.empty()) return Affinity::blob;
  if (has("real") || has("floa") || has("doub")) return Affinity::real;
  // In a STRICT table ANY keeps what it is given, as BLOB does.
  if (type == "any") return Affinity::blob;
  return Affinity::numeric;
}

/// Whether values of the type survive being stored in a column of that affinity.
bool fits(ColumnType type, Affinity affinity) {
  switch (type) {
    case ColumnType::text:
    case ColumnType::uuid:
    case ColumnType::numeric:
    case ColumnType::json:
      return affinity == Affinity::text;
    // Their text does not look like a number, so numeric affinity (DATE, DATETIME) leaves it alone.
    case ColumnType::timestamp:
    case ColumnType::date:
      return affinity == Affinity::text || affinity == Affinity::numeric;
    case ColumnType::integer:
    case ColumnType::bigint:
    case ColumnType::boolean:
      return affinity == Affinity::integer || affinity == Affinity::numeric;
    case ColumnType::real:
      return affinity == Affinity::real || affinity == Affinity::numeric;
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return affinity == Affinity::blob;
  }
  return false;
}

tl::unexpected<Error> mismatch(const TableDef& table, std::string_view column, std::string_view what) {
  return failure(ErrorCode::schema_mismatch, fmt::format("column \"{}\" of table \"{}\" {}", column, table.name, what));
}

bool same_name(std::string_view left, std::string_view right) { return lower_case(left) == lower_case(right); }

Result<void> check_column(const TableDef& table, const ColumnDef& column, const StoredColumn& stored) {
  const bool is_key = column.name == table.key;
  if (stored.name != column.name)
    return mismatch(table, column.name,
                    fmt::format("is called \"{}\" in the database; declare it in that spelling", stored.name));
  if (stored.is_generated)
    return mismatch(table, column.name, "is generated in the database; leave it out of the domain");
  if (!fits(column.type, affinity_of(stored.declared_type)))
    return mismatch(table, column.name,
                    fmt::format("is {} in the domain but \"{}\" in the database; declare the stored type, or add a "
                                "column under another name and copy the values",
                                to_string(column.type), stored.declared_type));
  if (lower_case(stored.collation) != "binary")
    return mismatch(table, column.name,
                    fmt::format("has the collation {} in the database; keys, buckets and queries compare bytes, so "
                                "rebuild the table without COLLATE",
                                stored.collation));
  if (is_key != stored.is_key)
    return mismatch(table, column.name,
                    is_key ? "is the key in the domain but not the primary key in the database; they must be the same "
                             "single column"
                           : "is in the primary key of the database but not the key in the domain; the key must be "
                             "the same single column");
  if (is_key) return {};
  if (column.nullable && stored.not_null && !stored.has_default)
    return mismatch(table, column.name,
                    "may be null in the domain but is NOT NULL in the database; declare it without std::optional, or "
                    "rebuild the table without NOT NULL");
  if (!column.nullable && !stored.not_null)
    return mismatch(table, column.name,
                    "is never null in the domain but may be null in the database; declare it as std::optional, or "
                    "rebuild the table with NOT NULL");
  return {};
}

}  // namespace

bool is_engine_column(std::string_view name) {
  return name == kVersionColumn || name == kStampsColumn || name == kRecentColumn;
}

Result<void> check_engine_column(const TableDef& table, const StoredColumn& stored, std::string_view ddl) {
  const bool is_ours = stored.not_null && stored.has_default && !stored.is_generated &&
                       ddl.starts_with(fmt::format("{} {} ", stored.name, stored.declared_type));
  if (is_ours) return {};
  return mismatch(table, stored.name,
                  fmt::format("is not the engine's ({}); ALTER TABLE {} DROP COLUMN {}, then migrate", ddl,
                              quote_identifier(table.name), stored.name));
}

const StoredColumn* StoredTable::find(std::string_view name) const {
  for (const StoredColumn& column : columns)
    if (same_name(column.name, name)) return &column;
  return nullptr;
}

Result<StoredTable> read_stored_table(sqlite::Connection& connection, const std::string& table) {
  StoredTable stored;
  {
    auto statement = connection.prepare(
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?1)");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind_text(1, table);
    for (;;) {
      const auto row = statement->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) break;
      StoredColumn column;
      column.name = std::string(statement->text(0));
      column.declared_type = std::string(statement->text(1));
      column.not_null = statement->integer(2) != 0;
      column.has_default = statement->integer(3) != 0;
      column.is_key = statement->integer(4) != 0;
      column.is_generated = statement->integer(5) != 0;
      const char* collation = nullptr;
      if (sqlite3_table_column_metadata(connection.handle(), "main", table.c_str(), column.name.c_str(), nullptr,
                                        &collation, nullptr, nullptr, nullptr) == SQLITE_OK &&
          collation != nullptr)
        column.collation = collation;
      else
        column.collation = "BINARY";
      stored.columns.push_back(std::move(column));
    }
  }
  auto statement = connection.prepare(
      "SELECT l.name, i.name FROM pragma_index_list(?1) AS l JOIN pragma_index_info(l.name) AS i "
      "WHERE l.\"unique\" = 1 AND l.origin <> 'pk' ORDER BY l.name, i.seqno");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, table);
  std::string index;
  bool usable = false;
  const auto finish = [&] {
    if (index.empty() || usable) return;
    stored.has_unique_expression = true;
    stored.unique_keys.pop_back();
  };
  for (;;) {
    const auto row = statement->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) break;
    if (statement->text(0) != index) {
      finish();
      index = std::string(statement->text(0));
      usable = true;
      stored.unique_keys.emplace_back();
    }
    if (statement->is_null(1))
      usable = false;
    else
      stored.unique_keys.back().emplace_back(statement->text(1));
  }
  finish();
  return stored;
}

Result<std::vector<std::size_t>> missing_columns(const TableDef& table, const StoredTable& stored,
                                                 const std::vector<std::string>& recorded, bool has_rows) {
  std::vector<std::size_t> missing;
  for (const std::string& name : recorded) {
    if (table.index_of(name) != TableDef::npos || stored.find(name) == nullptr) continue;
    return mismatch(table, name,
                    "is in the database but no longer declared; declare it again under this name, or drop it from the "
                    "database when its values may go");
  }
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const ColumnDef& column = table.columns[i];
    const StoredColumn* found = stored.find(column.name);
    if (found != nullptr) {
      if (auto checked = check_column(table, column, *found); !checked) return tl::unexpected(checked.error());
      continue;
    }
    if (column.name == table.key)
      return mismatch(table, column.name, "is the key in the domain but missing in the database");
    if (std::find(recorded.begin(), recorded.end(), column.name) != recorded.end())
      return mismatch(
          table, column.name,
          "was provisioned before and is missing in the database; add it again or remove it from the domain");
    if (!column.nullable && !column.default_value && has_rows)
      return mismatch(table, column.name,
                      "is missing in the database and has neither a default nor std::optional, so the existing rows "
                      "would have no value; declare a default_value or make it std::optional");
    missing.push_back(i);
  }
  for (const StoredColumn& column : stored.columns) {
    if (is_engine_column(column.name) || table.index_of(column.name) != TableDef::npos) continue;
    if (column.is_key) return mismatch(table, column.name, "is in the primary key of the database but not declared");
    if (column.not_null && !column.has_default && !column.is_generated)
      return mismatch(table, column.name,
                      "is NOT NULL without a default in the database and not declared, so no row could be inserted; "
                      "declare it, or give it a default");
  }
  return missing;
}

}  // namespace nizhal::storage
