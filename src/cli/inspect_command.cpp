// `nizhal inspect`: what a store file holds, read without opening it as a device: nothing syncs, nothing is written.
#include <fmt/format.h>
#include <sqlite3.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/bytes.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "protocol/cursor.hpp"
#include "query/to_sql.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::cli {

namespace {

// mutation_id → mutationId, as the other commands and the wire name things.
std::string camel_case(std::string_view name) {
  std::string out;
  bool upper = false;
  for (const char c : name) {
    if (c == '_') {
      upper = true;
    } else {
      out += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
      upper = false;
    }
  }
  return out;
}

json::value column_value(const sqlite::Statement& row, int column, const std::string& name) {
  switch (sqlite3_column_type(row.handle(), column)) {
    case SQLITE_NULL:
      return nullptr;
    case SQLITE_INTEGER:
      return row.integer(column);
    case SQLITE_FLOAT:
      return row.real(column);
    case SQLITE_BLOB:
      return json::value(json::string(to_base64(row.blob(column).bytes)));
    default:
      if (name == "args" || name == "depends_on" || name == "before" || name == "chain" || name == "parameters" ||
          name == "lost")
        return json_or_text(row.text(column));
      return json::value(json::string(row.text(column)));
  }
}

Result<json::array> all_rows(sqlite::Connection& file, const std::string& sql) {
  auto statement = file.prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  json::array rows;
  while (true) {
    const auto has_row = statement->step();
    if (!has_row) return tl::unexpected(has_row.error());
    if (!*has_row) return rows;
    json::object row;
    for (int i = 0; i < statement->column_count(); ++i) {
      const std::string name = statement->column_name(i);
      row[camel_case(name)] = column_value(*statement, i, name);
    }
    rows.push_back(std::move(row));
  }
}

json::value decoded_cursor(const std::string& text) {
  if (text.empty()) return nullptr;
  const auto cursor = protocol::decode_cursor(text);
  if (!cursor) return json::object{{"error", "this version cannot decode it"}, {"text", text}};
  json::object buckets;
  for (const auto& [key, bucket] : cursor->buckets) {
    json::object backfill;
    for (const auto& [table, last_key] : bucket.backfill)
      backfill[table] = last_key ? json::value(json::string(*last_key)) : json::value();
    buckets[key] = json::object{{"gain", number(bucket.gain)},
                                {"removalsAfter", number(bucket.removals_after)},
                                {"backfill", std::move(backfill)}};
  }
  json::object fingerprints;
  for (const auto& [table, fingerprint] : cursor->fingerprints) fingerprints[table] = fingerprint;
  return json::object{{"epoch", cursor->epoch},
                      {"position", number(cursor->position)},
                      {"buckets", std::move(buckets)},
                      {"fingerprints", std::move(fingerprints)},
                      {"rowsBackfilled", cursor->rows_backfilled},
                      {"rowsTotal", cursor->rows_total}};
}

std::int64_t size_of(const std::string& path) {
  std::error_code absent;
  const auto size = std::filesystem::file_size(path, absent);
  return absent ? 0 : static_cast<std::int64_t>(size);
}

// The actor with its claims as an object, not as the text that the store keeps.
json::value actor_of(const std::string& text) {
  if (text.empty()) return nullptr;
  json::value actor = json_or_text(text);
  if (json::object* object = actor.if_object())
    if (json::value* claims = object->if_contains("claims"); claims && claims->is_string())
      *claims = json_or_text(std::string_view(*claims->if_string()));
  return actor;
}

/// Bytes of each table with its indexes; null where SQLite was built without the table that tells.
json::value bytes_by_table(sqlite::Connection& file) {
  const auto rows = all_rows(file,
                             "SELECT coalesce(s.tbl_name, d.name) AS name, sum(d.pgsize) AS bytes FROM dbstat AS d "
                             "LEFT JOIN sqlite_schema AS s ON s.name = d.name GROUP BY 1 ORDER BY 1");
  if (!rows) return nullptr;
  json::object bytes;
  for (const json::value& row : *rows)
    if (const json::value* sum = member(row, "bytes")) bytes[string_member(row, "name").value_or("")] = *sum;
  return bytes;
}

/// The rows of a control table that older files do not have.
Result<json::array> rows_if_there(sqlite::Connection& file, const std::string& table, const std::string& order) {
  const auto there = file.query_integer(fmt::format("SELECT 1 FROM sqlite_schema WHERE name = '{}'", table));
  if (!there) return tl::unexpected(there.error());
  if (!*there) return json::array{};
  return all_rows(file, fmt::format("SELECT * FROM {} ORDER BY {}", table, order));
}

Result<json::object> read_store(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    return failure(ErrorCode::io_error, fmt::format("{}: there is no such file", path));
  auto opened = sqlite::Connection::open(path, {.read_only = true, .create = false});
  const auto no_store = [&](std::string_view reason) {
    return failure(ErrorCode::bad_request,
                   fmt::format("{}: this is no store of a device{}; inspect takes the file that "
                               "`nizhal client --store` or open_store made",
                               path, reason));
  };
  if (!opened && opened.error().code == ErrorCode::corrupt) return no_store(" (it is no SQLite file, or damaged)");
  if (!opened) return tl::unexpected(opened.error());
  sqlite::Connection& file = **opened;
  const auto is_store = file.query_integer(
      "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('nizhal_outbox', 'nizhal_undo')");
  if (!is_store) return tl::unexpected(is_store.error());
  if (is_store->value_or(0) != 2) {
    const auto is_server = file.query_integer("SELECT 1 FROM sqlite_schema WHERE name = 'nizhal_state'");
    if (!is_server) return tl::unexpected(is_server.error());
    return no_store(*is_server ? " but a server's database" : " but a SQLite database of something else");
  }
  // One snapshot, should the device write meanwhile.
  if (auto begun = file.execute("BEGIN"); !begun) return tl::unexpected(begun.error());

  const auto meta_rows = all_rows(file, "SELECT key, value FROM nizhal_meta");
  const auto outbox = all_rows(file, "SELECT * FROM nizhal_outbox ORDER BY ordinal");
  const auto undo = all_rows(file, "SELECT * FROM nizhal_undo ORDER BY ordinal");
  const auto dead_letters = all_rows(file, "SELECT * FROM nizhal_dead_letter ORDER BY id");
  const auto inverses = rows_if_there(file, "nizhal_inverse", "ordinal");
  const auto subscriptions = rows_if_there(file, "nizhal_subscription", "rule, parameters");
  const auto conflicts = rows_if_there(file, "nizhal_conflict", "id");
  const auto staged = file.query_integer("SELECT count(*) FROM nizhal_staged");
  const auto integrity = all_rows(file, "PRAGMA integrity_check(20)");
  const auto table_names = all_rows(file,
                                    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'nizhal_*' "
                                    "AND name NOT GLOB 'sqlite_*' ORDER BY name");
  for (const auto* part :
       {&meta_rows, &outbox, &undo, &dead_letters, &inverses, &subscriptions, &conflicts, &integrity, &table_names})
    if (!*part) return tl::unexpected(part->error());
  if (!staged) return tl::unexpected(staged.error());

  std::map<std::string, std::string> meta;
  for (const json::value& row : *meta_rows)
    meta[std::string(string_member(row, "key").value_or(""))] = string_member(row, "value").value_or("");
  json::object tables;
  for (const json::value& row : *table_names) {
    const std::string name(string_member(row, "name").value_or(""));
    const auto count = file.query_integer("SELECT count(*) FROM " + quote_identifier(name));
    if (!count) return tl::unexpected(count.error());
    tables[name] = count->value_or(0);
  }
  json::array problems;
  for (const json::value& row : *integrity) {
    const std::string_view text = string_member(row, "integrityCheck").value_or("");
    if (text != "ok") problems.emplace_back(text);
  }

  return json::object{{"file", path},
                      {"domain", text_or_null(meta["domain"])},
                      {"format", text_or_null(meta["format"])},
                      {"clientId", text_or_null(meta["client_id"])},
                      {"actor", actor_of(meta["actor"])},
                      {"server", text_or_null(meta["server"])},
                      {"lastSynced", text_or_null(meta["last_synced"])},
                      {"cursor", decoded_cursor(meta["cursor"])},
                      {"outbox", *outbox},
                      {"undo", *undo},
                      {"deadLetters", *dead_letters},
                      {"conflicts", *conflicts},
                      {"stagedPages", staged->value_or(0)},
                      {"inverses", inverses->size()},
                      {"subscriptions", *subscriptions},
                      {"tables", std::move(tables)},
                      {"tableBytes", bytes_by_table(file)},
                      {"fileBytes", size_of(path)},
                      {"walBytes", size_of(path + "-wal")},
                      {"integrity", problems.empty() ? json::value("ok") : json::value(std::move(problems))}};
}

std::string shown(const json::value* value) {
  if (!value || value->is_null()) return "none";
  if (const auto* text = value->if_string()) return std::string(*text);
  return to_text(*value);
}

void print_rows(const std::string& title, const json::value* rows, const std::vector<std::string>& columns) {
  const json::array* array = rows ? rows->if_array() : nullptr;
  if (!array) return;
  print_line("\n" + bold(title) + fmt::format(" ({})", array->size()));
  if (array->empty()) return;
  SqlResult table;
  table.columns = columns;
  for (const json::value& row : *array) {
    auto& cells = table.rows.emplace_back();
    for (const std::string& column : columns) {
      const json::value* cell = member(row, column);
      if (const auto whole = cell ? as_integer(*cell) : std::nullopt) {
        cells.emplace_back(*whole);
      } else {
        cells.emplace_back(cell && cell->is_null() ? std::string("-") : shown(cell));
      }
    }
  }
  print_line(rows_as_table(table).text());
}

void print_cursor(const json::value* cursor) {
  const auto field = [&](std::string_view name) { return shown(cursor ? member(*cursor, name) : nullptr); };
  if (!cursor || !cursor->is_object()) {
    print_line(fmt::format("{:<14}none: it has never synced", "cursor"));
    return;
  }
  if (member(*cursor, "error")) {
    print_line(fmt::format("{:<14}{}", "cursor", red(field("error"))));
    return;
  }
  print_line(fmt::format("{:<14}position {}, epoch {}", "cursor", field("position"), field("epoch")));
  const json::value* buckets = member(*cursor, "buckets");
  if (!buckets || !buckets->is_object()) return;
  for (const auto& [key, bucket] : *buckets->if_object()) {
    const json::value* backfill = member(bucket, "backfill");
    const bool filling = backfill && backfill->is_object() && !backfill->if_object()->empty();
    print_line(fmt::format("{:<14}bucket {}, gained at {}{}", "", std::string_view(key), shown(member(bucket, "gain")),
                           filling ? ", being filled: " + to_text(*backfill) : std::string()));
  }
}

void print_tables(const json::value* tables, const json::value* bytes) {
  if (!tables || !tables->is_object()) return;
  std::string text;
  for (const auto& [name, count] : *tables->if_object())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", std::string_view(name), shown(&count));
  print_line(fmt::format("{:<14}{}", "rows", text));
  if (!bytes || !bytes->is_object()) return;
  text.clear();
  for (const auto& [name, size] : *bytes->if_object())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", std::string_view(name),
                        readable_bytes(static_cast<std::uint64_t>(as_integer(size).value_or(0))));
  print_line(fmt::format("{:<14}{}", "of which", text));
}

void print_for_people(const json::object& store) {
  const auto line = [&](std::string_view name, std::string_view field) {
    print_line(fmt::format("{:<14}{}", name, shown(store.if_contains(field))));
  };
  const auto integer = [&](std::string_view field) {
    const json::value* value = store.if_contains(field);
    return static_cast<std::uint64_t>(value ? as_integer(*value).value_or(0) : 0);
  };
  line("file", "file");
  print_line(fmt::format("{:<14}{}, write-ahead log {}", "size", readable_bytes(integer("fileBytes")),
                         readable_bytes(integer("walBytes"))));
  const bool is_sound = shown(store.if_contains("integrity")) == "ok";
  print_line(fmt::format("{:<14}{}", "integrity", is_sound ? green("ok") : red(shown(store.if_contains("integrity")))));
  line("domain", "domain");
  if (const json::value* actor = store.if_contains("actor"); actor && actor->is_object())
    print_line(fmt::format("{:<14}{} of {}", "actor", string_member(*actor, "userId").value_or("?"),
                           string_member(*actor, "ownerId").value_or("?")));
  line("client id", "clientId");
  line("server", "server");
  line("last synced", "lastSynced");
  print_cursor(store.if_contains("cursor"));
  print_tables(store.if_contains("tables"), store.if_contains("tableBytes"));
  print_line(fmt::format("{:<14}{}", "staged pages", integer("stagedPages")));
  print_line(fmt::format("{:<14}{}", "inverses", integer("inverses")));
  print_rows("outbox", store.if_contains("outbox"),
             {"ordinal", "mutationId", "clientMutationId", "name", "args", "attempts", "covered", "lastError"});
  print_rows("undo", store.if_contains("undo"), {"ordinal", "tableName", "key", "before"});
  print_rows("dead letters", store.if_contains("deadLetters"), {"id", "name", "args", "code", "message", "chain"});
  print_rows("conflicts", store.if_contains("conflicts"),
             {"id", "tableName", "key", "columnName", "mutator", "lost", "at", "winnerAt", "dismissed"});
  print_rows("subscriptions", store.if_contains("subscriptions"), {"rule", "parameters", "until"});
}

int run(const Globals& globals, const std::string& path) {
  const auto store = read_store(path);
  if (!store) return fail("inspect", kUnusable, store.error().message);
  if (globals.json) {
    print_json(*store);
  } else {
    print_for_people(*store);
  }
  return shown(store->if_contains("integrity")) == "ok" ? kDone : kNo;
}

}  // namespace

void add_inspect_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("inspect", "Read a device's store file without syncing it");
  auto path = std::make_shared<std::string>();
  command->add_option("FILE", *path, "The store")->required();
  command->footer("Exit 1 when the integrity check finds damage, 4 when the file is no store.");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, path] {
    action = [&globals, path] { return run(globals, *path); };
  });
}

}  // namespace nizhal::cli
