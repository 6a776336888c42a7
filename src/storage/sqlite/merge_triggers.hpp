// The triggers that keep the engine's columns of tables that merge (storage/merge_columns.hpp) when another program
// writes: what it changed is stamped with the time of the change, and recent updates that do not tell of it are
// dropped.
//
// The fact that must not break: a write of the engine, which brings both along, is not touched.
#pragma once

#include <cstddef>
#include <vector>

#include "storage/sqlite/triggers.hpp"

namespace nizhal::storage {

/// None for a table that does not merge.
std::vector<SchemaObject> merge_triggers_of(const CompiledDomain& domain, std::size_t table);

}  // namespace nizhal::storage
