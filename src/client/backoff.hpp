// How long to wait after a failure, longer after each further one.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/environment.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {

/// Full jitter: uniform in [0, min(cap, base · 2ⁿ)], so that devices which failed together do not come back together.
class Backoff {
 public:
  Backoff(Random& random, std::chrono::milliseconds base) : random_(random), base_(base) {}

  /// After one more failure.
  std::chrono::milliseconds next() {
    const Tuning tuning;
    const unsigned doublings = std::min(failures_++, tuning.backoff_doublings_max);
    const std::int64_t ceiling = std::min(tuning.backoff_max.count(), base_.count() << doublings);
    return std::chrono::milliseconds{static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(ceiling) + 1))};
  }
  void reset() { failures_ = 0; }

 private:
  Random& random_;
  std::chrono::milliseconds base_;
  unsigned failures_ = 0;  // in a row
};

}  // namespace nizhal::client
