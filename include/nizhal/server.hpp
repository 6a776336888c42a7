// A sync server in ten lines, or a part of your own backend.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/conflict.hpp>
#include <nizhal/domain.hpp>
#include <nizhal/result.hpp>

namespace nizhal {

/// What a server on PostgreSQL can be told besides the URL.
struct PostgresOptions {
  /// A direct connection to the same database for watching it, where the URL leads through a pooler. Empty: the URL.
  std::string listen_url = {};
  /// The URL leads through a pooler in transaction mode, such as pgbouncer with pool_mode = transaction.
  bool transaction_pooler = false;
  /// A streaming replica of the same cluster, from which backfills are read (S12). Empty: everything from the URL.
  std::string read_url = {};
  std::size_t connections_max = 0;  // 0: as many as the workers can use
  /// Of the database, for one statement. A longer one is ended and the request answered "busy", within 10 s.
  std::chrono::milliseconds statement_timeout{5'000};
  std::chrono::milliseconds lock_timeout{3'000};  // for the locks that others hold
};
/// Where the server keeps its data. Made by sqlite_storage or postgres_storage.
struct StorageOptions {
  std::string url;  // "sqlite:PATH", or PostgreSQL's
  PostgresOptions postgres = {};
};
/// An embedded SQLite file, created when absent.
StorageOptions sqlite_storage(std::string path);
/// A PostgreSQL database, 13 or newer: "postgresql://user@host:5432/name", or libpq's "host=… dbname=…". PGPASSWORD,
/// PGSSLMODE and the other variables of libpq are heard. An empty database is provisioned; one with tables of yours is
/// brought in line by `nizhal migrate`.
StorageOptions postgres_storage(std::string url, PostgresOptions options = {});

/// JSON Web Tokens signed with HS256 and a shared secret; `userId`, `ownerId` and `exp` are mandatory.
struct BearerTokenOptions {
  std::string secret;  // at least 16 bytes
};
struct AuthOptions {
  BearerTokenOptions bearer;
};
AuthOptions bearer_token_auth(BearerTokenOptions options);

/// How several instances on one database hear of each other's commits and of who is present. Without it nothing is lost
/// either: each looks at the database a few times a second.
struct RealtimeOptions {
  enum class Kind { in_process, listen_notify };
  Kind kind = Kind::in_process;
  std::string url = {};  // listen_notify: a direct connection; empty: the storage's listen_url, else its URL
};
/// One instance.
RealtimeOptions in_process_realtime();
/// Several instances on one PostgreSQL, by LISTEN and NOTIFY.
RealtimeOptions listen_notify_realtime(std::string url = {});

struct RateLimit {
  double requests_per_second = 0;  // per actor; 0: off
  double burst = 0;
};

struct ServerOptions {
  Domain domain;
  StorageOptions storage{};
  AuthOptions auth{};
  RealtimeOptions realtime = {};
  /// Browser origins ("https://app.example.com") that may open streams and, by CORS, send requests; "*": any. Requests
  /// without an Origin header, as devices send them, are always served.
  std::vector<std::string> allowed_origins = {};
  std::size_t tail_bytes_max = 64 << 20;  // memory for recent changes, from which connected devices' pulls are answered
  std::size_t body_bytes_max = 1 << 20;
  std::size_t pull_limit_default = 1'000;
  std::size_t pull_limit_max = 10'000;
  RateLimit rate_limit = {};
  std::chrono::hours retention{30 * 24};  // of tombstones, mutation records and audit rows
  std::size_t workers = 0;                // threads for storage work and mutators; 0: 4 on SQLite, 16 on PostgreSQL
  std::size_t queue_max = 1'024;          // requests waiting for a worker; more are answered 503
  std::string admin_password = {};        // for /nizhal/audit and /nizhal/stats; empty: they answer 404
  std::string seed_sql = {};              // a script run after provisioning, as any other program's writes; empty: none
  std::function<void(std::string_view level, std::string_view area, std::string_view message)> log = {};
  /// Called after the commit for each edit that lost (Merge::Field), on a worker; it must not block for long.
  std::function<void(const ReportedConflict&)> on_conflict = {};
};

struct ListenOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 4000;  // 0: any free port
  /// Called once when the server accepts connections, with the real port.
  std::function<void(std::uint16_t port)> on_ready = {};
  bool handle_signals = true;  // SIGTERM and SIGINT drain and stop
};

class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Provisions the database if needed and serves until stopped. Returns 0 after a clean stop; 3 when the database
  /// does not fit the domain, 4 when the address or database cannot be used, 2 for wrong options; the reason is logged.
  int listen(const ListenOptions& options);
  /// Stops accepting, answers what is under way, closes sockets with 1001. Any thread.
  void stop();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace nizhal
