// How a handle that does not sync has the one that does do it: the request and the answer are two facts in nizhal_meta,
// which both see (S8).
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

}  // namespace nizhal::client::sync_requests
