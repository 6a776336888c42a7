// For tests only: the seed of a random test, printed first so that a failed run can be repeated.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/environment.hpp"

namespace nizhal {

/// NIZHAL_SEED from the environment; `NIZHAL_SEED=random` draws one. Without it `fallback`, so that two runs of the
/// same code give the same answer.
inline std::uint64_t test_seed(std::string_view test = "test", std::uint64_t fallback = 20260102) {
  std::uint64_t seed = fallback;
  if (const char* given = std::getenv("NIZHAL_SEED"))
    seed = std::string_view(given) == "random" ? system_random().next() : std::strtoull(given, nullptr, 10);
  std::printf("%.*s: NIZHAL_SEED=%llu\n", static_cast<int>(test.size()), test.data(),
              static_cast<unsigned long long>(seed));
  std::fflush(stdout);  // a crash must not take the line with it
  return seed;
}

}  // namespace nizhal
