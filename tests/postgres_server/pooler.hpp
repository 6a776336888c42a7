// pgbouncer in transaction mode in front of a test's PostgreSQL server: a session is the client's only inside a
// transaction, and the next one is another.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/reserved_port.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::testing {

class Pooler {
 public:
  /// `sessions`: to each database. Must not outlive the server.
  explicit Pooler(PostgresServer& server, int sessions = 3);
  ~Pooler();
  Pooler(const Pooler&) = delete;
  Pooler& operator=(const Pooler&) = delete;

  /// `server_url`, as create_database() gives it, through the pooler.
  std::string url(const std::string& server_url) const;
  void stop();  // at once: its clients and sessions are cut off
  void start();

 private:
  PostgresServer& server_;
  const ReservedPort port_;
  pid_t process_ = -1;
};

}  // namespace nizhal::testing
