// What the device knows for a backend that knows nothing of mutation ids (include/nizhal/sync_target.hpp): how far
// outcomes are known, and what a mutation's arguments are called there.
#pragma once

#include <string>

#include "base/json.hpp"
#include "client/store_state.hpp"

namespace nizhal::client::target_side {

/// The highest mutation id through which every outcome is known: what a pull that begins now is sure to bring.
[[nodiscard]] Result<MutationId> known_through(StoreState& state);
/// Arguments that name rows under this device's ids name them under the backend's (S7).
[[nodiscard]] Result<std::string> resolve_ids(StoreState& state, std::string_view mutator, const json::value& args);

}  // namespace nizhal::client::target_side
