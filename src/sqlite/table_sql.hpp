// Synced tables in SQLite: their DDL, and whole rows in and out. Shared by the server's storage and the device.
//
// How values are stored: text, uuid, numeric, date, json, timestamp as TEXT (timestamps in the 27-character form,
// so that text order is time order); integer, bigint, boolean (0/1) as INTEGER; real as REAL; blob as BLOB.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nizhal/query.hpp>
#include <nizhal/table.hpp>

#include "query/compiled_query.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::sqlite {

/// `"amount" INTEGER NOT NULL DEFAULT 0`; the key column has PRIMARY KEY NOT NULL.
std::string column_ddl(const TableDef& table, const ColumnDef& column);
/// CREATE TABLE with `extra_columns` (each a full column definition) after the declared ones.
std::string table_ddl(const TableDef& table, const std::vector<std::string>& extra_columns = {});

/// Reads the declared columns, which the statement selected first and in order.
Row read_row(const Statement& statement, const TableDef& table, int first_column = 0);
/// A result row of the statement that query_sql made.
Row read_result(const Statement& statement, const CompiledQuery& query);

[[nodiscard]] Result<std::optional<Row>> select_row(Connection& connection, const TableDef& table, const Value& key);
/// False: the key is taken, nothing was written.
[[nodiscard]] Result<bool> insert_row(Connection& connection, const TableDef& table, const Row& row);
/// Inserts or replaces all declared columns.
[[nodiscard]] Result<void> upsert_row(Connection& connection, const TableDef& table, const Row& row);
/// False: no such row.
[[nodiscard]] Result<bool> update_row(Connection& connection, const TableDef& table, const Value& key,
                                      const std::vector<std::pair<std::size_t, Value>>& changes);
[[nodiscard]] Result<bool> delete_row(Connection& connection, const TableDef& table, const Value& key);
/// The query's result rows. Errors: compile_query's, invalid_args for a sum that does not fit, and the file's.
[[nodiscard]] Result<std::vector<Row>> select_rows(Connection& connection, const QuerySpec& query,
                                                   std::string_view extra = {});
[[nodiscard]] Result<std::vector<Row>> select_rows(Connection& connection, const CompiledQuery& query,
                                                   std::string_view extra = {});

}  // namespace nizhal::sqlite
