// What takes a mutation back (Store::undo): computed before it runs, from what queries see, and kept with it.
//
// The fact that must not break: an inverse is told before the rows are changed and written in the same transaction, so
// it brings back what the user saw when the mutation was made.
#pragma once

#include <string>
#include <string_view>

#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client::inverses {

/// In the transaction of a new mutation, before its run: keeps the call that its mutator's inverse answers; those of
/// the oldest mutations go. Errors: refused (`internal`: the inverse writes, throws, or names a call that does not
/// exist); the storage's.
[[nodiscard]] Result<void> keep(StoreState& state, const MutatorDef& mutator, const MutatorDef::Values& values,
                                const outbox::Entry& entry);
/// The mutation is refused: there is nothing to take back. What it had undone can be undone again.
[[nodiscard]] Result<void> forget(StoreState& state, std::string_view client_mutation_id);
/// The undoing mutation goes on under another id, or, empty, not at all.
[[nodiscard]] Result<void> move_undo(StoreState& state, std::string_view from, std::string_view to);

/// Runs the kept inverse as a new mutation, which depends on the undone one while that is pending. Errors: not_found
/// (nothing is kept of it), refused (`already_undone`, `nothing_to_undo`, or by the inverse's mutator), and mutate's.
[[nodiscard]] Result<Ticket> undo(StoreState& state, std::string_view client_mutation_id, const MutateOptions& options);

}  // namespace nizhal::client::inverses
