// A pull's view: one repeatable-read transaction on a pooled connection.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "postgres/pool.hpp"
#include "storage/postgres/reads.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

/// `settled` was read before: what it calls settled is in the snapshot.
Result<std::unique_ptr<Snapshot>> open_snapshot(std::shared_ptr<const Catalog> catalog,
                                                const std::shared_ptr<postgres::Pool>& pool, const Position& settled);

/// On a connection to a replica, which has replayed all that `settled` stands for. `epoch_sql` gives the epoch of the
/// database there; busy when it is another one. `failed` is called when the snapshot goes and its connection or
/// transaction had failed. The position's `last` is for set_last() to say.
Result<std::unique_ptr<Snapshot>> take_replica_snapshot(std::shared_ptr<const Catalog> catalog,
                                                        postgres::Pool::Lease lease, const Position& settled,
                                                        const char* epoch_sql, std::function<void()> failed);
void set_last(Snapshot& snapshot, Version last);

/// The name by which other transactions of the database can look at the same snapshot, for as long as it is held: SET
/// TRANSACTION SNAPSHOT. internal: it is no snapshot of this storage.
Result<std::string> export_snapshot(Snapshot& snapshot);

/// The statement that takes the snapshot: pruned_through and the sequence's last value. It also takes away from the
/// planner what would read more than a page carries.
extern const char* const kTakeSnapshotSql;

}  // namespace nizhal::storage::pg
