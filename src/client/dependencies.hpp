// What a mutation depends on (S5), by client mutation id and by the keys that mutators declare.
//
// The fact that must not break: a mutation never depends on one that is refused already; such a call is refused here,
// naming the dead letter.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client::dependencies {

/// A dead letter, as far as others that depend on it say why they go with it.
struct Cause {
  std::int64_t letter = 0;
  std::string client_mutation_id, name, code, message;
  std::vector<std::string> chain;
};
[[nodiscard]] Result<std::optional<Cause>> find_cause(StoreState& state, std::string_view client_mutation_id);

/// Client mutation ids for the outbox and the wire: `ids` and what is pending under one of `keys`. What another one of
/// them depends on is left out: it is depended on through that one. Errors: refused (`dependency_rejected: …`), when
/// one of them is a dead letter. A key in `settled_keys` is not looked for among the dead letters.
[[nodiscard]] Result<std::vector<std::string>> resolve(StoreState& state, const std::vector<std::string>& ids,
                                                       const std::vector<std::string>& keys,
                                                       const std::vector<std::string>& settled_keys = {});

/// The keys by which a mutation depends on others, and its own; what the app's functions threw is a refusal
/// (`internal`), logged.
[[nodiscard]] Result<std::vector<std::string>> keys_of(const StoreState& state, const MutatorDef& mutator,
                                                       const MutatorDef::Values& values);
[[nodiscard]] Result<std::string> own_key_of(const StoreState& state, const MutatorDef& mutator,
                                             const MutatorDef::Values& values);

/// All that a new call depends on: what its options and its mutator name.
[[nodiscard]] Result<std::vector<std::string>> of_call(StoreState& state, const MutatorDef& mutator,
                                                       const MutatorDef::Values& values, const MutateOptions& options);

/// From the cause to `entry` itself, when it depends on a dead letter; else empty.
struct Chain {
  std::vector<std::string> ids;
  std::string why;  // in words: which mutation was refused, and through which others this one depends on it
};
[[nodiscard]] Result<std::optional<Chain>> chain_of(StoreState& state, const outbox::Entry& entry);

}  // namespace nizhal::client::dependencies
