// A database of the benchmark's own on a PostgreSQL server: created when it begins, dropped when it ends, whatever
// happens in between. No other database of the server is touched.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>

#include "base/environment.hpp"

namespace nizhal::bench {

class Database {
 public:
  /// `url` is libpq's and names a database to connect to first. Errors: unreachable; unauthorized when the role may not
  /// create databases, saying how to let it.
  static Result<std::unique_ptr<Database>> create(const std::string& url, Random& random);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// libpq's URL of the new database. May hold a password.
  const std::string& url() const { return url_; }
  /// The same for programs of PostgreSQL, as environment (PGHOST, PGDATABASE, …), so that no password is on a command
  /// line.
  const std::vector<std::pair<std::string, std::string>>& environment() const { return environment_; }

  /// Where the server is, as libpq found it.
  std::string host() const;
  std::string port() const;

  /// Statements without parameters. The error names PostgreSQL's.
  Result<void> run(const std::string& sql);
  /// The first column of the first row as text.
  Result<std::string> text(const std::string& sql);

  struct Copied {
    std::uint64_t rows = 0, bytes = 0;
  };
  /// Reads all that `COPY (query) TO STDOUT` gives, and drops it.
  Result<Copied> copy_out(const std::string& query);

  /// Settings that decide about durability and speed, as the server tells them.
  Result<std::vector<std::pair<std::string, std::string>>> settings();

 private:
  class Connection;
  Database() = default;

  std::string name_, url_;
  std::vector<std::pair<std::string, std::string>> environment_;
  std::unique_ptr<Connection> maintenance_, connection_;
};

/// Database::create, with its settings added to `settings`.
Result<std::unique_ptr<Database>> create_recorded(const std::string& url, Random& random,
                                                  std::vector<std::pair<std::string, std::string>>& settings);

/// The URL of another database on the server of `url`, and the same as environment. usage: it is no PostgreSQL URL.
struct DatabaseUrl {
  std::string url;
  std::vector<std::pair<std::string, std::string>> environment;
};
Result<DatabaseUrl> url_of_database(const std::string& url, const std::string& name);

/// The same database by a relay on 127.0.0.1 that reads the protocol, so without encryption.
Result<std::string> url_through(const std::string& url, std::uint16_t port);

}  // namespace nizhal::bench
