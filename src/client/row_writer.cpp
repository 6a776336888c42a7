#include "client/row_writer.hpp"

#include <fmt/format.h>

#include "base/planted.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client::row_writer {

Result<bool> insert(StoreState& state, const TableDef& table, const Row& row) {
  if (auto noted = state.changes.touch(*state.connection, table, row[table.key_index()]); !noted)
    return tl::unexpected(noted.error());
  return sqlite::insert_row(*state.connection, table, row);
}

Result<void> upsert(StoreState& state, const TableDef& table, const Row& row, Before before) {
  if (auto noted = state.changes.touch(*state.connection, table, row[table.key_index()], before); !noted) return noted;
  return sqlite::upsert_row(*state.connection, table, row);
}

Result<bool> update(StoreState& state, const TableDef& table, const Value& key,
                    const std::vector<std::pair<std::size_t, Value>>& changes, Before before) {
  if (auto noted = state.changes.touch(*state.connection, table, key, before); !noted)
    return tl::unexpected(noted.error());
  return sqlite::update_row(*state.connection, table, key, changes);
}

Result<bool> remove(StoreState& state, const TableDef& table, const Value& key, Before before) {
  if (is_planted(Planted::live_view_misses)) return sqlite::delete_row(*state.connection, table, key);
  if (auto noted = state.changes.touch(*state.connection, table, key, before); !noted)
    return tl::unexpected(noted.error());
  return sqlite::delete_row(*state.connection, table, key);
}

Result<void> clear(StoreState& state, const TableDef& table) {
  state.changes.touch_all(table);
  return state.connection->execute(fmt::format("DELETE FROM {}", quote_identifier(table.name)));
}

}  // namespace nizhal::client::row_writer
