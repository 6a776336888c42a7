// PostgreSQL as server storage: stock, 13 or newer, no superuser, no logical replication, directly or through a pooler
// in transaction mode. Versions come from a sequence; writers never wait for each other; the settled horizon tells
// readers what they may have missed (S12). Triggers keep versions, removals and grants, whoever writes.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "storage/migrator.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

struct PostgresStorageOptions {
  std::string url;
  /// A direct connection to the same database for watching it, where `url` leads through a pooler. Empty: `url`.
  std::string listen_url;
  /// A streaming replica of the same cluster, for backfills. Empty: none.
  std::string read_url = {};
  bool transaction_pooler = false;  // `url` leads through a pooler in transaction mode
  std::size_t connections_max = 16;
  std::chrono::milliseconds statement_timeout{5'000};
  std::chrono::milliseconds lock_timeout{3'000};
  std::chrono::milliseconds connect_timeout{3'000};
};

/// Connects once, to fail early; call provision() before anything else.
Result<std::unique_ptr<Storage>> open_postgres_storage(PostgresStorageOptions options,
                                                       std::shared_ptr<const CompiledDomain> domain, Random& random,
                                                       Log log);

/// Connects when it is first asked for the live database; plan() needs none.
std::unique_ptr<Migrator> postgres_migrator(PostgresStorageOptions options,
                                            std::shared_ptr<const CompiledDomain> domain, Random& random, Log log);

}  // namespace nizhal::storage
