// The applier: pages into rows. Last stage of the loop; what it commits is what queries see.
//
// The fact that must not break (S3, S13): a complete pull is applied in one transaction: pending effects undone, pages
// in order (within a page: lost buckets, removals, rows), confirmed mutations settled, the rest re-run, the cursor
// moved.
#pragma once

#include "client/store_state.hpp"

namespace nizhal::client::applier {

[[nodiscard]] Result<LocalStore::PullApplied> apply_page(StoreState& state, const protocol::PullRequest& sent,
                                                         const protocol::PullPage& page);

}  // namespace nizhal::client::applier
