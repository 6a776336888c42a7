// For tests only: the seed of a random test, printed first so that a failed run can be repeated.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "base/environment.hpp"

namespace nizhal {

/// NIZHAL_SEED from the environment, else a new one each run.
inline std::uint64_t test_seed() {
  const char* given = std::getenv("NIZHAL_SEED");
  const std::uint64_t seed = given ? std::strtoull(given, nullptr, 10) : system_random().next();
  std::printf("NIZHAL_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace nizhal
