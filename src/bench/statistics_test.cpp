#include "bench/statistics.hpp"

#include <gtest/gtest.h>

namespace nizhal::bench {
namespace {

TEST(Statistics, TheMedianIsTheMiddleOneOrTheMeanOfTwo) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({7}), 7);
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({4, 1, 9, 2}), 3);
}

TEST(Statistics, TheRatioIsTakenWithinEachRound) {
  // The machine was five times slower in the second round: that changes the figures and not the ratio.
  const Figure figure{.name = "push", .unit = "mutations/s", .rounds = {{500, 1000}, {100, 200}, {300, 900}}};
  EXPECT_EQ(figure.value(), 300);
  EXPECT_EQ(figure.limit(), 900);
  EXPECT_EQ(figure.ratio(), 0.5);
}

TEST(Statistics, WithoutALimitThereIsNoRatio) { EXPECT_EQ((Round{5, 0}.ratio()), 0); }

}  // namespace
}  // namespace nizhal::bench
