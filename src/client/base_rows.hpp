// The confirmed base as pages change it: rows in and out, buckets gained and lost. Only while the app's tables are the
// base, at least in the rows that are written here.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/store_state.hpp"

namespace nizhal::client::base_rows {

using BucketKeys = std::set<std::string, std::less<>>;

/// Applies one page and moves `covered` to what its cursor covers. Buckets that are new are emptied first: what the
/// device still holds of them may have changed unseen (S15).
[[nodiscard]] Result<void> apply(StoreState& state, const protocol::PullPage& page, BucketKeys& covered);
/// Rows of one page, in its order; those that `leave_out` is true for are not touched.
using LeaveOut = std::function<bool(const TableDef& table, const Value& key)>;
[[nodiscard]] Result<void> write(StoreState& state, const protocol::PullPage& page, const LeaveOut& leave_out = {});
using Updates = std::vector<std::size_t>;
/// A pulled row with its updates merged into the base's row. A row that is not there, or into which an update cannot be
/// merged, does not fit: noted in the state, for the applier, which starts afresh.
[[nodiscard]] Result<Row> merged(StoreState& state, const TableDef& table, const std::optional<Row>& base, Row row,
                                 const Updates& updates);
/// Calls `visit(table, key, row, updates)` for each change in the page's order; a row of nothing is a removal,
/// `updates` names the columns that are to be merged into what the base has.
template <class Visit>
void for_each_change(const CompiledDomain& domain, const protocol::PullPage& page, Visit visit);
/// The buckets are what they were.
bool keeps_buckets(const StoreState& state, const protocol::PullPage& page);
/// Removes everything: a reset's pages bring all that is to stay (S16).
[[nodiscard]] Result<void> wipe(StoreState& state);

BucketKeys parse_keys(std::string_view text);
std::string keys_text(const BucketKeys& keys);

template <class Visit>
void for_each_change(const CompiledDomain& domain, const protocol::PullPage& page, Visit visit) {
  static const Updates kNone;
  for (const std::vector<protocol::RemovedRow>* removals : {&page.tombstoned, &page.removed}) {
    for (const protocol::RemovedRow& removal : *removals) {
      if (const TableDef* table = domain.domain().find_table(removal.table))
        visit(*table, removal.id, static_cast<const Row*>(nullptr), kNone);
    }
  }
  for (const protocol::ChangedTable& changed : page.changed) {
    const TableDef* table = domain.domain().find_table(changed.table);
    if (!table) continue;
    for (std::size_t i = 0; i < changed.rows.size(); ++i) {
      const Row& row = changed.rows[i];
      visit(*table, row[table->key_index()], &row, i < changed.updates.size() ? changed.updates[i] : kNone);
    }
  }
}

}  // namespace nizhal::client::base_rows
