// A push's transaction: BEGIN IMMEDIATE in the writer's turn, with one version from its start to its commit.
#pragma once

#include <memory>

#include "storage/sqlite/connections.hpp"
#include "storage/sqlite/reads.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

/// There is one writer, so all modes are the same.
Result<std::unique_ptr<WriteTransaction>> begin_write(std::shared_ptr<const Catalog> catalog, Writer::Turn turn,
                                                      Timestamp now, WriteMode mode);

}  // namespace nizhal::storage
