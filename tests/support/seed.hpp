// Seeds of random tests: printed first, replayed with NIZHAL_SEED=n.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string_view>

namespace nizhal::testing {

/// NIZHAL_SEED when it is set, else `fallback`. Tests that must not vary between runs pass a constant.
inline std::uint64_t test_seed(std::string_view test, std::uint64_t fallback) {
  std::uint64_t seed = fallback;
  if (const char* text = std::getenv("NIZHAL_SEED")) {
    const std::string_view view(text);
    std::from_chars(view.data(), view.data() + view.size(), seed);
  }
  std::cout << test << ": NIZHAL_SEED=" << seed << '\n';
  return seed;
}

}  // namespace nizhal::testing
