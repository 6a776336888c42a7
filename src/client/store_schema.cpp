#include "client/store_schema.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client {
namespace {

// History of the control tables' format:
// 1  first
// 2  dependency keys, writes that wait for the server, the chain of a dead letter, inverses, subscriptions
constexpr std::int64_t kFormat = 2;

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
  awaits_server INTEGER NOT NULL DEFAULT 0);
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
CREATE TABLE IF NOT EXISTS nizhal_subscription(
  rule TEXT NOT NULL, parameters TEXT NOT NULL, until TEXT, PRIMARY KEY(rule, parameters)) WITHOUT ROWID;
)";

constexpr const char* kFromFormat1 = R"(
ALTER TABLE nizhal_outbox ADD COLUMN dependency_key TEXT NOT NULL DEFAULT '';
ALTER TABLE nizhal_outbox ADD COLUMN awaits_server INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nizhal_dead_letter ADD COLUMN dependency_key TEXT NOT NULL DEFAULT '';
ALTER TABLE nizhal_dead_letter ADD COLUMN chain TEXT NOT NULL DEFAULT '[]';
)";

/// The tables as this file has them: {"notes": {"key": "id", "columns": [["id", "text", false], …]}}
json::object describe(const TableDef& table) {
  json::array columns;
  for (const ColumnDef& column : table.columns)
    columns.push_back(json::array{column.name, to_string(column.type), column.nullable});
  return json::object{{"key", table.key}, {"columns", std::move(columns)}};
}

Error breaking(const TableDef& table, const std::string& what) {
  return Error{ErrorCode::schema_mismatch,
               fmt::format("table \"{}\": {}; this device's file cannot be changed in place. Keep the column as it was "
                           "and add a new one, or open a new file",
                           table.name, what)};
}

struct StoredColumn {
  std::string type;
  bool nullable = false;
};

Result<void> add_column(StoreState& state, const TableDef& table, ColumnDef column) {
  // SQLite wants a value for the rows that are here; the server fills the column in soon after (S15).
  if (!column.nullable && !column.default_value) column.default_value = zero_value(column.type);
  state.log.info("storage", fmt::format("table \"{}\": column \"{}\" added", table.name, column.name));
  return state.connection->execute(
      fmt::format("ALTER TABLE {} ADD COLUMN {}", quote_identifier(table.name), sqlite::column_ddl(table, column)));
}

/// Adds what is new; columns that are no longer declared but stay in the file are appended to `described`.
Result<void> migrate_table(StoreState& state, const TableDef& table, const json::value& stored,
                           json::value& described) {
  if (string_member(stored, "key").value_or("") != table.key)
    return tl::unexpected(breaking(table, fmt::format("its key became \"{}\"", table.key)));
  std::map<std::string, StoredColumn, std::less<>> columns;
  if (const json::value* list = member(stored, "columns"); list && list->is_array()) {
    for (const json::value& column : list->get_array()) {
      const json::array* parts = column.if_array();
      if (!parts || parts->size() != 3 || !(*parts)[0].is_string() || !(*parts)[1].is_string() ||
          !(*parts)[2].is_bool())
        return failure(ErrorCode::corrupt, "nizhal_meta: \"schema\" cannot be read");
      columns[std::string((*parts)[0].get_string())] = {std::string((*parts)[1].get_string()), (*parts)[2].get_bool()};
    }
  }
  for (const ColumnDef& column : table.columns) {
    const auto it = columns.find(column.name);
    if (it == columns.end()) {
      if (auto added = add_column(state, table, column); !added) return added;
      continue;
    }
    if (it->second.type != to_string(column.type))
      return tl::unexpected(breaking(table, fmt::format("column \"{}\" changed from {} to {}", column.name,
                                                        it->second.type, to_string(column.type))));
    if (it->second.nullable != column.nullable)
      return tl::unexpected(breaking(
          table, fmt::format("column \"{}\" became {}", column.name, column.nullable ? "nullable" : "required")));
    columns.erase(it);
  }
  // Columns that the domain no longer has stay in the file as long as rows can be written without them.
  for (const auto& [name, column] : columns) {
    if (!column.nullable) return tl::unexpected(breaking(table, fmt::format("column \"{}\" was removed", name)));
    described.get_object()["columns"].get_array().push_back(json::array{name, column.type, column.nullable});
  }
  return {};
}

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
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return Blob{};
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
  if (format > kFormat)
    return failure(
        ErrorCode::schema_mismatch,
        fmt::format("this file was written by a newer release (format {}, this one knows {}); update the app", format,
                    kFormat));
  if (format != 1) return {};
  auto transaction = sqlite::Transaction::begin(*state.connection, sqlite::Transaction::Mode::immediate);
  if (!transaction) return tl::unexpected(transaction.error());
  // Another process that opens it at this moment may have been first.
  if (auto loaded = state.meta->load(); !loaded) return loaded;
  if (state.meta->integer(meta_key::kFormat) != 1) return {};
  if (auto changed = state.connection->execute(kFromFormat1); !changed) return changed;
  if (auto made = state.connection->execute(kControlTables); !made) return made;
  if (auto kept = state.meta->set(meta_key::kFormat, kFormat); !kept) return kept;
  return transaction->commit();
}

Result<void> prepare_app_tables(StoreState& state) {
  json::object described;
  json::object fingerprints;
  for (std::size_t i = 0; i < state.domain().tables().size(); ++i) {
    const TableDef& table = state.domain().table(i);
    described[table.name] = describe(table);
    fingerprints[table.name] = state.domain().fingerprint(i).text();
  }
  const std::string declared = to_text(json::array{described, fingerprints});
  Meta& meta = *state.meta;
  const std::string domain_name = meta.get(meta_key::kDomain);
  if (!domain_name.empty() && domain_name != state.domain().domain().name())
    return failure(ErrorCode::schema_mismatch,
                   fmt::format("this file belongs to the domain \"{}\", not \"{}\"; open another file", domain_name,
                               state.domain().domain().name()));
  if (meta.get(meta_key::kDeclared) == declared) return {};

  const std::string stored_text = meta.get(meta_key::kSchema);
  auto stored = parse_json(stored_text.empty() ? std::string_view("{}") : std::string_view(stored_text));
  if (!stored) return failure(ErrorCode::corrupt, "nizhal_meta: \"schema\" cannot be read");
  for (const auto& table : state.domain().tables()) {
    if (const json::value* before = member(*stored, table->name)) {
      if (auto migrated = migrate_table(state, *table, *before, described[table->name]); !migrated) return migrated;
    } else if (auto made = state.connection->execute(sqlite::table_ddl(*table)); !made) {
      return made;
    }
  }
  // Tables that the domain no longer has stay, and stay described, so that they can come back.
  for (const auto& [name, table] : stored->get_object()) {
    if (!described.contains(name)) described[name] = table;
  }
  // Pages that were asked for with other columns are not complete for these: the pull starts over from the cursor.
  if (auto cleared = state.connection->execute("DELETE FROM nizhal_staged"); !cleared) return cleared;
  if (auto kept = meta.set(meta_key::kStagedCursor, ""); !kept) return kept;
  if (auto kept = meta.set(meta_key::kFormat, kFormat); !kept) return kept;
  if (auto kept = meta.set(meta_key::kDomain, state.domain().domain().name()); !kept) return kept;
  if (auto kept = meta.set(meta_key::kDeclared, declared); !kept) return kept;
  return meta.set(meta_key::kSchema, to_text(json::value(described)));
}

}  // namespace nizhal::client
