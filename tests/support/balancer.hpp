// A plain TCP balancer in front of several servers: connections go round, and one whose turn falls on a server that
// does not answer goes to the next. Nothing is sticky, and nothing is understood.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nizhal::testing {

class Balancer {
 public:
  /// `servers`: "http://127.0.0.1:PORT" each; they need not be there yet.
  explicit Balancer(const std::vector<std::string>& servers);
  ~Balancer();
  Balancer(const Balancer&) = delete;
  Balancer& operator=(const Balancer&) = delete;

  std::string url() const;
  /// Connections that a server has taken so far, in the order of `servers`.
  std::size_t taken(std::size_t server) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::testing
