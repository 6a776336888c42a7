// Everything that was committed above a version, of all buckets at once (Storage::changes_since), in one snapshot.
#pragma once

#include "sqlite/connection.hpp"
#include "storage/sqlite/reads.hpp"

namespace nizhal::storage {

/// On a connection outside any transaction.
Result<RecentChanges> read_changes(sqlite::Connection& connection, const Catalog& catalog, const ChangesQuery& query);

}  // namespace nizhal::storage
