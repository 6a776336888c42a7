// Applying a pull around what is pending: only the mutations that can tell the new base from the old one run again.
//
// Place in the loop: the applier tries this first. The fact that must not break: the rows end as if everything pending
// had been taken back before and run again after. A row that a pending mutation touched counts as changed only if what
// that mutation finds there is another value than before; so a server that did what the device did costs no run.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "client/rebase.hpp"
#include "client/store_state.hpp"

namespace nizhal::client::partial_apply {

/// Calls back for each page of the pull, in order; a failure of the visit ends it. May be asked several times.
using Visit = std::function<Result<void>(const protocol::PullPage& page)>;
using ForEachPage = std::function<Result<void>(const Visit& visit)>;

/// Writes the pages' rows and takes the effects of what `confirmed` covers (a mutation id) into the base. False: this
/// cannot be done in part; then `rebase` has undone everything and no row of the pages is written. Either way `rerun`
/// of the rebase is still to come.
[[nodiscard]] Result<bool> apply(StoreState& state, Rebase& rebase, const ForEachPage& pages,
                                 std::optional<std::int64_t> confirmed);

}  // namespace nizhal::client::partial_apply
