// A PostgreSQL cluster of the test's own: in a temporary folder, as an ordinary user, on a Unix socket there and, when
// asked for, on a free port of 127.0.0.1. It can be stopped, killed, restarted, followed by a standby, and is gone when
// the test is, even when that is killed. The fact that must not break: no other cluster of the machine is touched.
//
//   const std::string url = shared_server().create_database();
//
// Failures throw: a test cannot go on without its server.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/reserved_port.hpp"

namespace nizhal::testing {

struct PostgresOptions {
  /// Off, a killed server keeps what it had written (the machine did not go down), as long as nothing else is lost.
  bool fsync = false;
  bool tcp = false;
  /// With a certificate of its own, and TCP only through TLS. Implies tcp.
  bool tls = false;
  std::string icu_locale{};                                     // e.g. "en-US"; empty: the C.UTF-8 locale
  std::string data_path{};                                      // where the data goes; empty: the server's folder
  std::vector<std::pair<std::string, std::string>> settings{};  // of postgresql.conf
  std::uint64_t file_bytes_max = 0;                             // ulimit -f: a write beyond it fails; 0: none
};

struct DatabaseOptions {
  std::string icu_locale{};  // empty: as the cluster's
};

class PostgresServer {
 public:
  explicit PostgresServer(PostgresOptions options = {});
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  /// The superuser's URL through the Unix socket.
  std::string url(std::string_view database = "postgres") const;
  /// Through TCP, host `localhost`; `parameters` as in "sslmode=require&…".
  std::string tcp_url(std::string_view database = "postgres", std::string_view parameters = {}) const;
  std::uint16_t port() const;
  const std::string& user() const;    // the superuser
  const std::string& folder() const;  // of the socket, the log and what else the test may keep here
  const std::string& data_path() const;

  /// A fresh database; its url().
  std::string create_database(const DatabaseOptions& options = {});
  /// Runs a script as superuser.
  void sql(std::string_view database, const std::string& script);
  /// The first column of the first row; empty when there is none or it is null.
  std::string value(std::string_view database, const std::string& query);

  bool is_running() const;
  void stop();  // rolls back what is open and ends, in order
  void start();
  void restart() {
    stop();
    start();
  }
  /// SIGKILL to the postmaster and every one of its processes.
  void kill_hard();
  /// Every one of its processes stands still, and its connections with them, until thaw().
  void freeze();
  void thaw();
  /// Takes effect at the next start.
  void set(const std::string& name, const std::string& value);
  void set_file_bytes_max(std::uint64_t bytes) { options_.file_bytes_max = bytes; }

  /// A streaming standby of this server, which is set to wait for it at each commit from now on. Must not outlive it
  /// unless promoted.
  std::unique_ptr<PostgresServer> standby();
  void promote();

  /// The certificate that clients have to trust (tls), and one that has signed nothing.
  std::string certificate() const;
  std::string other_certificate();

  /// The end of the server's log.
  std::string log() const;
  pid_t postmaster() const { return postmaster_; }

  /// Runs a program as the server's user, with a small environment, and waits for it; its output when it fails is part
  /// of the exception. Programs of PostgreSQL are found by name.
  void run(std::vector<std::string> arguments);
  /// Starts one that is killed when this server goes, at the latest. `name` names its log in folder().
  pid_t spawn(std::vector<std::string> arguments, const std::string& name);
  /// Waits for what spawn() started.
  void reap(pid_t process);

 private:
  struct Standby {
    const PostgresServer& primary;
  };
  PostgresServer(PostgresOptions options, const Standby& standby);
  void make_folder();
  void write_settings();
  void make_certificate(const std::string& name);
  void watch();
  void forget_shared_memory();

  PostgresOptions options_;
  std::string folder_, data_, user_{"nizhal_test"};
  std::optional<ReservedPort> reserved_;  // tcp
  std::uint16_t port_ = 5432;
  pid_t postmaster_ = -1, watcher_ = -1;
  int watched_ = -1;  // the pipe whose end tells the watcher that we are gone
  std::vector<pid_t> spawned_, frozen_;
};

/// The server that all tests of a process share. For what kills or stops its server, make one.
PostgresServer& shared_server();

}  // namespace nizhal::testing
