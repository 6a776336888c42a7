// The engine's columns on tables that merge, beside the one of versions: when each column of a row was last edited
// (FieldStamps as text), and its updates of late (bytes). Only tables that need them have them.
//
// The fact that must not break: a column that is there has been kept by the table's triggers ever since. One that was
// left behind by another shape of the domain is made anew before it is trusted.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage {

inline constexpr const char* kStampsColumn = "nizhal_stamps";
inline constexpr const char* kRecentColumn = "nizhal_recent";

/// Tables with Merge::Field.
bool has_stamps(const TableDef& table);
/// Delivered tables with CRDT columns: of others nobody pulls.
bool has_recent(const CompiledDomain& domain, std::size_t table);
inline bool merges(const CompiledDomain& domain, std::size_t table) {
  return has_stamps(domain.table(table)) || has_recent(domain, table);
}
/// Those of the table, in the order in which it has them: stamps, recent.
std::vector<std::string> merge_columns(const CompiledDomain& domain, std::size_t table);

/// The columns that have stamps: all but the key and those that merge by themselves.
std::vector<std::string> stamped_columns(const TableDef& table);
/// The columns on which recent updates rest: the key, CRDT columns, and those that decide about the row's buckets.
std::vector<std::string> columns_of_recent(const CompiledDomain& domain, std::size_t table);

}  // namespace nizhal::storage
