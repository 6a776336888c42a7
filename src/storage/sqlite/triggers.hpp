// The triggers and indexes that the engine puts on synced tables. Plain SQL: whatever program writes a row, its
// version, the removals of the buckets that it left, and the grants that it gives are recorded in its transaction.
//
// The fact that must not break: a row that leaves a bucket, in whatever way, leaves a removal for that bucket. A
// removal too many is harmless, because removals are judged against the rows when they are read.
#pragma once

#include <string>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage {

/// A trigger or index with the text that sqlite_schema keeps of it.
struct SchemaObject {
  std::string name;
  std::string sql;
  bool operator==(const SchemaObject&) const = default;
};

/// `unique_keys`: the columns of the table's unique indexes besides the primary key. INSERT OR REPLACE deletes rows
/// that conflict on any of them, and deletes them without firing delete triggers.
std::vector<SchemaObject> triggers_of(const CompiledDomain& domain, std::size_t table,
                                      const std::vector<std::vector<std::string>>& unique_keys);

/// Indexes for live pulls, backfills, recent changes and grants.
std::vector<SchemaObject> indexes_of(const CompiledDomain& domain, std::size_t table);

/// Name of the index on (parameter columns, version, key) of a bucket's table, and of the one on (parameter columns,
/// key); the latter is empty where the primary key serves.
std::string live_index_name(const TableDef& table, const BucketTable& entry);
std::string backfill_index_name(const TableDef& table, const BucketTable& entry);
/// Name of the index on (version) of a delivered table.
std::string version_index_name(const TableDef& table);

/// Brings `nizhal_grant` in line with the membership rows, one statement after the other; what persists keeps its
/// version. For provisioning.
std::vector<std::string> recompute_grants_sql(const CompiledDomain& domain);

}  // namespace nizhal::storage
