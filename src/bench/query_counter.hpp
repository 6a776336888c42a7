// Counts what a server asks of its PostgreSQL: a relay between the two that reads the client's half of the protocol
// (version 3) as it passes. Exact, and needs no right on the server.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <nizhal/result.hpp>

namespace nizhal::bench {

/// Takes the client's messages apart as their bytes pass.
class QueryReader {
 public:
  /// Queries that begin in these bytes: each simple query, and each execution of a prepared one.
  std::uint64_t take(const char* bytes, std::size_t count);

 private:
  bool started_ = false;       // the first message has no type
  std::string header_;         // of the message that is coming
  std::uint64_t to_skip_ = 0;  // of its body
};

class QueryCounter {
 public:
  /// `host` is a name, an address or the directory of a socket, as libpq takes it.
  static Result<std::unique_ptr<QueryCounter>> start(std::string host, std::string port);
  ~QueryCounter();
  QueryCounter(const QueryCounter&) = delete;
  QueryCounter& operator=(const QueryCounter&) = delete;

  std::uint16_t port() const;
  /// Until now, of all connections.
  std::uint64_t queries() const;

 private:
  struct State;
  explicit QueryCounter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::bench
