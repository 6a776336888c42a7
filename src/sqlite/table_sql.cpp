// Synced tables in SQLite: DDL and whole rows.
#include "sqlite/table_sql.hpp"

#include <fmt/format.h>

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

/// `?1, ?2, …`
std::string placeholders(std::size_t count) {
  std::string list;
  for (std::size_t i = 1; i <= count; ++i) list += fmt::format("{}?{}", i == 1 ? "" : ", ", i);
  return list;
}

std::string insert_sql(const TableDef& table) {
  return fmt::format("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO ", quote_identifier(table.name),
                     column_list(table), placeholders(table.columns.size()), quote_identifier(table.key));
}

std::string key_condition(const TableDef& table, std::size_t parameter) {
  return fmt::format("{} = ?{}", quote_identifier(table.key), parameter);
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
    statement->bind_value(static_cast<int>(i) + 1, table.columns[i].type, row[i]);
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
  auto statement = connection.prepare(fmt::format("SELECT {} FROM {} WHERE {}", column_list(table),
                                                  quote_identifier(table.name), key_condition(table, 1)));
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_value(1, table.key_column().type, key);
  const auto found = statement->step();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<Row>{};
  return std::optional<Row>(read_row(*statement, table));
}

Result<bool> insert_row(Connection& connection, const TableDef& table, const Row& row) {
  return run_row_statement(connection, table, insert_sql(table) + "NOTHING", row);
}

Result<void> upsert_row(Connection& connection, const TableDef& table, const Row& row) {
  std::string assignments;
  for (const ColumnDef& column : table.columns) {
    if (column.name == table.key) continue;
    const std::string name = quote_identifier(column.name);
    assignments += fmt::format("{}{} = excluded.{}", assignments.empty() ? "" : ", ", name, name);
  }
  const std::string action = assignments.empty() ? "NOTHING" : "UPDATE SET " + assignments;
  if (auto done = run_row_statement(connection, table, insert_sql(table) + action, row); !done)
    return tl::unexpected(done.error());
  return {};
}

Result<bool> update_row(Connection& connection, const TableDef& table, const Value& key,
                        const std::vector<std::pair<std::size_t, Value>>& changes) {
  if (changes.empty()) {
    const auto row = select_row(connection, table, key);
    if (!row) return tl::unexpected(row.error());
    return row->has_value();
  }
  std::string assignments;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].first >= table.columns.size())
      return failure(ErrorCode::internal,
                     fmt::format("table {} has no column number {}", table.name, changes[i].first));
    assignments +=
        fmt::format("{}{} = ?{}", i == 0 ? "" : ", ", quote_identifier(table.columns[changes[i].first].name), i + 1);
  }
  auto statement = connection.prepare(fmt::format("UPDATE {} SET {} WHERE {}", quote_identifier(table.name),
                                                  assignments, key_condition(table, changes.size() + 1)));
  if (!statement) return tl::unexpected(statement.error());
  for (std::size_t i = 0; i < changes.size(); ++i)
    statement->bind_value(static_cast<int>(i) + 1, table.columns[changes[i].first].type, changes[i].second);
  statement->bind_value(static_cast<int>(changes.size()) + 1, table.key_column().type, key);
  if (auto done = statement->run(); !done) return tl::unexpected(done.error());
  return connection.changes() > 0;
}

Result<bool> delete_row(Connection& connection, const TableDef& table, const Value& key) {
  auto statement =
      connection.prepare(fmt::format("DELETE FROM {} WHERE {}", quote_identifier(table.name), key_condition(table, 1)));
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
