// mutate: the first stage of the loop. Runs a mutator here and enqueues it, in one commit (S1).
#pragma once

#include <string_view>

#include "client/store_state.hpp"

namespace nizhal::client {

[[nodiscard]] Result<Ticket> mutate(StoreState& state, std::string_view name, const MutatorDef::Values& values,
                                    const MutateOptions& options);

}  // namespace nizhal::client
