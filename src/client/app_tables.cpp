// The app's tables in the device's file, brought to what the domain declares now (S10).
//
// The fact that must not break: no upgrade loses what the user did. What can be changed in place is; a table whose rows
// cannot be kept is made anew only where a server, or the outbox, can bring them again.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "client/rebase.hpp"
#include "client/store_schema.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client {
namespace {

constexpr ColumnType kTypes[] = {ColumnType::text,    ColumnType::uuid,    ColumnType::integer, ColumnType::bigint,
                                 ColumnType::real,    ColumnType::boolean, ColumnType::numeric, ColumnType::timestamp,
                                 ColumnType::date,    ColumnType::json,    ColumnType::blob,    ColumnType::crdt_text,
                                 ColumnType::crdt_map};

struct StoredColumn {
  std::string name, type;
  bool nullable = false;
};
/// A table as the file has it.
struct StoredTable {
  std::string key;
  std::vector<StoredColumn> columns;
};

/// {"notes": {"key": "id", "columns": [["id", "text", false], …]}}
json::object describe(const std::string& key, const std::vector<StoredColumn>& stored) {
  json::array columns;
  for (const StoredColumn& column : stored) columns.push_back(json::array{column.name, column.type, column.nullable});
  return json::object{{"key", key}, {"columns", std::move(columns)}};
}

std::vector<StoredColumn> declared_columns(const TableDef& table) {
  std::vector<StoredColumn> columns;
  for (const ColumnDef& column : table.columns)
    columns.push_back({column.name, to_string(column.type), column.nullable});
  return columns;
}

Result<StoredTable> parse_stored(const json::value& described) {
  StoredTable table;
  table.key = std::string(string_member(described, "key").value_or(""));
  const json::value* list = member(described, "columns");
  if (!list || !list->is_array()) return table;
  for (const json::value& column : list->get_array()) {
    const json::array* parts = column.if_array();
    if (!parts || parts->size() != 3 || !(*parts)[0].is_string() || !(*parts)[1].is_string() || !(*parts)[2].is_bool())
      return failure(ErrorCode::corrupt, "nizhal_meta: \"schema\" cannot be read");
    table.columns.push_back(
        {std::string((*parts)[0].get_string()), std::string((*parts)[1].get_string()), (*parts)[2].get_bool()});
  }
  return table;
}

ColumnDef as_column(const StoredColumn& stored) {
  ColumnDef column;
  column.name = stored.name;
  column.nullable = stored.nullable;
  for (const ColumnType type : kTypes)
    if (stored.type == to_string(type)) column.type = type;
  return column;
}

/// Why the rows that are here cannot be kept; nothing: they can.
std::optional<std::string> breaking_change(const TableDef& table, const StoredTable& stored) {
  if (stored.key != table.key) return fmt::format("its key changed from \"{}\" to \"{}\"", stored.key, table.key);
  for (const StoredColumn& column : stored.columns) {
    const std::size_t index = table.index_of(column.name);
    if (index == TableDef::npos || column.type == to_string(table.columns[index].type)) continue;
    return fmt::format("column \"{}\" changed from {} to {}", column.name, column.type,
                       to_string(table.columns[index].type));
  }
  return std::nullopt;
}

/// What a required column holds in rows that have nothing for it, until the server fills it (S15).
Value stand_in(const ColumnDef& column) { return column.default_value.value_or(zero_value(column.type)); }

Result<void> add_column(StoreState& state, const TableDef& table, ColumnDef column) {
  if (!column.nullable) column.default_value = stand_in(column);
  state.log.info("storage", fmt::format("table \"{}\": column \"{}\" added", table.name, column.name));
  return state.connection->execute(
      fmt::format("ALTER TABLE {} ADD COLUMN {}", quote_identifier(table.name), sqlite::column_ddl(table, column)));
}

/// A row may be written without it.
Result<bool> has_default(StoreState& state, const TableDef& table, const std::string& column) {
  auto select =
      state.connection->prepare("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 AND dflt_value NOT NULL");
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, table.name).bind_text(2, column);
  return select->step();
}

/// Indexes and triggers that somebody added to the file.
Result<std::vector<std::string>> attachments(StoreState& state, const TableDef& table) {
  auto select = state.connection->prepare(
      "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 AND type IN ('index', 'trigger') AND sql NOT NULL");
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, table.name);
  std::vector<std::string> statements;
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return statements;
    statements.emplace_back(select->text(0));
  }
}

/// SQLite cannot change whether a column may be null, so the rows move to a table that is as declared. Columns that are
/// no longer declared go along and may be null from now on.
Result<void> copy_table(StoreState& state, const TableDef& table, std::vector<StoredColumn>& stored) {
  TableDef copy = table;
  copy.name = "nizhal_copy_" + table.name;
  std::vector<std::string> extra;
  std::string into, from;
  std::vector<std::pair<ColumnType, Value>> parameters;
  for (StoredColumn& column : stored) {
    const std::string name = quote_identifier(column.name);
    const std::size_t index = table.index_of(column.name);
    std::string source = name;
    if (index == TableDef::npos) {
      column.nullable = true;
      extra.push_back(sqlite::column_ddl(copy, as_column(column)));
    } else if (column.nullable && !table.columns[index].nullable) {
      parameters.emplace_back(table.columns[index].type, stand_in(table.columns[index]));
      source = fmt::format("coalesce({}, ?{})", name, parameters.size());
    }
    into += (into.empty() ? "" : ", ") + name;
    from += (from.empty() ? "" : ", ") + source;
  }
  auto attached = attachments(state, table);
  if (!attached) return tl::unexpected(attached.error());
  if (auto made = state.connection->execute(sqlite::table_ddl(copy, extra)); !made) return made;
  {
    auto move =
        state.connection->prepare(fmt::format("INSERT INTO {} ({}) SELECT {} FROM {}", quote_identifier(copy.name),
                                              into, from, quote_identifier(table.name)));
    if (!move) return tl::unexpected(move.error());
    for (std::size_t i = 0; i < parameters.size(); ++i)
      move->bind_value(static_cast<int>(i) + 1, parameters[i].first, parameters[i].second);
    if (auto moved = move->run(); !moved) return moved;
  }
  const std::string name = quote_identifier(table.name);
  if (auto done = state.connection->execute(
          fmt::format("DROP TABLE {}; ALTER TABLE {} RENAME TO {}", name, quote_identifier(copy.name), name));
      !done)
    return done;
  for (const std::string& statement : *attached) {
    if (auto made = state.connection->execute(statement); !made)
      state.log.warning("storage", fmt::format("table \"{}\": not made again after an upgrade: {} ({})", table.name,
                                               statement, made.error().message));
  }
  state.log.info("storage", fmt::format("table \"{}\": copied into its new shape", table.name));
  return {};
}

/// Keeps the rows. Returns the table as the file has it now.
Result<json::object> migrate_table(StoreState& state, const TableDef& table, StoredTable stored) {
  bool needs_copy = false;
  std::vector<StoredColumn> columns;
  for (StoredColumn& column : stored.columns) {
    const std::size_t index = table.index_of(column.name);
    if (index != TableDef::npos) {
      needs_copy = needs_copy || column.nullable != table.columns[index].nullable;
    } else if (!column.nullable) {
      auto fills_itself = has_default(state, table, column.name);
      if (!fills_itself) return tl::unexpected(fills_itself.error());
      needs_copy = needs_copy || !*fills_itself;
    }
    columns.push_back(std::move(column));
  }
  for (const ColumnDef& column : table.columns) {
    const bool is_there =
        std::any_of(columns.begin(), columns.end(), [&](const StoredColumn& one) { return one.name == column.name; });
    if (is_there) continue;
    if (auto added = add_column(state, table, column); !added) return tl::unexpected(added.error());
    columns.push_back({column.name, to_string(column.type), column.nullable});
  }
  if (needs_copy) {
    if (auto copied = copy_table(state, table, columns); !copied) return tl::unexpected(copied.error());
  }
  for (StoredColumn& column : columns) {
    if (const std::size_t index = table.index_of(column.name); index != TableDef::npos)
      column.nullable = table.columns[index].nullable;
  }
  return describe(table.key, columns);
}

/// With what is broken about them, in the domain's order.
using BrokenTables = std::vector<std::pair<const TableDef*, std::string>>;

/// The rows of these tables can only come anew: from the server or, if nothing was ever pulled, from the outbox.
Result<void> rebuild(StoreState& state, const BrokenTables& broken) {
  Meta& meta = *state.meta;
  const bool was_synced = parse_sync_state(meta.get(meta_key::kSyncState)) != SyncState::empty;
  const bool has_server =
      !state.options.server.empty() || !meta.get(meta_key::kServer).empty() || state.options.has_target;
  const auto& [first, change] = broken.front();
  if (was_synced && !has_server)
    return failure(
        ErrorCode::schema_mismatch,
        fmt::format("table \"{}\": {}; its rows must come anew from the server, and this open names none. Open "
                    "it with the server (or the sync target) that it had, or keep the table as it was and add "
                    "a new column. Nothing was changed",
                    first->name, change));
  // A handle of the old app would write the old types into the new table.
  if (state.options.locks) {
    auto alone = state.options.locks->try_alone();
    if (!alone) return tl::unexpected(alone.error());
    if (!*alone)
      return failure(
          ErrorCode::busy,
          fmt::format("table \"{}\": {}; the file is open elsewhere, in another process or in this one: close "
                      "it there, then open it again. Nothing was changed",
                      first->name, change));
    if (auto entered = state.options.locks->enter(); !entered) return entered;
  }
  for (const auto& [table, why] : broken) {
    state.log.warning("storage", fmt::format("table \"{}\": {}; it is made anew and filled again {}", table->name, why,
                                             was_synced ? "by the next sync" : "from what is pending"));
    if (auto gone = state.connection->execute("DROP TABLE " + quote_identifier(table->name)); !gone) return gone;
    if (auto made = state.connection->execute(sqlite::table_ddl(*table)); !made) return made;
    auto forget = state.connection->prepare("DELETE FROM nizhal_undo WHERE table_name = ?1");
    if (!forget) return tl::unexpected(forget.error());
    forget->bind_text(1, table->name);
    if (auto done = forget->run(); !done) return done;
  }
  // The pull that starts over is staged, so the other tables keep showing what they have until it is complete.
  if (was_synced) {
    if (auto kept = meta.set(meta_key::kSyncState, to_string(SyncState::done)); !kept) return kept;
  }
  mark::everything(state);
  return meta.set(meta_key::kCursor, "");
}

}  // namespace

Result<void> prepare_app_tables(StoreState& state) {
  json::object described;
  json::object fingerprints;
  for (std::size_t i = 0; i < state.domain().tables().size(); ++i) {
    const TableDef& table = state.domain().table(i);
    described[table.name] = describe(table.key, declared_columns(table));
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
  if (!stored || !stored->is_object()) return failure(ErrorCode::corrupt, "nizhal_meta: \"schema\" cannot be read");
  BrokenTables broken;
  for (const auto& table : state.domain().tables()) {
    const json::value* before = member(*stored, table->name);
    if (!before) {
      if (auto made = state.connection->execute(sqlite::table_ddl(*table)); !made) return made;
      continue;
    }
    auto there = parse_stored(*before);
    if (!there) return tl::unexpected(there.error());
    if (auto change = breaking_change(*table, *there)) {
      broken.emplace_back(table.get(), std::move(*change));
      continue;
    }
    auto now = migrate_table(state, *table, std::move(*there));
    if (!now) return tl::unexpected(now.error());
    described[table->name] = std::move(*now);
  }
  if (!broken.empty()) {
    if (auto rebuilt = rebuild(state, broken); !rebuilt) return rebuilt;
  }
  // Tables that the domain no longer has stay, and stay described, so that they can come back.
  for (const auto& [name, table] : stored->get_object()) {
    if (!described.contains(name)) described[name] = table;
  }
  // Pages that were asked for with other columns are not complete for these: the pull starts over from the cursor.
  if (auto cleared = state.connection->execute("DELETE FROM nizhal_staged"); !cleared) return cleared;
  if (auto kept = meta.set(meta_key::kStagedCursor, ""); !kept) return kept;
  if (auto kept = meta.set(meta_key::kFormat, kStoreFormat); !kept) return kept;
  if (auto kept = meta.set(meta_key::kDomain, state.domain().domain().name()); !kept) return kept;
  if (auto kept = meta.set(meta_key::kDeclared, declared); !kept) return kept;
  // What is pending runs again as this version of the app runs it.
  if (!domain_name.empty()) mark::everything(state);
  return meta.set(meta_key::kSchema, to_text(json::value(described)));
}

std::optional<TableDef> former_table(const StoreState& state, std::string_view name) {
  const auto described = parse_json(state.meta->get(meta_key::kSchema));
  const json::value* entry = described ? member(*described, name) : nullptr;
  auto stored = entry ? parse_stored(*entry) : Result<StoredTable>(tl::unexpected(Error{}));
  if (!stored) return std::nullopt;
  TableDef table;
  table.name = std::string(name);
  table.key = stored->key;
  for (const StoredColumn& column : stored->columns) table.columns.push_back(as_column(column));
  if (table.key_index() == TableDef::npos) return std::nullopt;
  return table;
}

}  // namespace nizhal::client
