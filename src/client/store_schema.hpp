// The file's tables: the control tables beside the app's own, and how the latter follow the domain (S10).
//
// Control tables, all of them plain and readable with any SQLite tool:
//   nizhal_meta         key → value; see meta.hpp
//   nizhal_outbox       pending mutations in order; mutation_id once sent; covered, outcome_known: see S4
//   nizhal_undo         per pending mutation and row: the row before that mutation first touched it (NULL: absent)
//   nizhal_sent         mutation id → client mutation id, of all above the last confirmed one; tells a clone (S19)
//   nizhal_staged       pages of a pull that is not complete, as they came
//   nizhal_dead_letter  refused mutations with their reason
//   nizhal_id_map       ids of this device that the server replaced (S7)
//   nizhal_inverse      the call that takes a mutation back, of the newest ones; undone_by: the mutation that did
//   nizhal_settled      what became of the newest mutations that left the outbox: a code when it was a refusal
//   nizhal_subscription buckets that the app asked for
//   nizhal_conflict     edits of this device that lost to later ones; dismissed: only kept so that it is told once
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <nizhal/result.hpp>

#include "client/store_state.hpp"

namespace nizhal::client {

// History of the control tables' format:
// 1  first
// 2  dependency keys, writes that wait for the server, the chain of a dead letter, inverses, subscriptions, what became
//    of the newest mutations
// 3  edits that lost to others
inline constexpr std::int64_t kStoreFormat = 3;

/// Refuses a file that belongs to something else than a device: nothing of it has been written yet.
[[nodiscard]] Result<void> check_is_store(sqlite::Connection& connection);
/// Creates what is missing. Errors: schema_mismatch, naming what changed and what to do; the storage's.
[[nodiscard]] Result<void> prepare_control_tables(StoreState& state);
[[nodiscard]] Result<void> prepare_app_tables(StoreState& state);

/// A table of another version of the app that is still in the file; nothing: there is none of that name.
std::optional<TableDef> former_table(const StoreState& state, std::string_view name);

/// What a column without a value holds until the server fills it.
Value zero_value(ColumnType type);
/// Gives required columns that have no value one: a server or a before-image from before an app upgrade lacks them.
Row fill_required(const TableDef& table, Row row);
bool lacks_required(const TableDef& table, const Row& row);

}  // namespace nizhal::client
