#include "storage/postgres/record_sql.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "storage/postgres/reads.hpp"
#include "storage/postgres/values.hpp"
#include "storage/text_list.hpp"

namespace nizhal::storage::pg {
namespace {

using postgres::Rows;

constexpr const char* kInsertClient =
    "INSERT INTO nizhal.client (client_id, user_id, owner_id, last_mutation_id, last_client_mutation_id, last_hlc) "
    "VALUES ($1, $2, $3, $4, $5, $6)";
constexpr const char* kUpdateClient =
    "UPDATE nizhal.client SET user_id = $2, owner_id = $3, last_mutation_id = $4, last_client_mutation_id = $5, "
    "last_hlc = $6 WHERE client_id = $1";

constexpr const char* kPutServerId =
    "INSERT INTO nizhal.id_map (client_id, table_name, id, server_id) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (client_id, table_name, id) DO UPDATE SET server_id = excluded.server_id";

std::string text_of(const Rows& rows, int row, int column) { return std::string(rows.text(row, column)); }

std::optional<std::string> storable(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return storable_text(*text);
}

const std::vector<InsertColumn>& mutation_columns() {
  static const std::vector<InsertColumn> kColumns = {
      {"client_id", "text", true},  {"mutation_id", "bigint"},        {"client_mutation_id", "text"},
      {"user_id", "text", true},    {"owner_id", "text", true},       {"name", "text", true},
      {"applied", "boolean", true}, {"http_status", "integer", true}, {"code", "text", true},
      {"error", "text", true},      {"server_id", "text", true},      {"affected_buckets", "text", true},
      {"conflicts", "text", true},  {"version", "bigint", true},      {"at_us", "bigint", true}};
  return kColumns;
}
const std::vector<InsertColumn>& audit_columns() {
  static const std::vector<InsertColumn> kColumns = {
      {"user_id", "text", true}, {"owner_id", "text", true},     {"client_id", "text", true},
      {"mutation_id", "bigint"}, {"client_mutation_id", "text"}, {"mutator", "text", true},
      {"outcome", "text", true}, {"unscoped", "boolean", true},  {"buckets", "text"},
      {"changes", "text"},       {"version", "bigint", true},    {"at_us", "bigint", true}};
  return kColumns;
}

std::optional<std::string> number_text(const std::optional<MutationId>& id) {
  if (!id) return std::nullopt;
  return to_sql(*id);
}

Parameters parameters_of_mutation(const MutationRecord& record, const std::string& version, const std::string& at_us) {
  return {storable(record.client_id),
          number_text(record.mutation_id),
          storable_text(record.client_mutation_id),
          storable_text(record.user_id),
          storable_text(record.owner_id),
          storable_text(record.name),
          record.applied ? "true" : "false",
          fmt::to_string(record.http_status),
          storable_text(record.code),
          storable_text(record.error),
          storable(record.server_id),
          record.affected_buckets ? std::optional(storable_text(storage::texts_to_json(*record.affected_buckets)))
                                  : std::nullopt,
          storable_text(record.conflicts),
          version,
          at_us};
}

Parameters parameters_of_audit(const AuditRow& row, const std::string& version, const std::string& at_us) {
  return {storable_text(row.user_id),
          storable_text(row.owner_id),
          storable(row.client_id),
          number_text(row.mutation_id),
          storable_text(row.client_mutation_id),
          storable_text(row.mutator),
          storable_text(row.outcome),
          row.unscoped ? "true" : "false",
          storable_text(storage::texts_to_json(row.buckets)),
          storable_text(row.changes),
          version,
          at_us};
}

}  // namespace

// The form for one value beside the one for many: only for the former PostgreSQL keeps a plan, because that for the
// array at hand always looks cheaper to it than that for any array.
#define NIZHAL_CLIENT_COLUMNS                                                                              \
  "SELECT c.client_id, c.user_id, c.owner_id, c.last_mutation_id, c.last_client_mutation_id, c.last_hlc, " \
  "EXISTS (SELECT FROM nizhal.id_map AS m WHERE m.client_id = c.client_id) FROM nizhal.client AS c "
const char* const kReadClient = NIZHAL_CLIENT_COLUMNS "WHERE c.client_id = $1 FOR NO KEY UPDATE OF c";
// In the order of ids, so that two requests for the same clients do not deadlock.
const char* const kReadClients =
    NIZHAL_CLIENT_COLUMNS "WHERE c.client_id = ANY ($1::text[]) ORDER BY c.client_id FOR NO KEY UPDATE OF c";
#undef NIZHAL_CLIENT_COLUMNS
#define NIZHAL_MUTATION_COLUMNS                                                                              \
  "client_id, mutation_id, client_mutation_id, user_id, owner_id, name, applied, http_status, code, error, " \
  "server_id, affected_buckets, conflicts"
const char* const kReadMutation =
    "SELECT " NIZHAL_MUTATION_COLUMNS
    " FROM nizhal.mutation WHERE client_mutation_id = $1 AND user_id = $2 AND owner_id = $3";
const char* const kReadMutations =
    "SELECT " NIZHAL_MUTATION_COLUMNS
    " FROM nizhal.mutation WHERE client_mutation_id = ANY ($1::text[]) AND user_id = $2 AND owner_id = $3";
// A server that was restored may be sent an id again, under another client mutation id; the newest counts and comes
// first. Who asks for one will ask for the next ones, too.
const char* const kReadMutationsOfClient =
    "SELECT " NIZHAL_MUTATION_COLUMNS
    " FROM nizhal.mutation WHERE client_id = $1 AND mutation_id BETWEEN $2 AND $3 ORDER BY version DESC, seq DESC";
#undef NIZHAL_MUTATION_COLUMNS

const char* const kReadServerId =
    "SELECT server_id FROM nizhal.id_map WHERE client_id = $1 AND table_name = $2 AND id = $3";
MutationRecord mutation_from(const Rows& rows, int row) {
  MutationRecord record;
  record.client_id = optional_text(rows, row, 0);
  if (!rows.is_null(row, 1)) record.mutation_id = mutation_id_at(rows, row, 1);
  record.client_mutation_id = text_of(rows, row, 2);
  record.user_id = text_of(rows, row, 3);
  record.owner_id = text_of(rows, row, 4);
  record.name = text_of(rows, row, 5);
  record.applied = rows.boolean(row, 6);
  record.http_status = static_cast<int>(rows.integer(row, 7));
  record.code = text_of(rows, row, 8);
  record.error = text_of(rows, row, 9);
  record.server_id = optional_text(rows, row, 10);
  if (!rows.is_null(row, 11)) record.affected_buckets = storage::texts_from_json(rows.text(row, 11));
  record.conflicts = text_of(rows, row, 12);
  return record;
}

RecordStatement insert_statement(std::string_view table, const std::vector<InsertColumn>& columns,
                                 std::vector<Parameters> rows) {
  bool shares = rows.size() > 1;
  for (std::size_t column = 0; shares && column < columns.size(); ++column)
    shares = !columns[column].often_shared || std::all_of(rows.begin(), rows.end(), [&](const Parameters& row) {
      return row[column] == rows.front()[column];
    });
  RecordStatement statement;
  std::string names, values, arrays, array_names;
  for (std::size_t column = 0; column < columns.size(); ++column) {
    const auto& [name, type, often_shared] = columns[column];
    const std::string_view comma = column > 0 ? ", " : "";
    names += fmt::format("{}{}", comma, name);
    if (rows.size() == 1 || (shares && often_shared)) {
      values += fmt::format("{}${}::{}", comma, column + 1, type);
      statement.parameters.push_back(std::move(rows.front()[column]));
      continue;
    }
    values += fmt::format("{}r.{}", comma, name);
    array_names += fmt::format("{}{}", arrays.empty() ? "" : ", ", name);
    arrays += fmt::format("{}${}::{}[]", arrays.empty() ? "" : ", ", column + 1, type);
    ArrayText array;
    for (const Parameters& row : rows) {
      if (row[column])
        array.add(*row[column]);
      else
        array.add_null();
    }
    statement.parameters.emplace_back(std::move(array).finish());
  }
  statement.sql = rows.size() == 1 ? fmt::format("INSERT INTO {} ({}) VALUES ({})", table, names, values)
                                   : fmt::format("INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS r({})", table, names,
                                                 values, arrays, array_names);
  return statement;
}

RecordStatement put_client_statement(const ClientRecord& client, bool is_new) {
  return {
      is_new ? kInsertClient : kUpdateClient,
      {storable_text(client.client_id), storable_text(client.user_id), storable_text(client.owner_id),
       to_sql(client.last_mutation_id), storable_text(client.last_client_mutation_id), storable_text(client.last_hlc)}};
}

RecordStatement put_server_id_statement(std::string_view client_id, std::string_view table, std::string_view id,
                                        std::string_view server_id) {
  return {kPutServerId, {storable_text(client_id), storable_text(table), storable_text(id), storable_text(server_id)}};
}

RecordStatement put_mutations_statement(const std::vector<MutationRecord>& records, Version version, Timestamp at) {
  const std::string version_text = to_sql(version), at_us = fmt::to_string(at.microseconds);
  std::vector<Parameters> rows;
  for (const MutationRecord& record : records) rows.push_back(parameters_of_mutation(record, version_text, at_us));
  return insert_statement("nizhal.mutation", mutation_columns(), std::move(rows));
}

RecordStatement put_audit_statement(const std::vector<AuditRow>& rows_to_put, Version version, Timestamp at) {
  const std::string version_text = to_sql(version), at_us = fmt::to_string(at.microseconds);
  std::vector<Parameters> rows;
  for (const AuditRow& row : rows_to_put) rows.push_back(parameters_of_audit(row, version_text, at_us));
  return insert_statement("nizhal.audit", audit_columns(), std::move(rows));
}

std::string array_of(const std::vector<std::string>& texts) {
  ArrayText array;
  for (const std::string& text : texts) array.add(storable_text(text));
  return std::move(array).finish();
}

}  // namespace nizhal::storage::pg
