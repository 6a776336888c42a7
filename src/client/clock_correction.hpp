// The device's clock against the server's (S20).
#pragma once

#include "client/store_state.hpp"

namespace nizhal::client {

/// Milliseconds to add to the device's clock, given what the server's said at this moment.
std::int64_t offset_to(StoreState& state, Timestamp server_time);

/// From now on the device's clock is `offset_ms` off; what is pending with a stamp from the future is stamped again, in
/// order, and marked to run again: a mutation's `now` changes with its stamp.
[[nodiscard]] Result<void> correct_clock(StoreState& state, std::int64_t offset_ms);

}  // namespace nizhal::client
