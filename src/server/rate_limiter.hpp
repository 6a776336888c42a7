// How many requests an actor may send: a token bucket each, in a bounded map. The fact that must not break: memory
// stays bounded whoever asks, so buckets that are full again, which say nothing, are dropped first.
#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include <nizhal/actor.hpp>

#include "base/environment.hpp"

namespace nizhal::server {

class RateLimiter {
 public:
  /// `requests_per_second` 0 or less: no limit. `burst` below 1 counts as one second's worth, at least 1.
  RateLimiter(Clock& clock, double requests_per_second, double burst, std::size_t actors_max);

  /// Nothing: go on. Else how long to wait for the next token. Thread-safe.
  std::optional<std::chrono::seconds> admit(const Actor& actor);
  std::size_t size() const;

 private:
  struct TokenBucket {
    double tokens = 0;
    std::chrono::microseconds filled_at{0};
  };
  void refill(TokenBucket& bucket, std::chrono::microseconds now) const;
  void make_room(std::chrono::microseconds now);

  Clock& clock_;
  const double requests_per_second_;
  const double burst_;
  const std::size_t actors_max_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, TokenBucket> buckets_;
};

}  // namespace nizhal::server
