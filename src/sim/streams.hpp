// One seed, many independent streams of numbers: what is drawn for one purpose moves nothing of another's, so that a
// run with one action less stays the same run elsewhere.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/environment.hpp"

namespace nizhal::sim {

/// The seed of a purpose's stream (FNV-1a of its name and number, mixed by SplitMix64's finalizer).
inline std::uint64_t stream_seed(std::uint64_t seed, std::string_view purpose, std::uint64_t number = 0) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : purpose) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  std::uint64_t mixed = seed ^ hash ^ (number * 0x9e3779b97f4a7c15U);
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
  return mixed ^ (mixed >> 31);
}

inline bool chance(Random& random, std::uint64_t per_mille) { return per_mille > 0 && random.below(1000) < per_mille; }

/// From `low` to `high`, short ones as likely as long ones: the logarithm is even.
inline std::int64_t spread(Random& random, std::int64_t low, std::int64_t high) {
  std::uint64_t doublings = 0;
  for (auto value = static_cast<std::uint64_t>(low < 1 ? 1 : low); value < static_cast<std::uint64_t>(high); value *= 2)
    ++doublings;
  const std::int64_t top = low < 1 ? 1 : low;
  const auto base = top << random.below(doublings + 1);
  const auto drawn = base + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(base)));
  return drawn > high ? high : drawn;
}

}  // namespace nizhal::sim
