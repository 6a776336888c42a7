// Pending mutations of an older version of the app, at open (S10).
#pragma once

#include <nizhal/result.hpp>

#include "client/store_state.hpp"

namespace nizhal::client::upcasts {

/// In the transaction of the open: arguments of older versions become today's; what cannot be said today is a dead
/// letter with its arguments as they were. Those of a newer app stay as they are, are sent and have no local effects.
[[nodiscard]] Result<void> bring_up_to_date(StoreState& state);

}  // namespace nizhal::client::upcasts
