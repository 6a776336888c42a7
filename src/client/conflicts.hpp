// Edits of this device that lost to later ones (Merge::Field, S22), as answers to pushes tell them.
//
// The fact that must not break: each is told once, however often the answer comes: it is written down in the
// transaction that settles the answer, and one that was dismissed is forgotten only when its mutation has left the
// outbox and so cannot be answered again.
#pragma once

#include <cstdint>
#include <vector>

#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client::conflicts {

/// In the caller's transaction.
[[nodiscard]] Result<void> note(StoreState& state, const outbox::Entry& entry,
                                const std::vector<protocol::PushConflict>& told);
/// Those that were not dismissed, oldest first.
[[nodiscard]] Result<std::vector<LostEdit>> list(StoreState& state);
/// In the caller's transaction. Errors: not_found, the storage's.
[[nodiscard]] Result<void> dismiss(StoreState& state, std::int64_t id);

}  // namespace nizhal::client::conflicts
