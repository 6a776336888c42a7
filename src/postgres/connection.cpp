// See connection.hpp.
#include "postgres/connection.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <deque>
#include <unordered_map>
#include <utility>

#include "base/environment.hpp"
#include "postgres/url.hpp"

namespace nizhal::postgres {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// How much longer than the server's own timeout an answer is waited for.
constexpr milliseconds kGrace{2'000};
/// For taking leave of a transaction before its connection is thrown away instead; whatever the deadline.
constexpr milliseconds kResetTimeout{1'000};
/// Prepared statements of one connection: beyond it all are dropped and begun anew.
constexpr std::size_t kPreparedMax = 512;
/// A text that PostgreSQL cannot hold is made to fail where the statement would have: like any other value's error.
constexpr const char* kFailingStatement = R"(SELECT convert_from('\x00'::bytea, 'UTF8'))";

struct FreeResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, FreeResult>;

std::string_view field_of(const PGresult* result, int field) {
  const char* text = PQresultErrorField(result, field);
  return text ? std::string_view(text) : std::string_view();
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return std::string(text);
}

/// The SQLSTATE in a verbose error text, "FATAL:  28P01: …": when a connection cannot be made there is no result that
/// would tell it. Of several hosts' errors the last.
std::string sqlstate_in(std::string_view text) {
  std::string found;
  for (std::size_t at = text.find(":  "); at != std::string_view::npos; at = text.find(":  ", at + 1)) {
    const std::string_view state = text.substr(at + 3, 5);
    const bool looks_like_one = state.size() == 5 && text.substr(at + 8, 2) == ": " &&
                                std::all_of(state.begin(), state.end(),
                                            [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
    if (looks_like_one) found = state;
  }
  return found;
}

/// The same text without what only verbosity adds: the SQLSTATE and the lines about the server's source.
std::string without_verbosity(std::string_view text, std::string_view sqlstate) {
  std::string plain;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    line.erase(0, line.find_first_not_of("\t "));
    if (line.starts_with("LOCATION:") || line.empty()) continue;
    const std::string code = fmt::format("{}: ", sqlstate);
    if (const auto at = line.find(code); !sqlstate.empty() && at != std::string::npos) line.erase(at, code.size());
    if (!plain.empty()) plain += "; ";
    plain += line;
  }
  return plain;
}

/// What every session is set to, as arguments of set_config.
std::vector<std::pair<const char*, std::string>> session_settings(const ConnectOptions& options) {
  return {
      {"TimeZone", "UTC"},
      {"DateStyle", "ISO"},
      {"bytea_output", "hex"},
      {"extra_float_digits", "1"},
      {"standard_conforming_strings", "on"},
      {"client_encoding", "UTF8"},
      {"statement_timeout", fmt::to_string(options.statement_timeout.count())},
      {"lock_timeout", fmt::to_string(options.lock_timeout.count())},
      {"idle_in_transaction_session_timeout", "15000"},
  };
}

std::string settings_statement(const ConnectOptions& options, bool is_local) {
  std::string sql = "SELECT ";
  for (const auto& [name, value] : session_settings(options)) {
    if (sql.back() != ' ') sql += ", ";
    sql += fmt::format("set_config('{}', '{}', {})", name, value, is_local);
  }
  return sql;
}

}  // namespace

void Rows::Free::operator()(void* result) const { PQclear(static_cast<PGresult*>(result)); }

namespace {
const PGresult* as_result(const void* result) { return static_cast<const PGresult*>(result); }
}  // namespace

int Rows::size() const { return PQntuples(as_result(result_.get())); }
int Rows::columns() const { return PQnfields(as_result(result_.get())); }
bool Rows::is_null(int row, int column) const { return PQgetisnull(as_result(result_.get()), row, column) != 0; }

std::string_view Rows::text(int row, int column) const {
  const PGresult* result = as_result(result_.get());
  const char* value = PQgetvalue(result, row, column);
  return value ? std::string_view(value, static_cast<std::size_t>(PQgetlength(result, row, column)))
               : std::string_view();
}

std::int64_t Rows::integer(int row, int column) const {
  const std::string_view digits = text(row, column);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() ? number : 0;
}

bool Rows::boolean(int row, int column) const { return text(row, column) == "t"; }

std::uint64_t Rows::affected() const {
  // libpq only reads here; its signature does not say so.
  const char* digits = PQcmdTuples(static_cast<PGresult*>(result_.get()));
  std::uint64_t number = 0;
  const std::string_view text(digits ? digits : "");
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

namespace {

/// What is missing or not allowed: PostgreSQL's own words name tables, functions and the like, never rows or SQL.
bool tells_objects_only(std::string_view sqlstate) {
  for (const std::string_view known : {"3F000", "42501", "42703", "42704", "42883", "42P01"})
    if (sqlstate == known) return true;
  return false;
}

}  // namespace

struct Connection::State {
  ConnectOptions options;
  PGconn* conn = nullptr;
  std::shared_ptr<PGcancel> cancel;
  bool open = false;
  Clock::time_point opened_at;
  Deadline deadline;
  bool pooled = false;
  PGTransactionStatusType transaction = PQTRANS_IDLE;

  std::string session_settings, transaction_settings;

  /// What the server is going to answer, in order.
  struct Pending {
    enum class Kind { prepare, execute };
    Kind kind;
    std::uint64_t ticket = 0;  // of an execute
    std::string sql;           // of a prepare
  };
  std::deque<Pending> pending;
  std::uint64_t next_ticket = 1;
  std::unordered_map<std::uint64_t, Result<Rows>> answers;

  std::unordered_map<std::string, std::string> prepared;  // name by text
  /// Behind a pooler that nobody told of, sessions are shared: another connection's name must not be found there.
  const std::uint64_t name_prefix = system_random().next();
  std::uint64_t next_name = 1;
  bool forget_prepared = false;  // a plan went stale: all are prepared anew at the next opportunity

  std::string sqlstate, error_table, error_schema, error_constraint, error_text;

  ~State() {
    if (conn) PQfinish(conn);
  }

  /// The connection itself failed; nothing is known of what was on its way.
  Error broken(std::string text) {
    open = false;
    if (!text.empty()) error_text = std::move(text);
    transaction = PQTRANS_UNKNOWN;
    return Error{ErrorCode::busy, "the connection to PostgreSQL broke; try again"};
  }

  Error note_error(const PGresult* result) {
    sqlstate = field_of(result, PG_DIAG_SQLSTATE);
    error_table = field_of(result, PG_DIAG_TABLE_NAME);
    error_schema = field_of(result, PG_DIAG_SCHEMA_NAME);
    error_constraint = field_of(result, PG_DIAG_CONSTRAINT_NAME);
    error_text = trimmed(PQresultErrorMessage(result));
    if (sqlstate.empty()) return broken({});
    ErrorCode code = code_of_sqlstate(sqlstate);
    if (sqlstate == "26000" || sqlstate == "42P05") {
      // Only behind a pooler, or after a script that has reset the session: either way the session is not ours.
      pooled = true;
      prepared.clear();
    } else if (sqlstate == "0A000" && field_of(result, PG_DIAG_SOURCE_FUNCTION) == "RevalidateCachedQuery") {
      forget_prepared = true;
      code = ErrorCode::busy;
    }
    const std::string_view name = name_of_sqlstate(sqlstate);
    std::string message = name.empty() ? fmt::format("PostgreSQL reports SQLSTATE {}", sqlstate)
                                       : fmt::format("PostgreSQL reports {} ({})", name, sqlstate);
    if (!error_constraint.empty()) message += fmt::format(" of constraint {}", error_constraint);
    if (!error_table.empty()) message += fmt::format(" on table {}", error_table);
    if (tells_objects_only(sqlstate)) message += fmt::format(": {}", field_of(result, PG_DIAG_MESSAGE_PRIMARY));
    return Error{code, std::move(message)};
  }

  milliseconds wait_max() const {
    return options.statement_timeout.count() > 0 ? options.statement_timeout + kGrace : milliseconds(-1);
  }

  /// Sends what waits to be sent and reads until the next result can be taken without waiting.
  Result<void> await_result(milliseconds timeout) {
    // A server that says something lives: a long answer may take its time.
    auto last_heard = Clock::now();
    while (true) {
      const int unsent = PQflush(conn);
      if (unsent >= 0 && PQisBusy(conn) == 0) return {};
      if (unsent < 0 && PQisBusy(conn) == 0) return {};  // an error that explains itself may have come before
      if (PQsocket(conn) < 0) return tl::unexpected(broken(trimmed(PQerrorMessage(conn))));
      pollfd descriptor{PQsocket(conn), static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN), 0};
      int wait = -1;
      Deadline until = deadline;
      if (timeout.count() >= 0) until = std::min(until.value_or(Clock::time_point::max()), last_heard + timeout);
      if (until) {
        const auto left = std::chrono::ceil<milliseconds>(*until - Clock::now()).count();
        if (left <= 0) return tl::unexpected(broken("no answer in time"));
        wait = static_cast<int>(std::min<std::int64_t>(left, 60'000));
      }
      const int ready = ::poll(&descriptor, 1, wait);
      if (ready < 0 && errno != EINTR) return tl::unexpected(broken("poll failed"));
      if (ready <= 0) continue;
      // When reading fails, what has come before may still hold the server's last words.
      if ((descriptor.revents & ~POLLOUT) != 0 && PQconsumeInput(conn) == 0) return {};
      last_heard = Clock::now();
    }
  }

  /// The next result, or null: the end of a statement's results.
  Result<ResultPtr> next_result(milliseconds timeout) {
    if (auto ready = await_result(timeout); !ready) return tl::unexpected(ready.error());
    return ResultPtr(PQgetResult(conn));
  }

  /// All results of one statement; the last one that matters.
  Result<ResultPtr> statement_result(milliseconds timeout) {
    ResultPtr kept;
    while (true) {
      auto result = next_result(timeout);
      if (!result) return result;
      if (!*result) return kept;
      const auto status = PQresultStatus(result->get());
      if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
        return tl::unexpected(broken("COPY is not possible here"));
      kept = std::move(*result);
      if (PQstatus(conn) == CONNECTION_BAD) return kept;
    }
  }

  void send_execute(const char* name, const char* sql, std::span<const Parameter> parameters) {
    std::string bytes;
    std::vector<std::size_t> places;
    for (const auto& parameter : parameters) {
      places.push_back(bytes.size());
      if (parameter) bytes.append(*parameter).push_back('\0');
    }
    std::vector<const char*> values;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      values.push_back(parameters[i] ? bytes.data() + places[i] : nullptr);
    const int count = static_cast<int>(values.size());
    const int sent = name ? PQsendQueryPrepared(conn, name, count, values.data(), nullptr, nullptr, 0)
                          : PQsendQueryParams(conn, sql, count, nullptr, values.data(), nullptr, nullptr, 0);
    if (sent == 0) broken(trimmed(PQerrorMessage(conn)));
  }

  /// The name under which the text is prepared, preparing it if need be; null when it is not to be.
  const char* prepare(const std::string& sql) {
    if (pooled) return nullptr;
    if (const auto found = prepared.find(sql); found != prepared.end()) return found->second.c_str();
    if (prepared.size() >= kPreparedMax) return nullptr;
    const auto [entry, added] = prepared.emplace(sql, fmt::format("nizhal_{:x}_{}", name_prefix, next_name++));
    if (PQsendPrepare(conn, entry->second.c_str(), sql.c_str(), 0, nullptr) == 0) {
      broken(trimmed(PQerrorMessage(conn)));
      return nullptr;
    }
    pending.push_back({Pending::Kind::prepare, 0, sql});
    return entry->second.c_str();
  }

  /// Between transactions the prepared statements can be dropped, when they are stale or too many.
  void renew_prepared() {
    if (!forget_prepared && prepared.size() < kPreparedMax) return;
    forget_prepared = false;
    prepared.clear();
    pending.push_back({Pending::Kind::execute, 0, {}});
    send_execute(nullptr, "DEALLOCATE ALL", {});
    (void)finish(wait_max());  // a failure shows at the next finish: the connection is closed then
  }

  Result<void> finish(milliseconds timeout) {
    if (!open) return tl::unexpected(broken({}));
    if (pending.empty()) return {};
    if (PQpipelineSync(conn) == 0) return tl::unexpected(broken(trimmed(PQerrorMessage(conn))));
    std::optional<Error> first_error;
    while (!pending.empty()) {
      auto result = statement_result(timeout);
      if (!result) return tl::unexpected(first_error.value_or(result.error()));
      const Pending item = std::move(pending.front());
      pending.pop_front();
      settle(item, std::move(*result), first_error);
      if (PQstatus(conn) == CONNECTION_BAD) {
        const Error error = broken({});
        return tl::unexpected(first_error.value_or(error));
      }
    }
    if (auto synced = await_sync(timeout); !synced) return tl::unexpected(first_error.value_or(synced.error()));
    transaction = PQtransactionStatus(conn);
    if (first_error) return tl::unexpected(std::move(*first_error));
    return {};
  }

  Result<void> await_sync(milliseconds timeout) {
    while (true) {
      auto result = next_result(timeout);
      if (!result) return tl::unexpected(result.error());
      if (*result && PQresultStatus(result->get()) == PGRES_PIPELINE_SYNC) return {};
      if (*result || PQstatus(conn) == CONNECTION_BAD)
        return tl::unexpected(broken(trimmed(*result ? PQresultErrorMessage(result->get()) : PQerrorMessage(conn))));
    }
  }

  void settle(const Pending& item, ResultPtr result, std::optional<Error>& first_error) {
    const auto status = PQresultStatus(result.get());
    const bool is_good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
    if (!is_good && status != PGRES_PIPELINE_ABORTED && !first_error) first_error = note_error(result.get());
    if (item.kind == Pending::Kind::prepare) {
      if (!is_good) prepared.erase(item.sql);
      return;
    }
    if (item.ticket == 0) return;
    if (is_good) {
      Rows rows;
      rows.result_.reset(result.release());
      answers.insert_or_assign(item.ticket, std::move(rows));
    } else {
      answers.insert_or_assign(item.ticket,
                               tl::unexpected(first_error.value_or(Error{ErrorCode::busy, "it did not run"})));
    }
  }

  Result<Rows> execute(const std::string& script) {
    if (auto finished = finish(wait_max()); !finished) return tl::unexpected(finished.error());
    if (PQexitPipelineMode(conn) == 0 || PQsendQuery(conn, script.c_str()) == 0)
      return tl::unexpected(broken(trimmed(PQerrorMessage(conn))));
    std::optional<Error> first_error;
    Rows last;
    while (true) {
      auto result = next_result(wait_max());
      if (!result) return tl::unexpected(first_error.value_or(result.error()));
      if (!*result) break;
      const auto status = PQresultStatus(result->get());
      if (status == PGRES_COPY_IN) {
        // The server reports the refusal as the statement's error.
        if (PQputCopyEnd(conn, "data for COPY cannot be given here") < 0)
          return tl::unexpected(broken(trimmed(PQerrorMessage(conn))));
      } else if (status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
        return tl::unexpected(broken("COPY TO STDOUT is not possible here"));
      } else if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
        last.result_.reset(result->release());
      } else {
        if (!first_error) first_error = note_error(result->get());
      }
      if (PQstatus(conn) == CONNECTION_BAD) {
        const Error error = broken({});
        return tl::unexpected(first_error.value_or(error));
      }
    }
    transaction = PQtransactionStatus(conn);
    if (PQenterPipelineMode(conn) == 0) return tl::unexpected(broken(trimmed(PQerrorMessage(conn))));
    if (first_error) return tl::unexpected(std::move(*first_error));
    return last;
  }

  /// One host; the time is for all of it.
  Result<void> connect(const std::vector<std::pair<std::string, std::string>>& overrides, milliseconds timeout);
};

Result<void> Connection::State::connect(const std::vector<std::pair<std::string, std::string>>& overrides,
                                        milliseconds timeout) {
  // What stands before the URL are defaults, what stands after it is so whatever the URL says.
  const std::string user_timeout = fmt::to_string(options.statement_timeout.count() > 0 ? wait_max().count() : 60'000);
  std::vector<const char*> names{"application_name", "keepalives_idle", "keepalives_interval", "keepalives_count",
                                 "tcp_user_timeout", "dbname",          "client_encoding"};
  std::vector<const char*> values{"nizhal", "10", "3", "3", user_timeout.c_str(), options.url.c_str(), "UTF8"};
  for (const auto& [name, value] : overrides) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  if (conn) PQfinish(conn);
  conn = PQconnectStartParams(names.data(), values.data(), 1);
  if (!conn) return failure(ErrorCode::busy, "out of memory");
  PQsetNoticeProcessor(
      conn, [](void*, const char*) {}, nullptr);
  PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);  // for sqlstate_in

  const auto give_up_at = Clock::now() + timeout;
  auto state = PQstatus(conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
    const auto left = std::chrono::ceil<milliseconds>(give_up_at - Clock::now()).count();
    if (left <= 0) return failure(ErrorCode::unreachable, fmt::format("no connection within {} ms", timeout.count()));
    pollfd descriptor{PQsocket(conn), static_cast<short>(state == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    const int ready = ::poll(&descriptor, 1, static_cast<int>(left));
    if (ready < 0 && errno != EINTR) return failure(ErrorCode::unreachable, "poll failed");
    if (ready > 0) state = PQconnectPoll(conn);
  }
  PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
  if (state != PGRES_POLLING_OK) {
    error_text = trimmed(PQerrorMessage(conn));
    sqlstate = sqlstate_in(error_text);
    ErrorCode meaning = sqlstate.empty() ? ErrorCode::unreachable : code_of_sqlstate(sqlstate);
    if (PQconnectionNeedsPassword(conn) != 0) meaning = ErrorCode::unauthorized;
    const bool keeps_meaning = meaning == ErrorCode::unauthorized || meaning == ErrorCode::busy;
    return failure(keeps_meaning ? meaning : ErrorCode::unreachable, without_verbosity(error_text, sqlstate));
  }
  if (PQsetnonblocking(conn, 1) != 0 || PQenterPipelineMode(conn) == 0)
    return failure(ErrorCode::unreachable, trimmed(PQerrorMessage(conn)));
  cancel = std::shared_ptr<PGcancel>(PQgetCancel(conn), [](PGcancel* handle) { PQfreeCancel(handle); });
  open = true;
  opened_at = Clock::now();
  return {};
}

Connection::Connection(std::unique_ptr<State> state) : state_(std::move(state)) {}
Connection::~Connection() = default;

Result<std::unique_ptr<Connection>> Connection::connect(const ConnectOptions& options) {
  const auto url = parse_url(options.url);
  if (!url) return tl::unexpected(url.error());
  auto state = std::make_unique<State>();
  state->options = options;
  state->pooled = options.transaction_pooler;
  state->transaction_settings = settings_statement(options, true);

  // libpq would give an address that does not answer all of the time, and never come to the next host.
  const std::size_t hosts = std::max<std::size_t>(url->hosts.size(), 1);
  const auto timeout = options.connect_timeout / static_cast<milliseconds::rep>(hosts);
  Result<void> connected;
  for (std::size_t i = 0; i < hosts; ++i) {
    std::vector<std::pair<std::string, std::string>> overrides;
    if (hosts > 1) {
      const auto& host = url->hosts[i];
      overrides = {{"host", host.name}, {"hostaddr", host.address}, {"port", host.port}};
      if (!url->has_session_attributes)
        overrides.emplace_back("target_session_attrs", options.standby ? "standby" : "read-write");
    }
    connected = state->connect(overrides, timeout);
    if (connected) break;
  }
  const std::string where = describe_url(options.url);
  if (!connected)
    return failure(connected.error().code, fmt::format("cannot connect to {}: {}", where, connected.error().message));

  auto connection = std::unique_ptr<Connection>(new Connection(std::move(state)));
  if (!options.transaction_pooler) {
    // Not prepared, and not kept among the answers: it runs once.
    auto& own = *connection->state_;
    own.pooled = true;
    own.deadline = Clock::now() + options.connect_timeout;
    auto set = connection->query(settings_statement(options, false));
    own.deadline.reset();
    own.pooled = false;
    if (!set)
      return failure(set.error().code, fmt::format("cannot set up a session at {}: {}", where, set.error().message));
  }
  return connection;
}

Connection::Ticket Connection::queue(std::string_view sql, std::span<const Parameter> parameters) {
  State& state = *state_;
  const std::uint64_t ticket = state.next_ticket++;
  if (!state.open) return Ticket{ticket};
  if (state.pending.empty() && state.transaction == PQTRANS_IDLE) {
    state.answers.clear();
    state.renew_prepared();
    if (!state.open) return Ticket{ticket};
  }
  const bool has_zero_byte = std::any_of(parameters.begin(), parameters.end(), [](const Parameter& parameter) {
    return parameter && parameter->find('\0') != std::string_view::npos;
  });
  const std::string text(has_zero_byte ? kFailingStatement : sql);
  if (has_zero_byte) parameters = {};
  const char* name = state.prepare(text);
  if (!state.open) return Ticket{ticket};
  state.send_execute(name, text.c_str(), parameters);
  state.pending.push_back({State::Pending::Kind::execute, ticket, {}});
  return Ticket{ticket};
}

Result<void> Connection::finish() { return state_->finish(state_->wait_max()); }

Result<Rows> Connection::take(Ticket ticket) {
  auto& answers = state_->answers;
  const auto found = answers.find(static_cast<std::uint64_t>(ticket));
  if (found == answers.end()) {
    if (!state_->open) return tl::unexpected(state_->broken({}));
    return failure(ErrorCode::internal, "a PostgreSQL statement's answer was asked for that is not there");
  }
  Result<Rows> rows = std::move(found->second);
  answers.erase(found);
  return rows;
}

Result<Rows> Connection::query(std::string_view sql, std::span<const Parameter> parameters) {
  const Ticket ticket = queue(sql, parameters);
  if (auto finished = finish(); !finished) return tl::unexpected(finished.error());
  return take(ticket);
}

Result<Rows> Connection::execute(const std::string& script) { return state_->execute(script); }

const std::string& Connection::transaction_settings() const {
  static const std::string none;
  return state_->pooled ? state_->transaction_settings : none;
}

bool Connection::is_pooled() const { return state_->pooled; }

void Connection::set_deadline(Deadline deadline) { state_->deadline = deadline; }

bool Connection::reset() {
  State& state = *state_;
  if (!state.open) return false;
  if (state.pending.empty() && state.transaction == PQTRANS_IDLE) return true;
  state.deadline.reset();
  // An error among what is queued skips the first ROLLBACK. Where no transaction is open it does no harm.
  for (int attempt = 0; attempt < 2; ++attempt) {
    queue("ROLLBACK");
    (void)state.finish(kResetTimeout);  // told by what is checked next
    if (!state.open) return false;
    if (state.transaction == PQTRANS_IDLE) return true;
  }
  state.open = false;
  return false;
}

bool Connection::looks_alive() {
  State& state = *state_;
  if (!state.open) return false;
  pollfd descriptor{PQsocket(state.conn), POLLIN, 0};
  if (::poll(&descriptor, 1, 0) > 0) {
    // A server that goes says so and closes; anything else that it says unasked is read and passed over.
    PQconsumeInput(state.conn);
    PQisBusy(state.conn);
    if (PQstatus(state.conn) == CONNECTION_BAD || (descriptor.revents & (POLLHUP | POLLERR)) != 0) state.broken({});
  }
  return state.open;
}

Result<void> Connection::check(std::chrono::milliseconds timeout) {
  State& state = *state_;
  queue("SELECT 1");
  return state.finish(timeout);
}

std::vector<Connection::Notification> Connection::notifications() {
  State& state = *state_;
  std::vector<Notification> found;
  if (!state.conn) return found;
  const bool has_read = PQconsumeInput(state.conn) != 0;
  while (PGnotify* notify = PQnotifies(state.conn)) {
    found.push_back({notify->relname, notify->extra});
    PQfreemem(notify);
  }
  if (state.open && (!has_read || PQstatus(state.conn) == CONNECTION_BAD))
    state.broken(trimmed(PQerrorMessage(state.conn)));
  return found;
}

int Connection::socket() const { return state_->open ? PQsocket(state_->conn) : -1; }

std::chrono::steady_clock::time_point Connection::opened_at() const { return state_->opened_at; }
bool Connection::is_open() const { return state_->open; }
bool Connection::in_transaction() const {
  return state_->transaction == PQTRANS_INTRANS || state_->transaction == PQTRANS_INERROR;
}
bool Connection::transaction_failed() const { return state_->transaction == PQTRANS_INERROR; }
int Connection::backend_pid() const { return PQbackendPID(state_->conn); }
int Connection::server_version() const { return PQserverVersion(state_->conn); }
const std::string& Connection::sqlstate() const { return state_->sqlstate; }
const std::string& Connection::error_table() const { return state_->error_table; }
const std::string& Connection::error_schema() const { return state_->error_schema; }
const std::string& Connection::error_constraint() const { return state_->error_constraint; }
const std::string& Connection::error_text() const { return state_->error_text; }

void Connection::cancel() { canceller()(); }

std::function<void()> Connection::canceller() const {
  return [handle = state_->cancel] {
    char reason[256];
    // That it did not work is seen by what goes on running; the connection's own deadline ends it.
    if (handle) PQcancel(handle.get(), reason, sizeof reason);
  };
}

std::vector<Parameter> parameters_of(const std::vector<std::optional<std::string>>& texts) {
  std::vector<Parameter> parameters;
  parameters.reserve(texts.size());
  for (const auto& text : texts) parameters.push_back(text ? Parameter(std::string_view(*text)) : std::nullopt);
  return parameters;
}

}  // namespace nizhal::postgres
