#include "storage/postgres/reads.hpp"

#include <algorithm>
#include <limits>

namespace nizhal::storage::pg {

postgres::Connection::Ticket Query::queue(postgres::Connection& connection) const {
  return connection.queue(sql, postgres::parameters_of(parameters));
}

Result<postgres::Rows> Query::run(postgres::Connection& connection) const {
  return connection.query(sql, postgres::parameters_of(parameters));
}

bool has_memberships(const CompiledDomain& domain) {
  const auto& definitions = domain.definitions();
  return !std::all_of(definitions.begin(), definitions.end(),
                      [](const BucketDefinition& definition) { return definition.is_static(); });
}

std::vector<std::pair<std::string_view, std::string>> grant_subjects(const Catalog& catalog, const Actor& actor) {
  const CompiledDomain& domain = *catalog.domain;
  std::vector<std::pair<std::string_view, std::string>> found;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d) {
    if (domain.definitions()[d].is_static()) continue;
    auto subject = domain.grant_subject(d, actor);
    // A text with a zero byte is in no column.
    if (!subject || subject->find('\0') != std::string::npos) continue;
    found.emplace_back(catalog.sql.grant_ids[d], *std::move(subject));
  }
  return found;
}

Query grants_query(const Catalog& catalog, const Actor& actor, Lock lock) {
  ArrayText definitions, subjects;
  for (const auto& [definition, subject] : grant_subjects(catalog, actor)) {
    definitions.add(definition);
    subjects.add(subject);
  }
  // One look-up in the primary key per definition.
  constexpr const char* kRead =
      "SELECT g.definition, g.bucket, g.gained FROM unnest($1::text[], $2::text[]) AS a(definition, subject) "
      "JOIN nizhal.bucket_grant AS g ON g.definition = a.definition AND g.subject = a.subject";
  constexpr const char* kLock =
      "SELECT g.definition, g.bucket, g.gained FROM unnest($1::text[], $2::text[]) AS a(definition, subject) "
      "JOIN nizhal.bucket_grant AS g ON g.definition = a.definition AND g.subject = a.subject FOR KEY SHARE OF g";
  return Query{lock == Lock::none ? kRead : kLock, {std::move(definitions).finish(), std::move(subjects).finish()}};
}

std::vector<Grant> grants_from(const Catalog& catalog, const Actor& actor, const postgres::Rows& rows) {
  std::vector<GrantRow> found;
  for (int row = 0; row < rows.size(); ++row)
    found.push_back({rows.text(row, 0), rows.text(row, 1), version_at(rows, row, 2)});
  return grants_from(catalog, actor, found);
}

std::vector<Grant> grants_from(const Catalog& catalog, const Actor& actor, const std::vector<GrantRow>& rows) {
  const CompiledDomain& domain = *catalog.domain;
  std::vector<Grant> grants;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d) {
    if (domain.definitions()[d].is_static()) {
      if (auto bucket = domain.static_bucket(d, actor)) grants.push_back({*std::move(bucket), Version{0}});
      continue;
    }
    for (const GrantRow& row : rows) {
      if (row.definition != catalog.sql.grant_ids[d]) continue;
      auto bucket = domain.parse_bucket(row.bucket);
      if (bucket && bucket->definition == d) grants.push_back({*std::move(bucket), row.gained});
    }
  }
  return grants;
}

Query client_query(std::string_view client_id) {
  return Query{
      "SELECT client_id, user_id, owner_id, last_mutation_id, last_client_mutation_id, last_hlc "
      "FROM nizhal.client WHERE client_id = $1",
      {std::string(client_id)}};
}

ClientRecord client_from(const postgres::Rows& rows, int row) {
  ClientRecord record;
  record.client_id = std::string(rows.text(row, 0));
  record.user_id = std::string(rows.text(row, 1));
  record.owner_id = std::string(rows.text(row, 2));
  record.last_mutation_id = mutation_id_at(rows, row, 3);
  record.last_client_mutation_id = std::string(rows.text(row, 4));
  record.last_hlc = std::string(rows.text(row, 5));
  return record;
}

std::string to_sql(std::uint64_t number) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return std::to_string(number > kMax ? kMax : number);
}

std::optional<std::string> optional_text(const postgres::Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return std::nullopt;
  return std::string(rows.text(row, column));
}

}  // namespace nizhal::storage::pg
