// What the handles of one file tell each other through nizhal_meta, which all see (S8): a handle that does not sync
// asks the one that does to do it, and is answered; the one that syncs says how it stands.
//
// The fact that must not break: requests are numbered, and an answer tells up to which number it is meant; a sync that
// began before a request never answers it.
#pragma once

#include <cstdint>
#include <optional>

#include "client/store_state.hpp"

namespace nizhal::client::sync_requests {

/// Leaves a request, in the caller's transaction; gives its number.
[[nodiscard]] Result<std::int64_t> ask(StoreState& state);
/// The latest request without an answer, as far as it was noticed.
std::optional<std::int64_t> outstanding(const StoreState& state);
/// Answers all requests up to this one, in the caller's transaction.
[[nodiscard]] Result<void> answer(StoreState& state, std::int64_t up_to, const Result<SyncReport>& report);
/// The answer to this request, or to a later one, as far as it was noticed.
std::optional<Result<SyncReport>> answer_to(const StoreState& state, std::int64_t request);

/// In the caller's transaction.
[[nodiscard]] Result<void> tell_status(StoreState& state, const LocalStore::HolderStatus& status);
LocalStore::HolderStatus told_status(const StoreState& state);

}  // namespace nizhal::client::sync_requests
