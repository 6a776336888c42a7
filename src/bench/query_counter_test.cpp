#include "bench/query_counter.hpp"

#include <gtest/gtest.h>

#include "base/environment.hpp"
#include "base/test_seed.hpp"

namespace nizhal::bench {
namespace {

std::string message(const char* type, std::size_t body) {
  const std::size_t length = body + 4;
  std::string bytes = type;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(length >> shift));
  return bytes + std::string(body, 'Q');  // what looks like a message's type and is none
}

TEST(QueryReader, CountsQueriesAndExecutionsHoweverTheBytesAreCut) {
  const std::uint64_t seed = test_seed("cuts");
  SCOPED_TRACE("NIZHAL_SEED=" + std::to_string(seed));
  SeededRandom random(seed);
  const std::string bytes = message("", 40) + message("p", 30) + message("Q", 100) + message("P", 50) +
                            message("B", 200) + message("E", 5) + message("S", 0) + message("B", 0) + message("E", 5) +
                            message("S", 0) + message("d", 70'000) + message("X", 0);
  for (int i = 0; i < 100; ++i) {
    QueryReader reader;
    std::uint64_t queries = 0;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t count = std::min<std::size_t>(1 + random.below(i == 0 ? 1 : 500), bytes.size() - at);
      queries += reader.take(bytes.data() + at, count);
      at += count;
    }
    ASSERT_EQ(queries, 3U);
  }
}

}  // namespace
}  // namespace nizhal::bench
