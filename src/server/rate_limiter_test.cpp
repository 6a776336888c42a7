#include "server/rate_limiter.hpp"

#include <gtest/gtest.h>

#include <string>

namespace nizhal::server {
namespace {

using namespace std::chrono_literals;

Actor actor(std::string user, std::string owner = "o") { return {std::move(user), std::move(owner), ""}; }

TEST(RateLimiter, LetsABurstThroughAndThenTheRate) {
  ManualClock clock(Timestamp{0});
  RateLimiter limiter(clock, 2, 3, 100);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(limiter.admit(actor("a")));
  EXPECT_EQ(limiter.admit(actor("a")), 1s);
  clock.advance(500ms);
  EXPECT_FALSE(limiter.admit(actor("a")));
  EXPECT_TRUE(limiter.admit(actor("a")));
  clock.advance(1h);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(limiter.admit(actor("a")));
  EXPECT_TRUE(limiter.admit(actor("a")));
}

TEST(RateLimiter, SaysHowLongToWait) {
  ManualClock clock(Timestamp{0});
  RateLimiter limiter(clock, 0.1, 1, 100);
  EXPECT_FALSE(limiter.admit(actor("a")));
  EXPECT_EQ(limiter.admit(actor("a")), 10s);
}

TEST(RateLimiter, ActorsDoNotShareATokenBucket) {
  ManualClock clock(Timestamp{0});
  RateLimiter limiter(clock, 1, 1, 100);
  EXPECT_FALSE(limiter.admit(actor("ab", "c")));
  EXPECT_FALSE(limiter.admit(actor("a", "bc")));
  EXPECT_TRUE(limiter.admit(actor("ab", "c")));
}

TEST(RateLimiter, IsOffWithoutARate) {
  ManualClock clock(Timestamp{0});
  RateLimiter limiter(clock, 0, 0, 100);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(limiter.admit(actor("a")));
  EXPECT_EQ(limiter.size(), 0U);
}

TEST(RateLimiter, ItsMemoryIsBoundedAndTheBusyAreForgottenLast) {
  ManualClock clock(Timestamp{0});
  RateLimiter limiter(clock, 1, 1, 10);
  EXPECT_FALSE(limiter.admit(actor("busy")));
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(limiter.admit(actor("busy")));  // never lets its token bucket fill
    EXPECT_FALSE(limiter.admit(actor("passer-by " + std::to_string(i))));
    EXPECT_LE(limiter.size(), 10U);
    if (i % 9 == 8) {
      clock.advance(1s);
      EXPECT_FALSE(limiter.admit(actor("busy")));
    }
  }
}

TEST(RateLimiter, GrowsNoFurtherWhenEverybodyIsBusy) {
  ManualClock clock(Timestamp{0});
  RateLimiter limiter(clock, 1, 1, 10);
  for (int i = 0; i < 1000; ++i) limiter.admit(actor("crowd " + std::to_string(i)));
  EXPECT_LE(limiter.size(), 10U);
}

}  // namespace
}  // namespace nizhal::server
