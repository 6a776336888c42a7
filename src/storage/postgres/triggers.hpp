// The functions, triggers and indexes that the engine puts on synced tables. Plain PL/pgSQL: whatever program writes a
// row, with whatever rights on the table, its version, the removals of the buckets that it left, and the grants that it
// gives are recorded in its transaction.
//
// The fact that must not break: a row that leaves a bucket, in whatever way, leaves a removal for that bucket. A
// removal too many is harmless, because removals are judged against the rows when they are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage::postgres_schema {

/// A trigger function of one table, in the schema `nizhal`: no arguments, PL/pgSQL, SECURITY DEFINER, with
/// search_path = pg_catalog, pg_temp.
struct TriggerFunction {
  std::string name;
  std::string body;
  std::string create_sql() const;  // CREATE OR REPLACE
};

/// A trigger as the catalog has it.
struct TableTrigger {
  std::string name;
  std::string function;  // in the schema `nizhal`
  int type = 0;          // pg_trigger.tgtype
  std::string create_sql(std::string_view schema, std::string_view table) const;
};

/// A plain btree index of one table. Columns are the table's; a text key is indexed by bytes.
struct TableIndex {
  std::string name;
  std::vector<std::string> columns;
  std::vector<bool> by_bytes;  // COLLATE "C"
  std::string create_sql(std::string_view schema, std::string_view table, bool concurrently) const;
};

/// `"schema"."table"`; `"table"` where the schema is empty.
std::string qualified(std::string_view schema, std::string_view table);

/// Whether the engine keeps its column and triggers on the table: it is delivered, or memberships are read from it.
bool is_versioned(const CompiledDomain& domain, std::size_t table);

/// The function of a table that merges, in place of nizhal.stamp().
std::string merge_function_name(std::string_view table);
/// Names of all trigger functions that a table of that name may have.
std::vector<std::string> function_names(std::string_view table);
std::vector<TriggerFunction> functions_of(const CompiledDomain& domain, std::size_t table);
std::vector<TableTrigger> triggers_of(const CompiledDomain& domain, std::size_t table);
/// Indexes for live pulls and backfills.
std::vector<TableIndex> indexes_of(const CompiledDomain& domain, std::size_t table);

/// Name of the index on (parameter columns, version, key) of a bucket's table, and of the one on (parameter columns,
/// key); the latter is empty where the primary key serves.
std::string live_index_name(const TableDef& table, const BucketTable& entry);
std::string backfill_index_name(const TableDef& table, const BucketTable& entry);

/// Membership definitions (grant_definition_id) that the table's triggers count, sorted.
std::vector<std::string> grant_definitions_of(const CompiledDomain& domain, std::size_t table);
/// Counts the grants of one of them afresh from all rows that count as counted. To be run where no row of the table can
/// change and nothing of the definition is counted yet.
std::string count_grants_sql(const CompiledDomain& domain, std::size_t table, std::string_view definition_id,
                             std::string_view schema);

/// Tells two sets of triggers and functions apart, whatever the order.
std::string trigger_digest(const std::vector<TableTrigger>& triggers, const std::vector<TriggerFunction>& functions);

}  // namespace nizhal::storage::postgres_schema
