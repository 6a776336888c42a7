// Reads that a snapshot and a write transaction share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/sqlite/statements.hpp"
#include "storage/storage.hpp"
#include "storage/text_list.hpp"

namespace nizhal::storage {

/// The domain with its SQL; shared by everything that a storage hands out.
struct Catalog {
  explicit Catalog(std::shared_ptr<const CompiledDomain> compiled) : domain(std::move(compiled)), sql(*domain) {}
  std::shared_ptr<const CompiledDomain> domain;
  DomainSql sql;
};

Result<std::vector<Grant>> read_grants(sqlite::Connection& connection, const Catalog& catalog, const Actor& actor);
Result<std::optional<ClientRecord>> read_client(sqlite::Connection& connection, std::string_view client_id);

/// Versions and mutation ids as SQLite's signed integers; what is beyond is beyond any that was given out.
std::int64_t to_sql(std::uint64_t number);
inline std::int64_t to_sql(Version version) { return to_sql(number(version)); }
inline std::int64_t to_sql(MutationId id) { return to_sql(number(id)); }
inline Version version_at(const sqlite::Statement& statement, int column) {
  return Version{static_cast<std::uint64_t>(statement.integer(column))};
}
inline MutationId mutation_id_at(const sqlite::Statement& statement, int column) {
  return MutationId{static_cast<std::uint64_t>(statement.integer(column))};
}
/// The bytes of a blob or text.
std::string bytes_at(const sqlite::Statement& statement, int column);
std::optional<std::string> optional_text(const sqlite::Statement& statement, int column);

}  // namespace nizhal::storage
