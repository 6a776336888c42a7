#include "bench/database.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <array>
#include <string_view>

#include "base/bytes.hpp"

namespace nizhal::bench {
namespace {

struct ResultFree {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, ResultFree>;

struct OptionsFree {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

std::string trimmed(const char* message) {
  std::string text = message ? message : "";
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

class Database::Connection {
 public:
  static Result<std::unique_ptr<Connection>> open(const std::string& url) {
    std::unique_ptr<Connection> connection(new Connection(PQconnectdb(url.c_str())));
    if (PQstatus(connection->connection_) != CONNECTION_OK)
      return failure(ErrorCode::unreachable,
                     fmt::format("PostgreSQL cannot be reached: {}", trimmed(PQerrorMessage(connection->connection_))));
    PQsetNoticeProcessor(
        connection->connection_, [](void*, const char*) {}, nullptr);
    return connection;
  }
  ~Connection() { PQfinish(connection_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Result<ResultPtr> query(const std::string& sql) {
    ResultPtr result(PQexec(connection_, sql.c_str()));
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_COPY_OUT) return result;
    const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    const bool may_not = state != nullptr && std::string_view(state) == "42501";
    return failure(may_not ? ErrorCode::unauthorized : ErrorCode::internal,
                   fmt::format("PostgreSQL: {}", trimmed(PQerrorMessage(connection_))));
  }

  std::string host() const { return PQhost(connection_); }
  std::string port() const { return PQport(connection_); }

  Result<Copied> copy_out(const std::string& select) {
    auto begun = query(fmt::format("COPY ({}) TO STDOUT", select));
    if (!begun) return tl::unexpected(begun.error());
    Copied copied;
    for (;;) {
      char* row = nullptr;
      const int bytes = PQgetCopyData(connection_, &row, 0);
      if (bytes <= 0) break;
      ++copied.rows;
      copied.bytes += static_cast<std::uint64_t>(bytes);
      PQfreemem(row);
    }
    for (ResultPtr result(PQgetResult(connection_)); result; result.reset(PQgetResult(connection_)))
      if (PQresultStatus(result.get()) != PGRES_COMMAND_OK)
        return failure(ErrorCode::internal, fmt::format("COPY: {}", trimmed(PQerrorMessage(connection_))));
    return copied;
  }

 private:
  explicit Connection(PGconn* connection) : connection_(connection) {}
  PGconn* connection_;
};

Result<std::unique_ptr<Database>> create_recorded(const std::string& url, Random& random,
                                                  std::vector<std::pair<std::string, std::string>>& settings) {
  auto database = Database::create(url, random);
  if (!database) return database;
  auto told = (*database)->settings();
  if (!told) return tl::unexpected(told.error());
  settings.insert(settings.end(), told->begin(), told->end());
  return database;
}

Result<DatabaseUrl> url_of_database(const std::string& url, const std::string& name) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, OptionsFree> options(PQconninfoParse(url.c_str(), &error));
  if (!options) {
    // libpq's message may repeat the URL, which may hold a password.
    PQfreemem(error);
    return failure(ErrorCode::usage, "--db is no URL of PostgreSQL; write postgresql://USER@HOST:PORT/NAME");
  }
  DatabaseUrl result;
  result.url = "postgresql:///" + percent_encoded(name);
  char separator = '?';
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const bool is_name = std::string_view(option->keyword) == "dbname";
    if (!is_name && option->val == nullptr) continue;
    if (option->envvar != nullptr) result.environment.emplace_back(option->envvar, is_name ? name : option->val);
    if (is_name) continue;
    result.url += fmt::format("{}{}={}", separator, option->keyword, percent_encoded(option->val));
    separator = '&';
  }
  return result;
}

Result<std::string> url_through(const std::string& url, std::uint16_t port) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, OptionsFree> options(PQconninfoParse(url.c_str(), &error));
  if (!options) {
    PQfreemem(error);
    return failure(ErrorCode::usage, "this is no URL of PostgreSQL");
  }
  std::string through = fmt::format("postgresql:///?host=127.0.0.1&port={}&sslmode=disable&gssencmode=disable", port);
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const std::string_view name = option->keyword;
    const bool is_ours =
        name == "host" || name == "hostaddr" || name == "port" || name == "sslmode" || name == "gssencmode";
    if (option->val && !is_ours) through += fmt::format("&{}={}", name, percent_encoded(option->val));
  }
  return through;
}

Result<std::unique_ptr<Database>> Database::create(const std::string& url, Random& random) {
  std::unique_ptr<Database> database(new Database());
  std::array<std::uint8_t, 6> bytes{};
  random.fill(bytes);
  const std::string name = "nizhal_bench_" + to_hex(bytes);
  auto own = url_of_database(url, name);
  if (!own) return tl::unexpected(own.error());
  database->url_ = std::move(own->url);
  database->environment_ = std::move(own->environment);

  auto maintenance = Connection::open(url);
  if (!maintenance) return tl::unexpected(maintenance.error());
  database->maintenance_ = std::move(*maintenance);
  auto created = database->maintenance_->query(fmt::format("CREATE DATABASE {}", name));
  if (!created) {
    if (created.error().code != ErrorCode::unauthorized) return tl::unexpected(created.error());
    return failure(ErrorCode::unauthorized,
                   "the benchmark works in a database of its own, and this role may not create one; let it: "
                   "ALTER ROLE … CREATEDB");
  }
  database->name_ = name;
  auto connection = Connection::open(database->url_);
  if (!connection) return tl::unexpected(connection.error());
  database->connection_ = std::move(*connection);
  return database;
}

Database::~Database() {
  connection_.reset();
  // What is still connected belongs to a server of ours that is ending.
  if (!name_.empty()) static_cast<void>(maintenance_->query(fmt::format("DROP DATABASE {} WITH (FORCE)", name_)));
}

std::string Database::host() const { return connection_->host(); }
std::string Database::port() const { return connection_->port(); }

Result<void> Database::run(const std::string& sql) {
  auto result = connection_->query(sql);
  if (!result) return tl::unexpected(result.error());
  return {};
}

Result<std::string> Database::text(const std::string& sql) {
  auto result = connection_->query(sql);
  if (!result) return tl::unexpected(result.error());
  if (PQntuples(result->get()) == 0) return std::string();
  return std::string(PQgetvalue(result->get(), 0, 0));
}

Result<Database::Copied> Database::copy_out(const std::string& query) { return connection_->copy_out(query); }

Result<std::vector<std::pair<std::string, std::string>>> Database::settings() {
  std::vector<std::pair<std::string, std::string>> settings;
  const auto version = text("SHOW server_version");
  if (!version) return tl::unexpected(version.error());
  settings.emplace_back("postgresql", *version);
  for (const char* name : {"fsync", "synchronous_commit", "full_page_writes", "wal_level", "shared_buffers"}) {
    const auto value = text(fmt::format("SHOW {}", name));
    if (!value) return tl::unexpected(value.error());
    settings.emplace_back(name, *value);
  }
  return settings;
}

}  // namespace nizhal::bench
