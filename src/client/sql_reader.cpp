#include "client/sql_reader.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstring>

#include "client/crdt_functions.hpp"
#include "sqlite/error.hpp"

namespace nizhal::client {
namespace {

bool is_reading_pragma(const char* name) {
  constexpr const char* kReading[] = {"table_info",       "table_xinfo",  "table_list",
                                      "index_list",       "index_info",   "database_list",
                                      "foreign_key_list", "data_version", "integrity_check"};
  for (const char* allowed : kReading) {
    if (std::strcmp(name, allowed) == 0) return true;
  }
  return false;
}

using Tables = std::set<std::string, std::less<>>;

/// `tables`: where to note what is read; may be null.
int authorize(void* tables, int action, const char* first, const char*, const char*, const char*) {
  switch (action) {
    case SQLITE_READ:
      if (tables && first) static_cast<Tables*>(tables)->emplace(first);
      return SQLITE_OK;
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      return SQLITE_OK;  // extensions cannot be loaded: the loader is off unless a program switches it on
    case SQLITE_PRAGMA:
      return first && is_reading_pragma(first) ? SQLITE_OK : SQLITE_DENY;
    default:
      return SQLITE_DENY;
  }
}

/// What was asked is wrong; everything else is the file's trouble.
bool is_of_the_text(int code) { return (code & 0xff) == SQLITE_ERROR; }

Error usage(std::string message) { return Error{ErrorCode::usage, std::move(message)}; }

struct Finalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using OwnStatement = std::unique_ptr<sqlite3_stmt, Finalizer>;

Result<OwnStatement> prepare(sqlite3* database, std::string_view text, std::string_view* rest) {
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v2(database, text.data(), static_cast<int>(text.size()), &statement, &tail);
  OwnStatement owned(statement);
  if (code == SQLITE_AUTH) return tl::unexpected(usage("only reading is allowed here; changes go through mutators"));
  if (is_of_the_text(code)) return tl::unexpected(usage(fmt::format("SQL: {}", sqlite3_errmsg(database))));
  if (code != SQLITE_OK) return tl::unexpected(sqlite::make_error(code, "reading", sqlite3_errmsg(database)));
  *rest = text.substr(static_cast<std::size_t>(tail - text.data()));
  return owned;
}

Value column_value(sqlite3_stmt* row, int column) {
  switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
      return Value(static_cast<std::int64_t>(sqlite3_column_int64(row, column)));
    case SQLITE_FLOAT:
      return Value(sqlite3_column_double(row, column));
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(row, column));
      return Value(std::string(text ? text : "", static_cast<std::size_t>(sqlite3_column_bytes(row, column))));
    }
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(row, column));
      return Value(Blob{{bytes, bytes + sqlite3_column_bytes(row, column)}});
    }
    default:
      return Value();
  }
}

/// Only reading, as long as it lives.
class ReadingOnly {
 public:
  explicit ReadingOnly(sqlite3* database, Tables* tables = nullptr) : database_(database) {
    sqlite3_set_authorizer(database_, authorize, tables);
  }
  ~ReadingOnly() { sqlite3_set_authorizer(database_, nullptr, nullptr); }
  ReadingOnly(const ReadingOnly&) = delete;
  ReadingOnly& operator=(const ReadingOnly&) = delete;

 private:
  sqlite3* database_;
};

/// Under ReadingOnly.
Result<OwnStatement> prepare_one(sqlite3* database, std::string_view text) {
  std::string_view rest;
  auto statement = prepare(database, text, &rest);
  if (!statement) return statement;
  if (!*statement) return tl::unexpected(usage("the SQL text is empty"));
  while (!rest.empty()) {
    auto next = prepare(database, rest, &rest);
    if (!next && next.error().code != ErrorCode::usage) return tl::unexpected(next.error());
    if (!next || *next) return tl::unexpected(usage("one statement at a time"));
  }
  if (!sqlite3_stmt_readonly(statement->get()))
    return tl::unexpected(usage("only reading is allowed here; changes go through mutators"));
  return statement;
}

Result<sqlite::Connection*> open_reader(StoreState& state) {
  if (!state.reader) {
    auto connection = open_reading(state.options.path);
    if (!connection) return tl::unexpected(connection.error());
    state.reader = std::move(*connection);
  }
  return state.reader.get();
}

}  // namespace

Result<std::unique_ptr<sqlite::Connection>> open_reading(const std::string& path) {
  sqlite::OpenOptions options;
  options.read_only = true;
  options.create = false;
  auto connection = sqlite::Connection::open(path, options);
  if (!connection) return connection;
  if (auto added = add_crdt_functions((*connection)->handle()); !added) return tl::unexpected(added.error());
  return connection;
}

Result<SqlResult> read_sql(sqlite::Connection& connection, std::string_view text) {
  sqlite3* database = connection.handle();
  const ReadingOnly guard(database);
  auto statement = prepare_one(database, text);
  if (!statement) return tl::unexpected(statement.error());
  sqlite3_stmt* select = statement->get();
  SqlResult result;
  const int columns = sqlite3_column_count(select);
  for (int i = 0; i < columns; ++i) result.columns.emplace_back(sqlite3_column_name(select, i));
  while (true) {
    const int code = sqlite3_step(select);
    if (code == SQLITE_DONE) return result;
    if (is_of_the_text(code)) return tl::unexpected(usage(fmt::format("SQL: {}", sqlite3_errmsg(database))));
    if (code != SQLITE_ROW) return tl::unexpected(connection.last_error("reading"));
    std::vector<Value> row;
    row.reserve(static_cast<std::size_t>(columns));
    for (int i = 0; i < columns; ++i) row.push_back(column_value(select, i));
    result.rows.push_back(std::move(row));
  }
}

Result<SqlResult> read_sql(StoreState& state, std::string_view text) {
  auto reader = open_reader(state);
  if (!reader) return tl::unexpected(reader.error());
  return read_sql(**reader, text);
}

Result<std::set<std::string, std::less<>>> tables_read(StoreState& state, std::string_view text) {
  auto reader = open_reader(state);
  if (!reader) return tl::unexpected(reader.error());
  Tables tables;
  const ReadingOnly guard((*reader)->handle(), &tables);
  if (auto statement = prepare_one((*reader)->handle(), text); !statement) return tl::unexpected(statement.error());
  return tables;
}

}  // namespace nizhal::client
