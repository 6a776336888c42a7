// The SQLite connection, its statement cache and its transactions.
#include "sqlite/connection.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <sqlite3.h>

#include "sqlite/error.hpp"
#include "sqlite/functions.hpp"

namespace nizhal::sqlite {

namespace {

/// Texts whose prepared statements are kept. Far more than an engine's own; ad-hoc queries pass through.
constexpr std::size_t kCachedTextsMax = 256;
/// Pause between tries to switch a file to WAL, which does not wait for locks by itself.
constexpr int kWalRetryMs = 10;

Result<void> use_wal(Connection& connection, const OpenOptions& options) {
  // Two processes that open a new file at once can get BUSY here without any wait of SQLite's own.
  for (int waited_ms = 0;; waited_ms += kWalRetryMs) {
    const auto mode = connection.query_text("PRAGMA journal_mode=WAL");
    if (mode && mode->has_value()) {
      if (**mode == "wal" || **mode == "memory") return {};
      return failure(ErrorCode::io_error,
                     fmt::format("the file cannot use write-ahead logging (its journal mode stays {}); put it on a "
                                 "local disk that supports locks and shared memory",
                                 **mode));
    }
    if (mode) return failure(ErrorCode::internal, "PRAGMA journal_mode gave no answer");
    if (mode.error().code != ErrorCode::busy || waited_ms >= options.busy_timeout_ms)
      return tl::unexpected(mode.error());
    sqlite3_sleep(kWalRetryMs);
  }
}

Result<void> configure(Connection& connection, const OpenOptions& options) {
  sqlite3* database = connection.handle();
  sqlite3_extended_result_codes(database, 1);
  sqlite3_busy_timeout(database, options.busy_timeout_ms);
  if (add_functions(database) != SQLITE_OK)
    return tl::unexpected(connection.last_error("adding the functions of queries"));
  // A first read shows whether the file is a database at all.
  if (auto read = connection.query_integer("PRAGMA schema_version"); !read) return tl::unexpected(read.error());
  if (options.check != nullptr) {
    if (auto checked = options.check(connection); !checked) return checked;
  }
  if (!options.read_only) {
    if (auto wal = use_wal(connection, options); !wal) return wal;
  }
  return connection.execute(
      fmt::format("PRAGMA synchronous={}; PRAGMA foreign_keys=OFF", options.full_sync ? "FULL" : "NORMAL"));
}

/// True when there is no further statement: white space, comments, semicolons.
bool holds_no_statement(sqlite3* database, std::string_view sql) {
  if (sql.find_first_not_of(" \t\r\n;") == std::string_view::npos) return true;
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  const bool nothing = code == SQLITE_OK && !statement;
  sqlite3_finalize(statement);
  return nothing;
}

}  // namespace

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, const OpenOptions& options) {
  std::unique_ptr<Connection> connection(new Connection);
  int flags = SQLITE_OPEN_NOMUTEX;
  if (options.read_only) {
    flags |= SQLITE_OPEN_READONLY;
  } else {
    flags |= SQLITE_OPEN_READWRITE | (options.create ? SQLITE_OPEN_CREATE : 0);
  }
  const std::string doing = fmt::format("opening {}", path);
  // Debian's SQLite takes any name that begins like a URI for one, whatever the flags say.
  const std::string file = path.starts_with("file:") ? "./" + path : path;
  const int code = sqlite3_open_v2(file.c_str(), &connection->database_, flags, nullptr);
  if (code != SQLITE_OK) {
    const char* reason = connection->database_ ? sqlite3_errmsg(connection->database_) : sqlite3_errstr(code);
    return tl::unexpected(make_error(code, doing, reason));
  }
  if (auto configured = configure(*connection, options); !configured) {
    Error error = configured.error();
    error.message = fmt::format("{}: {}", doing, error.message);
    return tl::unexpected(std::move(error));
  }
  return connection;
}

Connection::~Connection() {
  for (auto& [text, entry] : cache_)
    for (sqlite3_stmt* statement : entry.idle) sqlite3_finalize(statement);
  sqlite3_close_v2(database_);
}

Result<Statement> Connection::prepare(std::string_view sql) {
  auto found = cache_.find(sql);
  if (found != cache_.end() && !found->second.idle.empty()) {
    sqlite3_stmt* statement = found->second.idle.back();
    found->second.idle.pop_back();
    ++found->second.borrowed;
    return Statement(this, statement, found->second);
  }
  if (sql.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    return tl::unexpected(make_error(SQLITE_TOOBIG, "preparing a statement", sqlite3_errstr(SQLITE_TOOBIG)));
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(database_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                      &statement, &tail);
  if (code != SQLITE_OK) return tl::unexpected(last_error("preparing a statement"));
  if (!statement) return failure(ErrorCode::internal, "preparing a statement: the SQL text is empty");
  if (!holds_no_statement(database_, sql.substr(static_cast<std::size_t>(tail - sql.data())))) {
    sqlite3_finalize(statement);
    return failure(ErrorCode::internal, "preparing a statement: the SQL text holds more than one statement");
  }
  if (found == cache_.end()) {
    if (cache_.size() >= kCachedTextsMax) drop_idle_statements();
    found = cache_.try_emplace(std::string(sql)).first;
  }
  ++found->second.borrowed;
  return Statement(this, statement, found->second);
}

void Connection::give_back(sqlite3_stmt* statement, Statement::Prepared& home) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  --home.borrowed;
  home.idle.push_back(statement);
}

void Connection::drop_idle_statements() {
  for (auto entry = cache_.begin(); entry != cache_.end();) {
    for (sqlite3_stmt* statement : entry->second.idle) sqlite3_finalize(statement);
    entry->second.idle.clear();
    // What a borrowed statement goes back to stays: the statement points at it.
    entry = entry->second.borrowed == 0 ? cache_.erase(entry) : std::next(entry);
  }
}

Result<void> Connection::execute(const std::string& sql) {
  if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return tl::unexpected(last_error("running SQL"));
  return {};
}

Result<std::optional<std::int64_t>> Connection::query_integer(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row || statement->is_null(0)) return std::optional<std::int64_t>{};
  return std::optional<std::int64_t>(statement->integer(0));
}

Result<std::optional<std::string>> Connection::query_text(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row || statement->is_null(0)) return std::optional<std::string>{};
  return std::optional<std::string>(statement->text(0));
}

std::int64_t Connection::changes() const { return sqlite3_changes64(database_); }

bool Connection::in_transaction() const { return sqlite3_get_autocommit(database_) == 0; }

Error Connection::last_error(std::string_view doing) const {
  return make_error(sqlite3_extended_errcode(database_), doing, sqlite3_errmsg(database_));
}

Result<Transaction> Transaction::begin(Connection& connection, Mode mode) {
  auto statement = connection.prepare(mode == Mode::immediate ? "BEGIN IMMEDIATE" : "BEGIN");
  if (!statement) return tl::unexpected(statement.error());
  if (auto begun = statement->run(); !begun) return tl::unexpected(begun.error());
  return Transaction(&connection);
}

Transaction::~Transaction() {
  // After some errors (disk full, I/O) SQLite has rolled back by itself. A rollback that fails leaves nothing that
  // could be done here; the next BEGIN reports it.
  if (connection_ && connection_->in_transaction())
    sqlite3_exec(connection_->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

Result<void> Transaction::commit() {
  if (!connection_) return failure(ErrorCode::internal, "committing: the transaction has ended already");
  if (!connection_->in_transaction()) {
    return failure(ErrorCode::io_error,
                   "committing: an earlier error rolled the transaction back; nothing of it was written");
  }
  auto statement = connection_->prepare("COMMIT");
  if (!statement) return tl::unexpected(statement.error());
  if (auto committed = statement->run(); !committed) return committed;
  connection_ = nullptr;
  return {};
}

}  // namespace nizhal::sqlite
