// The confirmed base as pages change it: rows in and out, buckets gained and lost. Only between undo_pending and
// rerun_pending, when the app's tables are the base.
#pragma once

#include <set>
#include <string>

#include "client/store_state.hpp"

namespace nizhal::client::base_rows {

using BucketKeys = std::set<std::string, std::less<>>;

/// Applies one page and moves `covered` to what its cursor covers. Buckets that are new are emptied first: what the
/// device still holds of them may have changed unseen (S15).
[[nodiscard]] Result<void> apply(StoreState& state, const protocol::PullPage& page, BucketKeys& covered);
/// Removes everything: a reset's pages bring all that is to stay (S16).
[[nodiscard]] Result<void> wipe(StoreState& state);

BucketKeys parse_keys(std::string_view text);
std::string keys_text(const BucketKeys& keys);

}  // namespace nizhal::client::base_rows
