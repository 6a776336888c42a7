// What became of a mutation, told from the file alone: so a ticket can be followed after a restart, and what another
// process learned is seen.
#pragma once

#include <string_view>

#include "client/store_state.hpp"

namespace nizhal::client {

[[nodiscard]] Result<Standing> standing_of(StoreState& state, std::string_view client_mutation_id);

}  // namespace nizhal::client
