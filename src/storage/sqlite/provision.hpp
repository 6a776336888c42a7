// Makes a SQLite file fit a domain: engine tables, synced tables, triggers, indexes, grants; all in one transaction.
// What can be added is added and reported; whatever else differs is refused and nothing is changed.
#pragma once

#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "sqlite/connection.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

/// The caller holds the writer's turn.
Result<ProvisionReport> provision_database(sqlite::Connection& connection, const CompiledDomain& domain, Random& random,
                                           const Log& log);

/// What provision_database would do; nothing is kept of it.
Result<ProvisionReport> try_provision(sqlite::Connection& connection, const CompiledDomain& domain, Random& random,
                                      const Log& log);

}  // namespace nizhal::storage
