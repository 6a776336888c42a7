// What the binary answers with `--json`, for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/json.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {

/// The one line of JSON on standard output, of a call that ended with `code`.
inline json::value answer_of(const Finished& finished, int code = 0) {
  EXPECT_EQ(finished.status.code, code) << finished.out << finished.err;
  EXPECT_EQ(std::count(finished.out.begin(), finished.out.end(), '\n'), 1) << finished.out;
  const auto parsed = parse_json(finished.out);
  EXPECT_TRUE(parsed) << finished.out;
  return parsed ? *parsed : json::value();
}

/// -1 where there is no whole number of that name.
inline std::int64_t number_in(const json::value& object, std::string_view name) {
  const json::value* found = member(object, name);
  return found ? as_integer(*found).value_or(-1) : -1;
}

}  // namespace nizhal::testing
