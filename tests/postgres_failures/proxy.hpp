// A wire between the engine and PostgreSQL that can lose an answer: what no server would do on demand.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::testing {

class Proxy {
 public:
  explicit Proxy(const PostgresServer& server);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  /// Statements have to travel with their text: only a connection that takes it for a pooler shows its COMMIT.
  std::string url(const std::string& server_url) const;
  /// The next COMMIT of a push is carried out, but its answer is lost with the connection.
  void lose_next_commit() { armed_ = true; }
  int lost() const { return lost_; }

 private:
  void accept_all();
  void carry(int client);

  std::string user_, socket_path_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> armed_{false}, is_over_{false};
  std::atomic<int> lost_{0};
  std::vector<std::thread> carriers_;
  std::thread acceptor_;
};

}  // namespace nizhal::testing
