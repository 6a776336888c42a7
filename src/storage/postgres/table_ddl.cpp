#include "storage/postgres/table_ddl.hpp"

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/merge_triggers.hpp"
#include "storage/postgres/triggers.hpp"

namespace nizhal::storage::postgres_schema {

const char* type_sql(ColumnType type) {
  // As the catalogs' format_type() says it.
  return type == ColumnType::timestamp ? "timestamp with time zone" : postgres_type(type);
}

std::string constant_sql(ColumnType type, const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return text_literal(*text);
  if (const auto* blob = std::get_if<Blob>(&value)) return text_literal("\\x" + to_hex(blob->bytes)) + "::bytea";
  return sql_literal(Dialect::postgres, type, value);
}

std::string column_ddl(const TableDef& table, const ColumnDef& column) {
  std::string ddl = fmt::format("{} {}", quote_identifier(column.name), type_sql(column.type));
  if (column.name == table.key)
    ddl += " PRIMARY KEY";
  else if (!column.nullable)
    ddl += " NOT NULL";
  if (column.default_value && !is_null(*column.default_value))
    ddl += " DEFAULT " + constant_sql(column.type, *column.default_value);
  return ddl;
}

std::string version_column_ddl() { return fmt::format("{} bigint NOT NULL DEFAULT 0", kVersionColumn); }

std::string table_ddl(const CompiledDomain& domain, std::size_t table, std::string_view schema) {
  const TableDef& def = domain.table(table);
  std::string columns;
  const auto add = [&columns](const std::string& definition) {
    columns += (columns.empty() ? "\n  " : ",\n  ") + definition;
  };
  for (const ColumnDef& column : def.columns) add(column_ddl(def, column));
  if (is_versioned(domain, table)) add(version_column_ddl());
  for (const std::string& column : merge_columns(domain, table)) add(merge_column_ddl(column));
  return fmt::format("CREATE TABLE {} ({}\n)", qualified(schema, def.name), columns);
}

std::string columns_record(const TableDef& table) {
  std::string text = "{";
  for (const ColumnDef& column : table.columns) {
    if (text.size() > 1) text += ',';
    append_json_string(text, column.name);
    text += ':';
    append_json_string(text, std::string(to_string(column.type)) + (column.nullable ? " null" : ""));
  }
  return text + "}";
}

std::string record_sql(const CompiledDomain& domain, std::size_t table, bool ready) {
  std::string definitions;
  for (const std::string& id : grant_definitions_of(domain, table))
    definitions += (definitions.empty() ? "" : " ") + id;
  const bool delivered = domain.is_delivered(table);
  return fmt::format(
      "INSERT INTO nizhal.synced_table AS t (table_name, columns, delivered, was_delivered, triggers, definitions, "
      "ready)\nVALUES ({}, {}, {}, {}, {}, {}, {})\n"
      "ON CONFLICT (table_name) DO UPDATE SET columns = excluded.columns, delivered = excluded.delivered, "
      "was_delivered = excluded.was_delivered OR t.was_delivered, triggers = excluded.triggers, "
      "definitions = excluded.definitions, ready = excluded.ready",
      text_literal(domain.table(table).name), text_literal(columns_record(domain.table(table))), delivered, delivered,
      text_literal(trigger_digest(triggers_of(domain, table), functions_of(domain, table))), text_literal(definitions),
      ready);
}

std::string state_sql(const CompiledDomain& domain, std::string_view epoch) {
  return fmt::format("INSERT INTO nizhal.state (domain, format, epoch) VALUES ({}, {}, {})",
                     text_literal(domain.domain().name()), kFormat, epoch);
}

std::vector<std::string> create_table_sql(const CompiledDomain& domain, std::size_t table, std::string_view schema) {
  const std::string& name = domain.table(table).name;
  std::vector<std::string> statements{table_ddl(domain, table, schema)};
  for (const TableIndex& index : indexes_of(domain, table)) statements.push_back(index.create_sql(schema, name, false));
  for (const TriggerFunction& function : functions_of(domain, table)) statements.push_back(function.create_sql());
  for (const TableTrigger& trigger : triggers_of(domain, table)) statements.push_back(trigger.create_sql(schema, name));
  statements.push_back(record_sql(domain, table, true));
  return statements;
}

std::vector<std::string> create_all(const CompiledDomain& domain, std::string_view schema, std::string_view epoch) {
  std::vector<std::string> statements = engine_ddl(domain.domain().name());
  statements.push_back(state_sql(domain, epoch));
  for (std::size_t i = 0; i < domain.tables().size(); ++i)
    for (std::string& sql : create_table_sql(domain, i, schema)) statements.push_back(std::move(sql));
  return statements;
}

std::string plan_text(const CompiledDomain& domain) {
  std::string text = fmt::format(
      "-- What PostgreSQL is given for the domain \"{0}\", format {1}: the engine's schema `nizhal`, and the synced\n"
      "-- tables with their indexes and triggers. `nizhal migrate` gives an empty database the same; it extends one\n"
      "-- that is there step by step instead. Synced tables go into the first schema of the search path.\n"
      "BEGIN;\n",
      domain.domain().name(), kFormat);
  const auto add = [&text](const std::vector<std::string>& statements) {
    for (const std::string& sql : statements) text += "\n" + sql + ";\n";
  };
  text += "\n-- The engine's own objects\n";
  add(engine_ddl(domain.domain().name()));
  add({state_sql(domain, "gen_random_uuid()::text")});
  for (std::size_t i = 0; i < domain.tables().size(); ++i) {
    const char* role = domain.is_delivered(i)    ? "delivered to devices"
                       : domain.is_membership(i) ? "grants buckets, not delivered"
                                                 : "on the server only";
    text += fmt::format("\n-- Table \"{}\": {}\n", domain.table(i).name, role);
    add(create_table_sql(domain, i, ""));
  }
  return text + "\nCOMMIT;\n";
}

}  // namespace nizhal::storage::postgres_schema
