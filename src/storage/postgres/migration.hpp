// Migrations of PostgreSQL: what the plan says is brought about step by step, each step a short transaction that waits
// briefly for its locks and leaves the database fit to be written by everybody; a step that was not reached is taken by
// the next run.
//
// The fact that must not break: no row that is written while a migration runs escapes the triggers, and whatever may
// have been written without them makes devices start afresh (a new epoch).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "postgres/connection.hpp"
#include "storage/migrator.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

/// Brings a database of format `from` to the next one, in one transaction.
struct FormatMigration {
  std::int64_t from = 0;
  std::vector<std::string> statements;
};

struct MigrationTuning {
  std::int64_t format = postgres_schema::kFormat;
  std::vector<FormatMigration> formats = {{1, postgres_schema::from_format_1()},
                                          {2, postgres_schema::from_format_2()}};  // in order
  /// How long writers may have to wait behind us for a table, each time that we try: below the time after which
  /// PostgreSQL looks for deadlocks, so that in one it is we who give way.
  std::chrono::milliseconds lock_timeout{300};
  int lock_attempts = 100;
  /// Building an index waits for every older transaction, but holds up nobody meanwhile.
  std::chrono::milliseconds index_lock_timeout{600'000};
  std::size_t batch_rows = 250;  // membership rows counted in one transaction
};

/// Brings the database in line, on a direct connection without statement timeout. See Migrator::apply.
Result<MigrateReport> migrate_database(postgres::Connection& connection, const CompiledDomain& domain, Random& random,
                                       const Log& log, const MigrateOptions& options,
                                       const MigrationTuning& tuning = {});

/// See Migrator::check.
Result<std::vector<Difference>> check_database(postgres::Connection& connection, const CompiledDomain& domain,
                                               const MigrationTuning& tuning = {});

/// See Migrator::reset.
Result<void> reset_database(postgres::Connection& connection, const CompiledDomain& domain, Random& random,
                            const MigrationTuning& tuning = {});

/// Creates everything in a database that has neither the engine nor a table of the domain. Any other database has to
/// fit: schema_mismatch lists the differences and names the command that mends them. Several may run at once.
Result<ProvisionReport> provision_database(postgres::Connection& connection, const CompiledDomain& domain,
                                           Random& random, const Log& log);

}  // namespace nizhal::storage
