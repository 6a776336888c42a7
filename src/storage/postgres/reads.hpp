// Reads that a snapshot and a write transaction share. Each is a statement with its parameters, to be queued, and a
// function that reads its answer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postgres/connection.hpp"
#include "storage/postgres/statements.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

/// The domain with its SQL; shared by everything that a storage hands out.
struct Catalog {
  /// `tables_schema`: where the synced tables are.
  Catalog(std::shared_ptr<const CompiledDomain> compiled, std::string tables_schema)
      : domain(std::move(compiled)), schema(std::move(tables_schema)), sql(*domain, schema) {}
  std::shared_ptr<const CompiledDomain> domain;
  std::string schema;
  DomainSql sql;
};

struct Query {
  const char* sql = "";
  Parameters parameters;
  postgres::Connection::Ticket queue(postgres::Connection& connection) const;
  Result<postgres::Rows> run(postgres::Connection& connection) const;
};

/// True when actors have buckets by membership; else the database knows nothing about their grants.
bool has_memberships(const CompiledDomain& domain);
enum class Lock { none, for_key_share };
/// The actor's grants by membership. Their rows, and with the actor all grants, static ones first by definition.
Query grants_query(const Catalog& catalog, const Actor& actor, Lock lock = Lock::none);
std::vector<Grant> grants_from(const Catalog& catalog, const Actor& actor, const postgres::Rows& rows);
/// The same from wherever the rows were read.
struct GrantRow {
  std::string_view definition, bucket;
  Version gained{};
};
std::vector<Grant> grants_from(const Catalog& catalog, const Actor& actor, const std::vector<GrantRow>& rows);
/// Definitions and subjects by which the actor has buckets through memberships.
std::vector<std::pair<std::string_view, std::string>> grant_subjects(const Catalog& catalog, const Actor& actor);

Query client_query(std::string_view client_id);
/// Columns as client_query has them: client_id, user_id, owner_id, last_mutation_id, last_client_mutation_id, last_hlc.
ClientRecord client_from(const postgres::Rows& rows, int row);

/// Versions above $1 at which grants have changed.
inline constexpr const char* kReadGrantChanges = "SELECT version FROM nizhal.grant_change WHERE version > $1::bigint";

/// Versions and mutation ids as PostgreSQL's signed integers; what is beyond is beyond any that was given out.
std::string to_sql(std::uint64_t number);
inline std::string to_sql(Version version) { return to_sql(number(version)); }
inline std::string to_sql(MutationId id) { return to_sql(number(id)); }
inline Version version_at(const postgres::Rows& rows, int row, int column) {
  return Version{static_cast<std::uint64_t>(rows.integer(row, column))};
}
inline MutationId mutation_id_at(const postgres::Rows& rows, int row, int column) {
  return MutationId{static_cast<std::uint64_t>(rows.integer(row, column))};
}
std::optional<std::string> optional_text(const postgres::Rows& rows, int row, int column);

}  // namespace nizhal::storage::pg
