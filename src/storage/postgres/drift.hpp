// How a live database differs from the plan of a domain, told so that a person can act on it. A user's own triggers,
// indexes, columns and tables are no difference.
//
// The fact that must not break: what is told as additive, apply() mends; what is told as breaking, it mends when it is
// allowed to; all else needs a person first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "storage/migrator.hpp"
#include "storage/postgres/live_schema.hpp"
#include "storage/postgres/triggers.hpp"

namespace nizhal::storage::postgres_schema {

/// pg_proc.proconfig of functions that set their search path.
inline constexpr const char* kFunctionSettings = "search_path=pg_catalog, pg_temp";
/// LiveSequence::settings of a sequence that is right, and what makes one right.
inline constexpr const char* kSequenceSettings = "bigint 1 1 9223372036854775807 1 f";
inline constexpr const char* kMendSequence =
    "ALTER SEQUENCE nizhal.version_seq AS bigint INCREMENT 1 MINVALUE 1 NO MAXVALUE CACHE 1 NO CYCLE";

/// `format`: what this program takes for the newest format.
std::vector<Difference> differences_of(const CompiledDomain& domain, const LiveSchema& live, std::int64_t format);

/// Only what stands before any migration: another domain's database, a newer format, no UTF-8, …
std::vector<Difference> obstacles_of(const CompiledDomain& domain, const LiveSchema& live, std::int64_t format);

/// One line per difference, each with its fix.
std::string text_of(const std::vector<Difference>& differences);

/// What the live table has of the engine's triggers, in the words of the plan; whatever is not plain differs from it.
std::vector<TableTrigger> live_triggers(const LiveTable& table);
std::vector<TriggerFunction> live_functions(const LiveSchema& live, std::string_view table);

/// True when the index does for the planned one of its name.
bool serves_as(const LiveIndex& live, const TableIndex& planned);
/// Whether the engine has columns of that name on synced tables.
bool is_engine_column(std::string_view name);
/// Names of the engine's indexes start with it.
bool is_engine_index(std::string_view name);

/// "integer null", as nizhal.synced_table has it.
std::string recorded_type(const ColumnDef& column);
/// True when values of the type can live in a column of the database's type.
bool fits(ColumnType type, std::string_view stored);
/// A value for rows that have none, where null is not allowed.
std::string zero_sql(ColumnType type);
/// `ALTER TABLE … ALTER COLUMN … TYPE …`, converting what is there.
std::string retype_sql(std::string_view schema, const TableDef& table, const ColumnDef& column,
                       std::string_view stored);

}  // namespace nizhal::storage::postgres_schema
