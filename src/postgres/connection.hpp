// A connection to PostgreSQL: libpq in pipeline mode. Statements are queued and travel together; an answer is waited
// for only where the caller needs it. Every wait has an end: a server that is gone costs a timeout, never a thread.
//
// The facts that must not break: after a connection failure nothing is known of a COMMIT that was on its way (the
// caller's bookkeeping finds out); and no text of the server's errors leaves through anything but the log, because it
// may quote rows: an Error's message names the kind of the error and the objects it is about, error_text() has the
// rest.
//
// Threads: a Connection belongs to one thread at a time; cancel() may be called from any.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

namespace nizhal::postgres {

struct ConnectOptions {
  /// libpq's: postgresql://… with sslmode and the rest, or key=value pairs. Several hosts are tried in turn, and the
  /// one that can be written is meant unless target_session_attrs says otherwise.
  std::string url;
  std::chrono::milliseconds connect_timeout{3'000};
  /// Of the server, per statement and per lock: below the 10 s within which every request is answered. 0: none.
  std::chrono::milliseconds statement_timeout{5'000};
  std::chrono::milliseconds lock_timeout{3'000};
  /// Behind a pooler in transaction mode a session is only ours inside a transaction: no prepared statements, and
  /// settings are made anew in each (transaction_settings).
  bool transaction_pooler = false;
  /// Of several hosts a standby is meant, unless target_session_attrs says otherwise.
  bool standby = false;
};

/// Until when; none: as long as the other limits allow.
using Deadline = std::optional<std::chrono::steady_clock::time_point>;

/// A parameter as text, as PostgreSQL reads it for its type; nothing is NULL. The bytes must outlive the call only.
using Parameter = std::optional<std::string_view>;

/// The answer to one statement, in text format. Views live as long as the Rows.
class Rows {
 public:
  Rows() = default;
  int size() const;
  int columns() const;
  bool is_null(int row, int column) const;
  std::string_view text(int row, int column) const;  // empty for NULL
  std::int64_t integer(int row, int column) const;   // 0 for NULL and for what is no number
  bool boolean(int row, int column) const;           // 't'
  std::uint64_t affected() const;                    // rows of an INSERT, UPDATE or DELETE

 private:
  friend class Connection;
  struct Free {
    void operator()(void* result) const;
  };
  std::unique_ptr<void, Free> result_;  // PGresult
};

class Connection {
 public:
  /// Errors: unauthorized (a password, a role), busy (the server is starting, or has too many connections), usage (the
  /// URL cannot be read), unreachable otherwise, with libpq's words.
  static Result<std::unique_ptr<Connection>> connect(const ConnectOptions& options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// A place in the queue, to fetch its answer by.
  enum class Ticket : std::uint64_t {};

  /// Sends a statement without waiting. Its text is prepared once per connection and found again by its text (not
  /// behind a transaction pooler). Errors show in fetch() or finish().
  Ticket queue(std::string_view sql, std::span<const Parameter> parameters = {});
  /// Waits until everything that was queued is answered; the first error among the answers, if any: what was queued
  /// after it did not run. Afterwards the answers can be taken.
  Result<void> finish();
  /// The answer to a finished statement, or the error that it or one before it met; once per ticket. `internal` when
  /// there is none. Answers are kept until they are taken, at most until something is queued outside a transaction.
  Result<Rows> take(Ticket ticket);
  /// queue, finish, take.
  Result<Rows> query(std::string_view sql, std::span<const Parameter> parameters = {});
  /// A script of several statements without parameters (simple protocol; outside a transaction each script is one of
  /// its own). The last statement's rows.
  Result<Rows> execute(const std::string& script);

  /// The statement that a transaction begins with behind a pooler: sets what a session of our own has for good.
  /// Empty on a direct connection. A connection that loses a prepared statement counts as pooled from then on.
  const std::string& transaction_settings() const;
  bool is_pooled() const;

  /// Whatever is asked from now on is answered by then, or the connection counts as broken.
  void set_deadline(Deadline deadline);

  /// Back to outside any transaction, whatever was going on: what is queued is rolled back. False: throw it away.
  bool reset();
  /// Without asking the server: false when it has closed the connection meanwhile.
  bool looks_alive();
  /// Asks the server.
  Result<void> check(std::chrono::milliseconds timeout);

  /// What others have sent to the channels that this session listens to, as far as it has arrived; reads without
  /// waiting. When the connection broke, what came before.
  struct Notification {
    std::string channel, payload;
  };
  std::vector<Notification> notifications();
  /// To wait for more to read; -1 when the connection is broken.
  int socket() const;

  /// From when on: a crash of the server since then would have broken it, where no pooler is between.
  std::chrono::steady_clock::time_point opened_at() const;
  bool is_open() const;             // false after a failure of the connection itself: throw it away
  bool in_transaction() const;      // as of the last answer
  bool transaction_failed() const;  // only ROLLBACK works now
  int backend_pid() const;
  int server_version() const;  // 150018
  /// The SQLSTATE of the last error, five characters; empty when none, and when the connection itself failed.
  const std::string& sqlstate() const;
  /// The constraint or table named by the last error, empty when none.
  const std::string& error_table() const;
  const std::string& error_schema() const;
  const std::string& error_constraint() const;
  /// The last error in the server's own words, which may quote SQL and rows: for the log and the operator only.
  const std::string& error_text() const;

  /// Asks the server to cancel what runs here. Any thread.
  void cancel();
  /// The same, as something that may be kept longer than the connection.
  std::function<void()> canceller() const;

 private:
  struct State;
  explicit Connection(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// What a SQLSTATE means to the engine: busy (serialization, deadlock, lock or statement timeout, shutdown, too many
/// connections, a connection that broke, read-only while a standby is being promoted, a prepared statement that is
/// gone), constraint_violated (23…, a raised exception, a value that a column cannot hold), disk_full (53100), io_error
/// and corrupt (58…, XX001, XX002), schema_mismatch (an object that is not there, or that we have no rights on),
/// unauthorized (a password), internal otherwise.
ErrorCode code_of_sqlstate(std::string_view sqlstate);

/// The condition's name, e.g. "unique_violation"; empty for those that have none here.
std::string_view name_of_sqlstate(std::string_view sqlstate);

/// The URL without password, for people: "postgresql://user@host:5432/name".
std::string describe_url(const std::string& url);

/// Parameters from owned texts.
std::vector<Parameter> parameters_of(const std::vector<std::optional<std::string>>& texts);

}  // namespace nizhal::postgres
