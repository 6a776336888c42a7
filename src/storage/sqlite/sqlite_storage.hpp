// Embedded SQLite as server storage: WAL, one writer, readers on their own connections, no exclusive lock, so other
// programs may write beside it. The commit counter is the version; triggers in plain SQL keep versions, removals
// and grants, whoever writes.
#pragma once

#include <memory>
#include <string>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "storage/migrator.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

struct SqliteStorageOptions {
  std::string path;
  int lock_timeout_ms = 5'000;  // below the 10 s within which every request is answered
  std::size_t readers_max = 8;  // pooled read connections
};

/// Opens the file (created when absent); call provision() before anything else.
Result<std::unique_ptr<Storage>> open_sqlite_storage(SqliteStorageOptions options,
                                                     std::shared_ptr<const CompiledDomain> domain, Random& random,
                                                     Log log);

/// Files are extended additively only, by serve as by this; what is breaking has to be done by hand, as its difference
/// says. check() takes the writer's turn for a moment.
std::unique_ptr<Migrator> sqlite_migrator(SqliteStorageOptions options, std::shared_ptr<const CompiledDomain> domain,
                                          Random& random, Log log);

}  // namespace nizhal::storage
