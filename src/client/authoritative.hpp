// Server-authoritative mutations: those whose caller waits for the server. They stand in the outbox among the others,
// in order, and have no local effects until the server applied them.
//
// The fact that must not break: one that may have reached the server is never taken out of the outbox before the server
// said what became of it; and a refusal that the caller did not get is a dead letter.
#pragma once

#include <string_view>

#include "client/enqueue.hpp"
#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client::authoritative {

bool is_asked(const StoreState& state, const MutateOptions& options);
/// The new mutation waits for the server, if that is its mode.
void ask(StoreState& state, const MutateOptions& options, NewMutation& mutation);

/// The server did nothing of this batch: those of it that wait for the server were not sent after all.
[[nodiscard]] Result<void> note_not_handled(StoreState& state, const protocol::PushRequest& sent);

// In the caller's transaction
/// True when it is gone: never sent, or only handed to a network that it did not leave by.
[[nodiscard]] Result<bool> withdraw(StoreState& state, const outbox::Entry& entry, const Outcome& why);
/// All that were never sent and whose time to be is up.
[[nodiscard]] Result<void> withdraw_overdue(StoreState& state);
/// The server refused it and its caller, who waits in this process, is told: it leaves no dead letter.
[[nodiscard]] Result<void> hand_over_refusal(StoreState& state, const outbox::Entry& entry, const Outcome& refusal);

}  // namespace nizhal::client::authoritative
