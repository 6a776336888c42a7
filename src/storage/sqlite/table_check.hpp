// How a table in the file differs from its declaration: read with PRAGMAs, judged column by column.
#pragma once

#include <string>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

#include "sqlite/connection.hpp"

namespace nizhal::storage {

struct StoredColumn {
  std::string name;
  std::string declared_type;
  std::string collation;
  bool not_null = false;
  bool has_default = false;
  bool is_generated = false;
  bool is_key = false;  // part of the primary key
};

struct StoredTable {
  std::vector<StoredColumn> columns;
  std::vector<std::vector<std::string>> unique_keys;  // besides the primary key
  bool has_unique_expression = false;                 // a unique index on an expression
  const StoredColumn* find(std::string_view name) const;
};

/// Whether the engine has columns of that name on synced tables.
bool is_engine_column(std::string_view name);
/// Fails with schema_mismatch when the column is not as its definition says.
Result<void> check_engine_column(const TableDef& table, const StoredColumn& stored, std::string_view ddl);

Result<StoredTable> read_stored_table(sqlite::Connection& connection, const std::string& table);

/// Fails with schema_mismatch on the first difference that cannot be made good by adding a column; gives the
/// positions of the declared columns that are to be added. `recorded`: the columns declared at the last
/// provisioning, empty when the table was not ours.
Result<std::vector<std::size_t>> missing_columns(const TableDef& table, const StoredTable& stored,
                                                 const std::vector<std::string>& recorded, bool has_rows);

}  // namespace nizhal::storage
