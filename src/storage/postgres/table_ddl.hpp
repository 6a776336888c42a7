// The DDL of synced tables in PostgreSQL, and the whole plan: what an empty database is given for a domain.
//
// The fact that must not break: the plan is the same text for the same domain, whatever the database, so that it can be
// committed and compared.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage::postgres_schema {

/// "text", "timestamp with time zone", …, as format_type() says them.
const char* type_sql(ColumnType type);

/// A constant of that type in DDL.
std::string constant_sql(ColumnType type, const Value& value);

/// `"amount" integer NOT NULL DEFAULT 0`; the key column has PRIMARY KEY.
std::string column_ddl(const TableDef& table, const ColumnDef& column);
/// `"nizhal_version" bigint NOT NULL DEFAULT 0`.
std::string version_column_ddl();
/// CREATE TABLE with the engine's column where the table has one.
std::string table_ddl(const CompiledDomain& domain, std::size_t table, std::string_view schema);

/// What nizhal.synced_table remembers of the declared columns: {"id":"text","shelf":"integer null"}.
std::string columns_record(const TableDef& table);
/// Writes the row of nizhal.synced_table for a table whose triggers are in place.
std::string record_sql(const CompiledDomain& domain, std::size_t table, bool ready);

/// The state's row. `epoch` is an expression.
std::string state_sql(const CompiledDomain& domain, std::string_view epoch);

/// What belongs to one table that is not there yet, in order.
std::vector<std::string> create_table_sql(const CompiledDomain& domain, std::size_t table, std::string_view schema);

/// Everything that an empty database is given, statement by statement. `epoch` is an expression.
std::vector<std::string> create_all(const CompiledDomain& domain, std::string_view schema, std::string_view epoch);

/// create_all as a script with comments, one transaction. Tables are created in the first schema of the search path of
/// whoever runs it.
std::string plan_text(const CompiledDomain& domain);

}  // namespace nizhal::storage::postgres_schema
