// The pusher: outbox entries into push requests, and the replies into outcomes.
//
// The fact that must not break (S5): mutation ids are given durably, in order and without holes, before a request that
// carries them leaves.
#pragma once

#include <string_view>

#include "client/store_state.hpp"

namespace nizhal::client::pusher {

[[nodiscard]] Result<protocol::PushRequest> next_push(StoreState& state, std::size_t mutations_max,
                                                      std::size_t body_bytes_max);
/// What is pending must be pushed before the next pull: what that brings may have its effects already (S19).
[[nodiscard]] Result<bool> is_first(StoreState& state);
[[nodiscard]] Result<LocalStore::PushSettled> settle(StoreState& state, const protocol::PushRequest& sent,
                                                     const protocol::PushReply& reply);
[[nodiscard]] Result<void> note_failure(StoreState& state, const protocol::PushRequest& sent, std::string_view reason);
[[nodiscard]] Result<void> give_up(StoreState& state, std::string_view client_mutation_id, std::string_view code,
                                   std::string_view message);

}  // namespace nizhal::client::pusher
