#include "storage/sqlite/reads.hpp"

#include <limits>

namespace nizhal::storage {

Result<std::vector<Grant>> read_grants(sqlite::Connection& connection, const Catalog& catalog, const Actor& actor) {
  const CompiledDomain& domain = *catalog.domain;
  std::vector<Grant> grants;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d) {
    if (domain.definitions()[d].is_static()) {
      if (auto bucket = domain.static_bucket(d, actor)) grants.push_back({*std::move(bucket), Version{0}});
      continue;
    }
    const auto subject = domain.grant_subject(d, actor);
    if (!subject) continue;
    auto statement =
        connection.prepare("SELECT bucket, gained FROM nizhal_grant WHERE definition = ?1 AND subject = ?2");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind_text(1, catalog.sql.grant_ids[d]).bind_text(2, *subject);
    for (;;) {
      const auto row = statement->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) break;
      auto bucket = domain.parse_bucket(statement->text(0));
      if (bucket && bucket->definition == d) grants.push_back({*std::move(bucket), version_at(*statement, 1)});
    }
  }
  return grants;
}

Result<std::optional<ClientRecord>> read_client(sqlite::Connection& connection, std::string_view client_id) {
  auto statement = connection.prepare(
      "SELECT client_id, user_id, owner_id, last_mutation_id, last_client_mutation_id, last_hlc FROM nizhal_client "
      "WHERE client_id = ?1");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, client_id);
  const auto row = statement->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row) return std::optional<ClientRecord>{};
  ClientRecord record;
  record.client_id = std::string(statement->text(0));
  record.user_id = std::string(statement->text(1));
  record.owner_id = std::string(statement->text(2));
  record.last_mutation_id = mutation_id_at(*statement, 3);
  record.last_client_mutation_id = std::string(statement->text(4));
  record.last_hlc = std::string(statement->text(5));
  return std::optional<ClientRecord>(std::move(record));
}

std::int64_t to_sql(std::uint64_t number) {
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  return number > static_cast<std::uint64_t>(kMax) ? kMax : static_cast<std::int64_t>(number);
}

std::string bytes_at(const sqlite::Statement& statement, int column) {
  const Blob blob = statement.blob(column);
  return {blob.bytes.begin(), blob.bytes.end()};
}

std::optional<std::string> optional_text(const sqlite::Statement& statement, int column) {
  if (statement.is_null(column)) return std::nullopt;
  return std::string(statement.text(column));
}

}  // namespace nizhal::storage
