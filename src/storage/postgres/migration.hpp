// Migrations of PostgreSQL: what the plan says is brought about step by step, each step a short transaction that waits
// briefly for its locks and leaves the database fit to be written by everybody; a step that was not reached is taken by
// the next run.
//
// The fact that must not break: no row that is written while a migration runs escapes the triggers, and whatever may
// have been written without them makes devices start afresh (a new epoch).
#pragma once

#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "postgres/connection.hpp"
#include "storage/migrator.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

/// Creates everything in a database that has neither the engine nor a table of the domain. Any other database has to
/// fit: schema_mismatch lists the differences and names the command that mends them. Several may run at once.
Result<ProvisionReport> provision_database(postgres::Connection& connection, const CompiledDomain& domain,
                                           Random& random, const Log& log);

}  // namespace nizhal::storage
