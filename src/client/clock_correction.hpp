// The device's clock against the server's (S20), and against the stamps of rows that others edited.
//
// The fact that must not break: a stamp is above everything that was issued or taken notice of before, across restarts
// and whatever the system's clock does. Only what a correction replaces, stamps from the future, is left behind.
#pragma once

#include "client/store_state.hpp"

namespace nizhal::client {

/// Milliseconds to add to the device's clock, given what the server's said at this moment.
std::int64_t offset_to(StoreState& state, Timestamp server_time);

/// From now on the device's clock is `offset_ms` off; what is pending with a stamp from the future is stamped again, in
/// order, and marked to run again: a mutation's `now` changes with its stamp.
[[nodiscard]] Result<void> correct_clock(StoreState& state, std::int64_t offset_ms);

/// Takes notice of the highest stamp of a page's rows, in the page's transaction: what is edited from now on is above
/// it. One that no server whose clock says `now` lets pass is ignored.
[[nodiscard]] Result<void> observe(StoreState& state, const Hlc& seen, Timestamp now);

}  // namespace nizhal::client
