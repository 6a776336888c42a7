// For tests only: whole suites can be run once more without the tail, by NIZHAL_TEST_TAIL=off.
#pragma once

#include <cstdlib>
#include <string_view>
#include <utility>

#include "server/limits.hpp"

namespace nizhal::testing {

inline server::Limits with_tail_as_told(server::Limits limits) {
  const char* told = std::getenv("NIZHAL_TEST_TAIL");
  if (told != nullptr && std::string_view(told) == "off") limits.tail_bytes_max = 0;
  return limits;
}

}  // namespace nizhal::testing
