// Which commits were told: once per bucket, whichever way the news comes first.
#include "server/told_commits.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nizhal::server {
namespace {

using Keys = ToldCommits::Keys;

TEST(ToldCommits, OfACommitEachBucketIsToldOnceInAllOrdersOfTheWaysByWhichNewsComes) {
  // The push's own announcement, another instance's in two parts, and two looks at the database that see it.
  const std::vector<std::function<Keys(ToldCommits&)>> ways = {
      [](ToldCommits& told) {
        return told.announced(Version{7}, {"a", "b"});
      },
      [](ToldCommits& told) { return told.announced(Version{7}, {"a"}); },
      [](ToldCommits& told) { return told.announced(Version{7}, {"b"}); },
      [](ToldCommits& told) {
        return told.seen(Version{7}, {"a", "b"});
      },
      [](ToldCommits& told) { return told.seen(Version{7}, {"b"}); },
  };
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  std::size_t orders = 0;
  do {
    ToldCommits told;
    std::map<std::string, int> times;
    for (const std::size_t way : order) {
      for (const std::string& key : ways[way](told)) ++times[key];
      told.settle(Version{9});
    }
    EXPECT_EQ(times, (std::map<std::string, int>{{"a", 1}, {"b", 1}})) << "order " << orders;
    ++orders;
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(orders, 120U);
}

TEST(ToldCommits, WhatACommitsOwnInstanceSaysIsAllThereIsToTell) {
  ToldCommits told;
  EXPECT_EQ(told.announced(Version{7}, {"a"}), Keys{"a"});
  EXPECT_EQ(told.seen(Version{7}, {"a", "row"}), Keys{}) << "the mutator named the buckets that matter";
  EXPECT_EQ(told.seen(Version{8}, {"row"}), Keys{"row"});
  EXPECT_EQ(told.announced(Version{8}, {"a", "row"}), Keys{"a"});
}

TEST(ToldCommits, AreBoundedAndForgetTheOldestFirst) {
  ToldCommits told;
  for (std::uint64_t v = 1; v <= 2 * ToldCommits::kMax; ++v) told.announced(Version{v}, {"a"});
  EXPECT_EQ(told.size(), ToldCommits::kMax) << "however long the horizon is kept back";
  told.settle(Version{2 * ToldCommits::kMax});
  EXPECT_EQ(told.size(), ToldCommits::kSettledKept);
  EXPECT_EQ(told.seen(Version{2 * ToldCommits::kMax}, {"a"}), Keys{});
  told.settle(Version{1});
  EXPECT_EQ(told.announced(Version{1}, {"a"}), Keys{"a"}) << "forgotten: told once more";
}

}  // namespace
}  // namespace nizhal::server
