// What a migration does to one synced table. Its shape and its triggers change in one short transaction; indexes are
// built beside the writers; memberships from before the engine are counted in batches.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "domain/compiled_domain.hpp"
#include "storage/postgres/live_schema.hpp"
#include "storage/postgres/migration_session.hpp"

namespace nizhal::storage::postgres_schema {

/// What was done, one sentence each; nothing when the table fitted.
Result<std::vector<std::string>> migrate_table(MigrationSession& session, const CompiledDomain& domain,
                                               std::size_t table, const LiveSchema& live, Random& random,
                                               const MigrationTuning& tuning);

/// Takes the engine's triggers and indexes off a table that is no longer declared.
Result<void> release_table(MigrationSession& session, const LiveSchema& live, const std::string& table);

/// Makes all devices start afresh.
std::string new_epoch_sql(Random& random);

}  // namespace nizhal::storage::postgres_schema
