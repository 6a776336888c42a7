// CRDT columns on the device: what is written into one is merged into it, by a mutator's run as by a pull that brings
// updates instead of states. The server merges with the same code.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

namespace nizhal::client::crdt_columns {

/// What a mutator writes; `before` is the row as it is, or null for a new one. Errors as of crdt::merge_column: a
/// mutation is refused with the code of crdt::refusal_of.
[[nodiscard]] Result<void> merge_written(const TableDef& table, const Row* before, Row& row);
/// The same for some columns; the others are left as they are.
[[nodiscard]] Result<void> merge_changes(const TableDef& table, const Row& before,
                                         std::vector<std::pair<std::size_t, Value>>& changes);

/// What a pull brings: the named columns of `row` are updates to the base's. Whole states replace it.
[[nodiscard]] Result<Row> merge_pulled(const TableDef& table, const Row& base, Row row,
                                       const std::vector<std::size_t>& updates);

}  // namespace nizhal::client::crdt_columns
