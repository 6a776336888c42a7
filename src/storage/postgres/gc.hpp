// Retention: removals, mutation records and audit rows that are settled and older than asked for go, in batches of
// short transactions. What is remembered of clients stays.
//
// The facts that must not break: pruned_through rises in the transaction that prunes removals, so that every snapshot
// has both or neither; and it never rises above what is settled, or devices that have just begun would begin again.
#pragma once

#include <atomic>
#include <memory>

#include "postgres/pool.hpp"
#include "storage/postgres/horizon.hpp"
#include "storage/postgres/own_writers.hpp"
#include "storage/postgres/reads.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

/// `stopping`, once true, ends it after the batch under way, with `busy`.
Result<GcReport> collect_garbage(const std::shared_ptr<postgres::Pool>& pool, const Catalog& catalog, Horizon& horizon,
                                 const std::shared_ptr<OwnWriters>& own_writers, Timestamp before,
                                 const std::atomic<bool>& stopping);

}  // namespace nizhal::storage::pg
