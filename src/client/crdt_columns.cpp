#include "client/crdt_columns.hpp"

#include <span>

#include "base/reached.hpp"
#include "client/tuning.hpp"
#include "crdt/column.hpp"

namespace nizhal::client::crdt_columns {
namespace {

std::span<const std::uint8_t> bytes_of(const Value* value) {
  const auto* blob = value ? std::get_if<Blob>(value) : nullptr;
  return blob ? std::span<const std::uint8_t>(blob->bytes) : std::span<const std::uint8_t>();
}

/// `written` becomes the state with it.
Result<void> merge_into(const ColumnDef& column, const Value* state, Value& written, const crdt::MergeLimits& limits) {
  auto merged = crdt::merge_column(column.type, column.name, bytes_of(state), bytes_of(&written), limits);
  if (!merged) return tl::unexpected(merged.error());
  written = Blob{std::move(merged->state)};
  return {};
}

constexpr crdt::MergeLimits kWritten{.update_bytes_max = kCrdtUpdateBytesMax, .state_bytes_max = kCrdtStateBytesMax};

}  // namespace

Result<void> merge_written(const TableDef& table, const Row* before, Row& row) {
  for (std::size_t i = 0; i < table.columns.size() && i < row.size(); ++i) {
    if (!is_crdt(table.columns[i].type)) continue;
    const Value* state = before && i < before->size() ? &(*before)[i] : nullptr;
    if (auto merged = merge_into(table.columns[i], state, row[i], kWritten); !merged) return merged;
  }
  return {};
}

Result<void> merge_changes(const TableDef& table, const Row& before,
                           std::vector<std::pair<std::size_t, Value>>& changes) {
  Row now = before;
  for (auto& [column, value] : changes) {
    if (!is_crdt(table.columns[column].type)) continue;
    if (auto merged = merge_into(table.columns[column], &now[column], value, kWritten); !merged) return merged;
    now[column] = value;  // a column may be named twice
  }
  return {};
}

Result<Row> merge_pulled(const TableDef& table, const Row& base, Row row, const std::vector<std::size_t>& updates) {
  for (const std::size_t column : updates) {
    if (column >= table.columns.size() || column >= row.size() || column >= base.size()) continue;
    // The server took what it sends: its limits are the ones that count.
    if (auto merged = merge_into(table.columns[column], &base[column], row[column], {}); !merged)
      return tl::unexpected(merged.error());
    reached(Mark::crdt_update_applied);
  }
  return row;
}

}  // namespace nizhal::client::crdt_columns
