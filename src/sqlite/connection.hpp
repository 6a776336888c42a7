// A thin RAII wrapper of SQLite: connection, cached prepared statements, transactions. Used by the server's
// embedded storage and by the device's store. One connection belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/table.hpp>
#include <nizhal/value.hpp>

struct sqlite3;
struct sqlite3_stmt;

namespace nizhal::sqlite {

class Connection;

/// A prepared statement, borrowed from its connection's cache; reset and given back when dropped, which must be before
/// the connection goes.
/// Parameters are numbered from 1, columns from 0.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  Statement& bind_null(int index);
  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, double value);
  Statement& bind_text(int index, std::string_view text);  // copied
  Statement& bind_blob(int index, const Blob& blob);
  /// As a column of that type is stored (see table_sql.hpp). A bind that fails (too big, no such parameter) makes
  /// every step fail until that parameter is bound well.
  Statement& bind_value(int index, ColumnType type, const Value& value);
  /// The same without a copy: the value must stay as it is until the statement is reset.
  Statement& bind_borrowed(int index, ColumnType type, const Value& value);

  /// True: a row is there; false: done.
  [[nodiscard]] Result<bool> step();
  /// Steps until done; for statements that return nothing.
  /// Resets after the end, so that the parameters can be bound anew and the statement run again.
  [[nodiscard]] Result<void> run();
  /// To before the first step; the parameters stay bound. Bind only before the first step or after a reset.
  void reset();

  bool is_null(int column) const;
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;  // valid until the next step
  Blob blob(int column) const;
  /// Reads a stored value of that column type. Lenient about what other programs stored: text dates in any ISO
  /// form, integers in text columns; what cannot be read as the type becomes null.
  Value value(int column, ColumnType type) const;
  int column_count() const;
  std::string column_name(int column) const;
  sqlite3_stmt* handle() const { return statement_; }

 private:
  friend class Connection;
  /// The prepared statements of one SQL text.
  struct Prepared {
    std::vector<sqlite3_stmt*> idle;
    std::size_t borrowed = 0;
  };
  Statement(Connection* connection, sqlite3_stmt* statement, Prepared& home)
      : connection_(connection), statement_(statement), home_(&home) {}
  Connection* connection_;
  void note_bind(int index, int code);
  sqlite3_stmt* statement_;
  Prepared* home_;  // in the cache, which keeps it as long as something is borrowed from it
  int failed_parameter_ = 0;
  int bind_error_ = 0;
};

struct OpenOptions {
  bool read_only = false;
  bool create = true;
  int busy_timeout_ms = 5000;
  bool full_sync = false;  // synchronous=FULL; else NORMAL
  /// Asked before anything is written, the journal mode included; its error ends the opening.
  Result<void> (*check)(Connection& connection) = nullptr;
};

class Connection {
 public:
  /// WAL, foreign keys off, trusted_schema as is. Errors name the path and the reason. `path` is a file name (never a
  /// URI) or ":memory:".
  static Result<std::unique_ptr<Connection>> open(const std::string& path, const OpenOptions& options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// From the cache, or prepared now. The text must be one statement.
  [[nodiscard]] Result<Statement> prepare(std::string_view sql);
  /// One or several statements without results (DDL, BEGIN, …).
  [[nodiscard]] Result<void> execute(const std::string& sql);
  /// The first column of the first row, when there is one.
  [[nodiscard]] Result<std::optional<std::int64_t>> query_integer(std::string_view sql);
  [[nodiscard]] Result<std::optional<std::string>> query_text(std::string_view sql);

  std::int64_t changes() const;  // rows changed by the last statement
  bool in_transaction() const;
  /// The last error as an Error: SQLITE_BUSY/LOCKED → busy, FULL → disk_full, READONLY → read_only,
  /// CORRUPT/NOTADB → corrupt, IOERR/CANTOPEN → io_error, else internal; also NOMEM/INTERRUPT → busy, TOOBIG →
  /// invalid_args. The message has no parameters in it.
  Error last_error(std::string_view doing) const;
  sqlite3* handle() const { return database_; }

 private:
  friend class Statement;
  Connection() = default;
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  static void give_back(sqlite3_stmt* statement, Statement::Prepared& home);
  void drop_idle_statements();
  sqlite3* database_ = nullptr;
  std::unordered_map<std::string, Statement::Prepared, TextHash, std::equal_to<>> cache_;
};

/// Begins on construction through begin(), rolls back when dropped unless committed. A commit that fails (busy) leaves
/// it open: commit again, or drop it.
class Transaction {
 public:
  enum class Mode { deferred, immediate };
  static Result<Transaction> begin(Connection& connection, Mode mode);
  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  [[nodiscard]] Result<void> commit();

 private:
  explicit Transaction(Connection* connection) : connection_(connection) {}
  Connection* connection_;
};

}  // namespace nizhal::sqlite
