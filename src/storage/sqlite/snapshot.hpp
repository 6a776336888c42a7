// A pull's view: one read transaction on a pooled connection.
#pragma once

#include <memory>

#include "storage/sqlite/connections.hpp"
#include "storage/sqlite/reads.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

/// Where the file stands; inside a transaction its first read, which is where SQLite takes the snapshot.
Result<Position> read_position(sqlite::Connection& connection);

Result<std::unique_ptr<Snapshot>> open_snapshot(std::shared_ptr<const Catalog> catalog, ReaderPool::Reader reader);

}  // namespace nizhal::storage
