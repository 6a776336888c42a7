// What queries see is always the confirmed base plus the pending mutations re-run in order (S3). Between undo_pending
// and rerun_pending, inside one transaction, the app's tables *are* the base.
#pragma once

#include <nizhal/result.hpp>

#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client {

/// Puts back every before-image, newest first.
[[nodiscard]] Result<void> undo_pending(StoreState& state);
/// Runs what no pull covered yet, in order. One that refuses now only loses its local effects: the server decides.
[[nodiscard]] Result<void> rerun_pending(StoreState& state);

// The server's answer may change who this device is or how its mutations are numbered (S19). All of these need a
// rebase around them, because what was covered may be pending again.

/// The store is a copy of another one, or its client id belongs to someone else: a new client id, and everything
/// pending is numbered from 1. Client mutation ids stay, so nothing is done twice.
[[nodiscard]] Result<void> take_new_client_id(StoreState& state);
/// The server knows nothing of this client after `last`: a restored backup. What comes after is numbered anew.
[[nodiscard]] Result<void> renumber_after(StoreState& state, MutationId last, std::string_view last_client_mutation_id);

}  // namespace nizhal::client
