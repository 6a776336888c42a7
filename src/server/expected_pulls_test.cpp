#include "server/expected_pulls.hpp"

#include <gtest/gtest.h>

namespace nizhal::server {
namespace {

using Time = ExpectedPulls::Time;
constexpr Time kNow{1'000}, kUntil{2'000};

TEST(ExpectedPulls, AreTakenOncePerPokedStreamOfTheirUser) {
  ExpectedPulls pulls;
  EXPECT_FALSE(pulls.take("a", kNow)) << "nobody was poked";
  pulls.expect({{"a", 2}, {"b", 1}}, kUntil);
  EXPECT_TRUE(pulls.take("a", kNow));
  EXPECT_FALSE(pulls.take("c", kNow)) << "not poked";
  EXPECT_TRUE(pulls.take("a", kNow));
  EXPECT_FALSE(pulls.take("a", kNow)) << "a third one of two streams";
  EXPECT_FALSE(pulls.are_all_here());
  EXPECT_TRUE(pulls.take("b", kNow));
  EXPECT_TRUE(pulls.are_all_here());
  pulls.released();
  EXPECT_FALSE(pulls.take("b", kNow));
}

TEST(ExpectedPulls, TwoCommitsBeforeAPullMakeOnePull) {
  ExpectedPulls pulls;
  pulls.expect({{"a", 1}, {"b", 3}}, kUntil);
  pulls.expect({{"a", 1}, {"b", 2}}, kUntil);
  EXPECT_EQ(pulls.to_come(), 4U);
}

TEST(ExpectedPulls, WhoWaitsWhenItIsPokedAgainComesOnceMoreAndIsNotWaitedForBefore) {
  ExpectedPulls pulls;
  pulls.expect({{"a", 2}, {"b", 1}}, kUntil);
  EXPECT_TRUE(pulls.take("a", kNow));
  pulls.expect({{"a", 2}, {"b", 1}}, kUntil);
  EXPECT_EQ(pulls.to_come(), 2U) << "the other stream of a, and b";
  EXPECT_TRUE(pulls.take("a", kNow));
  EXPECT_TRUE(pulls.take("b", kNow));
  EXPECT_TRUE(pulls.are_all_here());
  pulls.released();
  EXPECT_EQ(pulls.to_come(), 1U);
  EXPECT_FALSE(pulls.take("b", kNow));
  EXPECT_TRUE(pulls.take("a", kNow));
  EXPECT_TRUE(pulls.are_all_here());
}

TEST(ExpectedPulls, WhoDoesNotComeIsForgottenWithTime) {
  ExpectedPulls pulls;
  pulls.expect({{"a", 1}, {"b", 1}}, kUntil);
  EXPECT_TRUE(pulls.take("a", kUntil));
  EXPECT_FALSE(pulls.take("b", kUntil + Time(1)));
  EXPECT_TRUE(pulls.are_all_here());
  pulls.expect({{"b", 1}}, kUntil + Time(500));
  EXPECT_TRUE(pulls.take("b", kUntil + Time(500)));
}

TEST(ExpectedPulls, ThatNeverComeDoNotAddUp) {
  ExpectedPulls pulls;
  for (int commit = 0; commit < 100; ++commit) {
    pulls.expect({{"a", 2}}, kUntil);
    EXPECT_TRUE(pulls.take("a", kNow));
    pulls.released();
  }
  EXPECT_EQ(pulls.to_come(), 1U);
  pulls.forget();
  EXPECT_TRUE(pulls.are_all_here());
  EXPECT_FALSE(pulls.take("a", kNow));
}

}  // namespace
}  // namespace nizhal::server
