// Synced tables in SQLite: DDL and whole rows.
#include "sqlite/table_sql.hpp"

#include <fmt/format.h>

#include <utility>

#include "query/to_sql.hpp"

namespace nizhal::sqlite {

namespace {

const char* storage_class(ColumnType type) {
  switch (type) {
    case ColumnType::text:
    case ColumnType::uuid:
    case ColumnType::numeric:
    case ColumnType::timestamp:
    case ColumnType::date:
    case ColumnType::json:
      return "TEXT";
    case ColumnType::integer:
    case ColumnType::boolean:
    case ColumnType::bigint:
      return "INTEGER";
    case ColumnType::real:
      return "REAL";
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return "BLOB";
  }
  return "BLOB";
}

// These texts are made for every row that is written, so they are put together with nothing but appending.

void append_name(std::string& sql, std::string_view name) {
  sql += '"';
  for (const char character : name) {
    if (character == '"') sql += '"';
    sql += character;
  }
  sql += '"';
}

void append_parameter(std::string& sql, std::size_t number) {
  sql += '?';
  if (number >= 10) return void(sql += std::to_string(number));
  sql += static_cast<char>('0' + number);
}

void append_columns(std::string& sql, const TableDef& table) {
  bool first = true;
  for (const ColumnDef& column : table.columns) {
    if (!std::exchange(first, false)) sql += ", ";
    append_name(sql, column.name);
  }
}

/// Ends with `ON CONFLICT ("key") DO `.
std::string insert_sql(const TableDef& table) {
  std::string sql;
  sql.reserve(128 + 40 * table.columns.size());
  sql += "INSERT INTO ";
  append_name(sql, table.name);
  sql += " (";
  append_columns(sql, table);
  sql += ") VALUES (";
  for (std::size_t i = 1; i <= table.columns.size(); ++i) {
    if (i > 1) sql += ", ";
    append_parameter(sql, i);
  }
  sql += ") ON CONFLICT (";
  append_name(sql, table.key);
  sql += ") DO ";
  return sql;
}

void append_key_condition(std::string& sql, const TableDef& table, std::size_t parameter) {
  sql += " WHERE ";
  append_name(sql, table.key);
  sql += " = ";
  append_parameter(sql, parameter);
}

/// True when the statement changed a row.
Result<bool> run_row_statement(Connection& connection, const TableDef& table, const std::string& sql, const Row& row) {
  if (row.size() != table.columns.size()) {
    return failure(ErrorCode::internal, fmt::format("a row of {} has {} values for {} columns", table.name, row.size(),
                                                    table.columns.size()));
  }
  auto statement = connection.prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  for (std::size_t i = 0; i < row.size(); ++i)
    statement->bind_borrowed(static_cast<int>(i) + 1, table.columns[i].type, row[i]);
  if (auto done = statement->run(); !done) return tl::unexpected(done.error());
  return connection.changes() > 0;
}

}  // namespace

std::string column_ddl(const TableDef& table, const ColumnDef& column) {
  std::string ddl = fmt::format("{} {}", quote_identifier(column.name), storage_class(column.type));
  if (column.name == table.key) {
    ddl += " PRIMARY KEY NOT NULL";
  } else if (!column.nullable) {
    ddl += " NOT NULL";
  }
  if (column.default_value)
    ddl += fmt::format(" DEFAULT {}", sql_literal(Dialect::sqlite, column.type, *column.default_value));
  return ddl;
}

std::string table_ddl(const TableDef& table, const std::vector<std::string>& extra_columns) {
  std::string columns;
  const auto add = [&](const std::string& definition) {
    if (!columns.empty()) columns += ", ";
    columns += definition;
  };
  for (const ColumnDef& column : table.columns) add(column_ddl(table, column));
  for (const std::string& extra : extra_columns) add(extra);
  return fmt::format("CREATE TABLE {} ({})", quote_identifier(table.name), columns);
}

Row read_row(const Statement& statement, const TableDef& table, int first_column) {
  Row row;
  row.reserve(table.columns.size());
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    row.push_back(statement.value(first_column + static_cast<int>(i), table.columns[i].type));
  return row;
}

Row read_result(const Statement& statement, const CompiledQuery& query) {
  Row row;
  row.reserve(query.columns.size());
  for (std::size_t i = 0; i < query.columns.size(); ++i)
    row.push_back(statement.value(static_cast<int>(i), query.columns[i].type));
  return row;
}

Result<std::optional<Row>> select_row(Connection& connection, const TableDef& table, const Value& key) {
  std::string sql = "SELECT ";
  append_columns(sql, table);
  sql += " FROM ";
  append_name(sql, table.name);
  append_key_condition(sql, table, 1);
  auto statement = connection.prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_value(1, table.key_column().type, key);
  const auto found = statement->step();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<Row>{};
  return std::optional<Row>(read_row(*statement, table));
}

Result<bool> insert_row(Connection& connection, const TableDef& table, const Row& row) {
  return run_row_statement(connection, table, insert_sql(table).append("NOTHING"), row);
}

Result<void> upsert_row(Connection& connection, const TableDef& table, const Row& row) {
  std::string sql = insert_sql(table);
  bool first = true;
  for (const ColumnDef& column : table.columns) {
    if (column.name == table.key) continue;
    sql += std::exchange(first, false) ? "UPDATE SET " : ", ";
    append_name(sql, column.name);
    sql += " = excluded.";
    append_name(sql, column.name);
  }
  if (first) sql += "NOTHING";
  if (auto done = run_row_statement(connection, table, sql, row); !done) return tl::unexpected(done.error());
  return {};
}

Result<bool> update_row(Connection& connection, const TableDef& table, const Value& key,
                        const std::vector<std::pair<std::size_t, Value>>& changes) {
  if (changes.empty()) {
    const auto row = select_row(connection, table, key);
    if (!row) return tl::unexpected(row.error());
    return row->has_value();
  }
  std::string sql = "UPDATE ";
  append_name(sql, table.name);
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].first >= table.columns.size())
      return failure(ErrorCode::internal,
                     fmt::format("table {} has no column number {}", table.name, changes[i].first));
    sql += i == 0 ? " SET " : ", ";
    append_name(sql, table.columns[changes[i].first].name);
    sql += " = ";
    append_parameter(sql, i + 1);
  }
  append_key_condition(sql, table, changes.size() + 1);
  auto statement = connection.prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  for (std::size_t i = 0; i < changes.size(); ++i)
    statement->bind_value(static_cast<int>(i) + 1, table.columns[changes[i].first].type, changes[i].second);
  statement->bind_value(static_cast<int>(changes.size()) + 1, table.key_column().type, key);
  if (auto done = statement->run(); !done) return tl::unexpected(done.error());
  return connection.changes() > 0;
}

Result<bool> delete_row(Connection& connection, const TableDef& table, const Value& key) {
  std::string sql = "DELETE FROM ";
  append_name(sql, table.name);
  append_key_condition(sql, table, 1);
  auto statement = connection.prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_value(1, table.key_column().type, key);
  if (auto done = statement->run(); !done) return tl::unexpected(done.error());
  return connection.changes() > 0;
}

Result<std::vector<Row>> select_rows(Connection& connection, const CompiledQuery& query, std::string_view extra) {
  const auto sql = query_sql(Dialect::sqlite, query, extra);
  if (!sql) return tl::unexpected(sql.error());
  auto statement = connection.prepare(sql->text);
  if (!statement) return tl::unexpected(statement.error());
  for (std::size_t i = 0; i < sql->parameters.size(); ++i)
    statement->bind_value(static_cast<int>(i) + 1, sql->parameters[i].type, sql->parameters[i].value);
  std::vector<Row> rows;
  for (;;) {
    const auto found = statement->step();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return rows;
    rows.push_back(read_result(*statement, query));
  }
}

Result<std::vector<Row>> select_rows(Connection& connection, const QuerySpec& query, std::string_view extra) {
  const auto compiled = compile_query(query);
  if (!compiled) return tl::unexpected(compiled.error());
  return select_rows(connection, *compiled, extra);
}

}  // namespace nizhal::sqlite
