// Which buckets the app wants on this device (Coverage::subscribed), and what a pull asks for because of it. Place in
// the loop: beside the puller.
//
// Table nizhal_subscription: rule, its parameters as a JSON object ('{}': every bucket of the rule that the actor has),
// and until when it is kept after it was given up.
//
// The fact that must not break: a bucket stays in sync until it is left out of a pull, and its rows go in the
// transaction that applies that pull. So what is here is always whole, and one that is wanted again is a gain.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>
#include <vector>

#include "client/store_state.hpp"

namespace nizhal::client::subscriptions {

/// Errors: not_found (no such rule, or not its parameters), usage (the store covers everything), the storage's.
[[nodiscard]] Result<void> subscribe(StoreState& state, std::string_view rule, const RuleParameters& parameters);
/// Also not_found when it is not subscribed.
[[nodiscard]] Result<void> unsubscribe(StoreState& state, std::string_view rule, const RuleParameters& parameters,
                                       std::chrono::seconds keep);
[[nodiscard]] Result<std::vector<BucketSubscription>> list(StoreState& state);

/// What the pull is to cover.
[[nodiscard]] Result<void> choose(StoreState& state, protocol::PullRequest& request);
/// The pull is complete that `sent` was the last request of: what ran out before it is evicted, and forgotten now.
[[nodiscard]] Result<void> note_complete(StoreState& state, const protocol::PullRequest& sent);
std::optional<std::chrono::milliseconds> next_eviction(StoreState& state);

}  // namespace nizhal::client::subscriptions
