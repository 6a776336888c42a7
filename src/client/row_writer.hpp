// The only door through which the device's engine writes the app's tables: it writes, and takes down what changed for
// those who watch. As in sqlite/table_sql.hpp otherwise.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

#include "client/store_state.hpp"

namespace nizhal::client::row_writer {

/// The row as it is now, when the caller has just read it: spares another look.
using Before = const std::optional<Row>*;

/// False: the key is taken, nothing was written.
[[nodiscard]] Result<bool> insert(StoreState& state, const TableDef& table, const Row& row);
[[nodiscard]] Result<void> upsert(StoreState& state, const TableDef& table, const Row& row, Before before = nullptr);
/// False: no such row.
[[nodiscard]] Result<bool> update(StoreState& state, const TableDef& table, const Value& key,
                                  const std::vector<std::pair<std::size_t, Value>>& changes, Before before = nullptr);
/// False: no such row.
[[nodiscard]] Result<bool> remove(StoreState& state, const TableDef& table, const Value& key, Before before = nullptr);
/// Every row of the table.
[[nodiscard]] Result<void> clear(StoreState& state, const TableDef& table);

}  // namespace nizhal::client::row_writer
