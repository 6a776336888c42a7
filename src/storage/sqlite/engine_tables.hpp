// The engine's own tables in a server's SQLite file, and the engine's column on delivered tables. Those of tables that
// merge: storage/merge_columns.hpp.
//
//   nizhal_state     one row: the epoch, the domain's name, the commit counter, what is pruned
//   nizhal_schema    what was provisioned, per synced table
//   nizhal_removal   tombstones and exits, one per bucket that a row was in
//   nizhal_grant     who has which bucket through a membership table, and since which version
//   nizhal_grant_change  whose grants a commit changed, for some time
//   nizhal_replaced  grants of rows that a statement may be replacing, until the row that replaces them is there
//   nizhal_client    per client id the last mutation; kept for ever
//   nizhal_mutation  outcomes of handled mutations, for their retention
//   nizhal_id_map, nizhal_audit, nizhal_counter
#pragma once

#include <cstdint>
#include <string>

namespace nizhal::storage {

/// Format of these tables. History: 1 (0.1.0) first; 2 whose grants changed, what is pruned of changes; 3 conflicts of
/// mutations, how far recent updates are emptied.
inline constexpr std::int64_t kEngineFormat = 3;

/// The engine's column on delivered tables: the version that last changed the row.
inline constexpr const char* kVersionColumn = "nizhal_version";

/// Creates all of them, as one script.
std::string engine_tables_sql();

/// Brings format `from` to the next one; empty: this program knows no way.
std::string from_format_sql(std::int64_t from);

}  // namespace nizhal::storage
