// Dead letters: what the server refused for good, kept with its reason until the user retries or discards it (S6).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client::dead_letters {

[[nodiscard]] Result<std::vector<DeadLetter>> list(StoreState& state);
[[nodiscard]] Result<bool> is_there(StoreState& state, std::string_view client_mutation_id);

/// Moves a pending entry to the dead letters; its local effects go with it. An entry that was sent and whose id the
/// server may not have burned is replaced by a skip of the same ids, so that no hole stays (S5).
enum class Id { burned, replace_by_skip };
[[nodiscard]] Result<void> bury(StoreState& state, const outbox::Entry& entry, std::string_view code,
                                std::string_view message, Id id);
/// What depends on `client_mutation_id`, also through others, goes with it, each saying why. With `burned`, entries
/// that were sent already stay: the server refuses them itself. Returns how many went.
[[nodiscard]] Result<std::uint64_t> bury_dependents(StoreState& state, const std::string& client_mutation_id, Id id);
/// The answer to a skip told that the abandoned mutation had been applied.
[[nodiscard]] Result<void> note_applied_after_all(StoreState& state, std::string_view client_mutation_id);

/// In the caller's transaction: runs it and puts it into the outbox again, under a new client mutation id.
[[nodiscard]] Result<Ticket> retry(StoreState& state, std::int64_t id, std::optional<std::string_view> args);
/// The caller of a server-authoritative mutation was told: the dead letter that another process made of it goes.
[[nodiscard]] Result<void> take_refusal(StoreState& state, std::string_view client_mutation_id);
[[nodiscard]] Result<void> discard(StoreState& state, std::int64_t id);

}  // namespace nizhal::client::dead_letters
