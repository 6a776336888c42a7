#include "client/store_schema.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client {
namespace {

constexpr const char* kControlTables = R"(
CREATE TABLE IF NOT EXISTS nizhal_meta(key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nizhal_outbox(
  ordinal INTEGER PRIMARY KEY NOT NULL,
  mutation_id INTEGER UNIQUE,
  client_mutation_id TEXT NOT NULL UNIQUE,
  id_seed TEXT NOT NULL,
  name TEXT NOT NULL,
  args_version INTEGER NOT NULL,
  args TEXT NOT NULL,
  hlc TEXT NOT NULL,
  depends_on TEXT NOT NULL DEFAULT '[]',
  enqueued_at TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  covered INTEGER NOT NULL DEFAULT 0,
  outcome_known INTEGER NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT '',
  dependency_key TEXT NOT NULL DEFAULT '',
  awaits_server INTEGER NOT NULL DEFAULT 0,
  send_before INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS nizhal_outbox_awaiting ON nizhal_outbox(ordinal) WHERE awaits_server <> 0;
CREATE TABLE IF NOT EXISTS nizhal_undo(
  ordinal INTEGER NOT NULL, table_name TEXT NOT NULL, key TEXT NOT NULL, before TEXT,
  PRIMARY KEY(ordinal, table_name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nizhal_sent(mutation_id INTEGER PRIMARY KEY NOT NULL, client_mutation_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS nizhal_staged(page INTEGER PRIMARY KEY NOT NULL, is_reset INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS nizhal_dead_letter(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  client_mutation_id TEXT NOT NULL,
  id_seed TEXT NOT NULL,
  name TEXT NOT NULL,
  args_version INTEGER NOT NULL,
  args TEXT NOT NULL,
  depends_on TEXT NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  at TEXT NOT NULL,
  dependency_key TEXT NOT NULL DEFAULT '',
  chain TEXT NOT NULL DEFAULT '[]');
CREATE TABLE IF NOT EXISTS nizhal_id_map(
  table_name TEXT NOT NULL, client_key TEXT NOT NULL, server_key TEXT NOT NULL, client_mutation_id TEXT NOT NULL,
  PRIMARY KEY(table_name, client_key)) WITHOUT ROWID;
)"
                                       R"(
CREATE TABLE IF NOT EXISTS nizhal_inverse(
  ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
  client_mutation_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, args_version INTEGER NOT NULL, args TEXT NOT NULL,
  undone_by TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS nizhal_outbox_key ON nizhal_outbox(dependency_key) WHERE dependency_key <> '';
CREATE INDEX IF NOT EXISTS nizhal_outbox_dependent ON nizhal_outbox(ordinal) WHERE depends_on <> '[]';
CREATE TABLE IF NOT EXISTS nizhal_settled(
  ordinal INTEGER PRIMARY KEY NOT NULL, client_mutation_id TEXT NOT NULL, code TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '', dropped INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS nizhal_subscription(
  rule TEXT NOT NULL, parameters TEXT NOT NULL, until TEXT, PRIMARY KEY(rule, parameters)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nizhal_conflict(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  client_mutation_id TEXT NOT NULL, table_name TEXT NOT NULL, key TEXT NOT NULL, column_name TEXT NOT NULL,
  mutator TEXT NOT NULL, lost TEXT NOT NULL, at TEXT NOT NULL, winner_at TEXT NOT NULL,
  dismissed INTEGER NOT NULL DEFAULT 0,
  UNIQUE(client_mutation_id, table_name, key, column_name));
)";

constexpr const char* kFromFormat1 = R"(
ALTER TABLE nizhal_outbox ADD COLUMN dependency_key TEXT NOT NULL DEFAULT '';
ALTER TABLE nizhal_outbox ADD COLUMN awaits_server INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nizhal_outbox ADD COLUMN send_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nizhal_dead_letter ADD COLUMN dependency_key TEXT NOT NULL DEFAULT '';
ALTER TABLE nizhal_dead_letter ADD COLUMN chain TEXT NOT NULL DEFAULT '[]';
)";

}  // namespace

Value zero_value(ColumnType type) {
  switch (type) {
    case ColumnType::boolean:
      return false;
    case ColumnType::integer:
    case ColumnType::bigint:
    case ColumnType::timestamp:
      return std::int64_t{0};
    case ColumnType::real:
      return 0.0;
    case ColumnType::blob:
      return Blob{};
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return Blob{{0, 0}};  // the empty update
    case ColumnType::numeric:
      return std::string("0");
    case ColumnType::date:
      return std::string("1970-01-01");
    case ColumnType::json:
      return std::string("null");
    case ColumnType::uuid:
      return std::string("00000000-0000-0000-0000-000000000000");
    case ColumnType::text:
      return std::string();
  }
  return std::string();
}

bool lacks_required(const TableDef& table, const Row& row) {
  for (std::size_t i = 0; i < row.size() && i < table.columns.size(); ++i) {
    if (is_null(row[i]) && !table.columns[i].nullable) return true;
  }
  return false;
}

Row fill_required(const TableDef& table, Row row) {
  for (std::size_t i = 0; i < row.size() && i < table.columns.size(); ++i) {
    if (!is_null(row[i]) || table.columns[i].nullable) continue;
    row[i] = table.columns[i].default_value.value_or(zero_value(table.columns[i].type));
  }
  return row;
}

Result<void> check_is_store(sqlite::Connection& connection) {
  auto kind = connection.query_text(
      "SELECT CASE WHEN sum(name = 'nizhal_outbox') > 0 OR count(*) = 0 THEN 'store' "
      "WHEN sum(name = 'nizhal_state') > 0 THEN 'server' ELSE 'other' END FROM sqlite_schema");
  if (!kind) return tl::unexpected(kind.error());
  if (**kind == "store") return {};
  return failure(ErrorCode::schema_mismatch,
                 fmt::format("this file is {}, not a device's store, and was left as it is; name the store's own file, "
                             "or one that does not exist yet",
                             **kind == "server" ? "a server's database" : "a SQLite database of something else"));
}

Result<void> prepare_control_tables(StoreState& state) {
  // A file that is only read here must not be written: an open that finds everything in place changes nothing.
  auto exists = state.connection->query_integer("SELECT 1 FROM sqlite_master WHERE name = 'nizhal_id_map'");
  if (!exists) return tl::unexpected(exists.error());
  if (!*exists) {
    auto transaction = sqlite::Transaction::begin(*state.connection, sqlite::Transaction::Mode::immediate);
    if (!transaction) return tl::unexpected(transaction.error());
    if (auto made = state.connection->execute(kControlTables); !made) return made;
    if (auto done = transaction->commit(); !done) return done;
  }
  state.meta.emplace(*state.connection);
  if (auto loaded = state.meta->load(); !loaded) return loaded;
  const std::int64_t format = state.meta->integer(meta_key::kFormat);
  if (format > kStoreFormat)
    return failure(
        ErrorCode::schema_mismatch,
        fmt::format("this file was written by a newer release (format {}, this one knows {}); update the app", format,
                    kStoreFormat));
  if (format == 0 || format == kStoreFormat) return {};
  auto transaction = sqlite::Transaction::begin(*state.connection, sqlite::Transaction::Mode::immediate);
  if (!transaction) return tl::unexpected(transaction.error());
  // Another process that opens it at this moment may have been first.
  if (auto loaded = state.meta->load(); !loaded) return loaded;
  const std::int64_t found = state.meta->integer(meta_key::kFormat);
  if (found >= kStoreFormat) return {};
  if (found == 1) {
    if (auto changed = state.connection->execute(kFromFormat1); !changed) return changed;
  }
  if (auto made = state.connection->execute(kControlTables); !made) return made;
  if (auto kept = state.meta->set(meta_key::kFormat, kStoreFormat); !kept) return kept;
  return transaction->commit();
}

}  // namespace nizhal::client
