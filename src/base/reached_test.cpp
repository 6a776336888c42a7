#include "base/reached.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

namespace nizhal {
namespace {

TEST(Reached, EveryMarkHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kMarks; ++i) {
    const std::string_view name = to_string(Mark{static_cast<std::uint8_t>(i)});
    EXPECT_FALSE(name.empty()) << "mark " << i;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

TEST(Reached, AMarkThatWasReachedIsNotAmongThoseThatNeverWere) {
  reset_reached();
  EXPECT_EQ(never_reached().size(), kMarks);
  reached(Mark::exit_told);
  reached(Mark::exit_told);
  EXPECT_EQ(reached_count(Mark::exit_told), 2U);
  EXPECT_EQ(reached_count(Mark::tombstone_told), 0U);
  const auto names = never_reached();
  EXPECT_EQ(names.size(), kMarks - 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "exit_told"), 0);
  EXPECT_EQ(names.front(), "pull_staged");
  reset_reached();
  EXPECT_EQ(reached_count(Mark::exit_told), 0U);
}

TEST(Reached, ThreadsCountTogether) {
  reset_reached();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([] {
      for (int n = 0; n < 1000; ++n) reached(Mark::tail_answered);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(reached_count(Mark::tail_answered), 4000U);
}

}  // namespace
}  // namespace nizhal
