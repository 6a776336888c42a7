// What the server has done since it started, for /nizhal/stats.
#pragma once

#include <atomic>
#include <cstdint>

namespace nizhal::server {

struct Counters {
  std::atomic<std::uint64_t> pulls{0}, pushes{0};
  std::atomic<std::uint64_t> mutations_applied{0}, mutations_rejected{0}, mutations_repeated{0};
  std::atomic<std::uint64_t> retries{0};  // batches tried again after a transient failure
};

}  // namespace nizhal::server
