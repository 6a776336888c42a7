// Which pokes go out when the news of a commit comes from its push, from another instance, and from looking at the
// database, in any order, with any of it lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "server/test_poker_world.hpp"

namespace nizhal::server::testing {
namespace {

TEST_F(PokeNews, OfACommitEachStreamIsPokedOncePerBucketWhicheverWayTheNewsComesFirst) {
  for (const bool is_own : {true, false}) {
    std::vector<std::size_t> order = {0, 1, 2, 3, 4};
    do {
      poker.reset();
      start();
      const auto one = open("u1"), two = open("u2");
      const Version version = storage.begin();
      storage.commit(version, {"a", "b"}, !is_own);
      const std::vector<std::function<void()>> ways = {
          [&] {
            if (is_own && poker->committed({version, {"a", "b"}})) poker->run();
          },
          [&] { hear(version, {"a"}); },
          [&] {
            hear(version, {"b", "a"});
          },
          [&] { poker->look(); },
          [&] {
            poker->missed();
            poker->look();
          },
      };
      for (const std::size_t way : order) ways[way]();
      EXPECT_EQ(one->take(), (Counts{{"a", 1}, {"b", 1}}));
      EXPECT_EQ(two->take(), (Counts{{"a", 1}}));
      foreign_commit({"b"});
      poker->look();
      EXPECT_EQ(one->take(), (Counts{{"b", 1}})) << "and only what another commit changed, later";
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_F(PokeNews, ACommitOfAnotherProgramPokesItsBucketsAndNoOthers) {
  const auto one = open("u1"), two = open("u2");
  foreign_commit({"b"});
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"b", 1}}));
  EXPECT_EQ(two->take(), Counts{});
  foreign_commit({"unheard of"});
  poker->look();
  EXPECT_EQ(one->take(), Counts{});
}

TEST_F(PokeNews, WhatAnotherInstanceAnnouncedIsNotAskedForUntilTheNextLookAndPokesNobodyAgain) {
  const auto one = open("u1");
  poker->look();
  const std::size_t questions = storage.questions;
  for (int i = 0; i < 10; ++i) hear(foreign_commit({"a"}), {"a"});
  EXPECT_EQ(storage.questions, questions);
  EXPECT_EQ(one->take(), (Counts{{"a", 10}}));
  poker->look();
  EXPECT_EQ(storage.questions, questions + 1);
  EXPECT_EQ(one->take(), Counts{});
  poker->look();
  EXPECT_EQ(storage.questions, questions + 1) << "nothing is open, so there is nothing to look for";
}

TEST_F(PokeNews, CommitsThatComeTogetherArePokedAndToldTogether) {
  const auto one = open("u1");
  for (int i = 0; i < 100; ++i) own_commit({"a"});
  const std::size_t marks = storage.marks;
  poker->run();
  EXPECT_EQ(storage.marks, marks + 1);
  EXPECT_EQ(one->take(), (Counts{{"a", 1}}));
  EXPECT_EQ(bus.told.size(), 100U);
  EXPECT_EQ(bus.messages, 1U);
  poker->run();
  poker->look();
  EXPECT_EQ(one->take(), Counts{});
  EXPECT_EQ(bus.told.size(), 100U) << "each once";
}

TEST_F(PokeNews, OwnCommitsAreToldToOthersWithoutStreamsAndWithoutTheDatabase) {
  const std::size_t marks = storage.marks;
  own_commit({"a"});
  poker->run();
  ASSERT_EQ(bus.told.size(), 1U);
  EXPECT_EQ(bus.told[0].buckets, Keys{"a"});
  EXPECT_EQ(storage.marks, marks);
  const auto late = open("u1");
  poker->look();
  EXPECT_EQ(late->take(), Counts{}) << "it pulls when it comes";
}

TEST_F(PokeNews, Trap10AVersionThatCommitsAfterItsSuccessorsAndAfterManyLooksIsPokedThen) {
  const auto one = open("u1");
  const Version slow = storage.begin();
  for (int i = 0; i < 5; ++i) {
    foreign_commit({"b"});
    own_commit({"b"});
    poker->run();
    poker->look();
  }
  EXPECT_EQ(one->take().count("a"), 0U) << "nothing of it is to be seen yet";
  storage.commit(slow, {"a"}, true);
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}}));
  poker->look();
  EXPECT_EQ(one->take(), Counts{});
}

TEST_F(PokeNews, LooksUntilTheHorizonHasPassedTheLastVersionSeenEvenIfNothingElseMoves) {
  const auto one = open("u1");
  const Version slow = storage.begin();
  foreign_commit({"b"});
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"b", 1}}));
  poker->look();
  // It ends, and for once nobody is told that a program committed.
  storage.commit(slow, {"a"}, false);
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}}));
  const std::size_t questions = storage.questions;
  poker->look();
  EXPECT_EQ(storage.questions, questions);
}

TEST_F(PokeNews, LostMessagesOfAnotherInstanceAreFoundInTheDatabase) {
  const auto one = open("u1");
  foreign_commit({"a"});
  hear(foreign_commit({"b"}), {"b"});
  poker->missed();
  EXPECT_EQ(one->take(), (Counts{{"b", 1}}));
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}}));
}

TEST_F(PokeNews, WhenTheDatabaseCannotTellEverybodyIsPoked) {
  const auto one = open("u1"), two = open("u2");
  storage.can_tell = false;
  foreign_commit({"unheard of"});
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}, {"b", 1}}));
  EXPECT_EQ(two->take(), (Counts{{"a", 1}}));
  storage.can_tell = true;
  poker->look();
  EXPECT_EQ(one->take(), Counts{});
}

TEST_F(PokeNews, AFailureToAskIsTriedAgainAndThenEverybodyIsPoked) {
  const auto one = open("u1");
  storage.failures = 2;
  foreign_commit({"a"});
  poker->look();
  poker->look();
  EXPECT_EQ(one->take(), Counts{});
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}}));
  storage.failures = 100;
  foreign_commit({"a"});
  poker->look();
  poker->look();
  EXPECT_EQ(one->take(), Counts{});
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}, {"b", 1}}));
}

TEST_F(PokeNews, AnotherEpochPokesEverybodyAndForgetsWhatWasTold) {
  const auto one = open("u1");
  foreign_commit({"a"});
  poker->look();
  one->take();
  storage.restore({"a"});
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}, {"b", 1}}));
  foreign_commit({"a"});
  poker->look();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}})) << "a version that was told of in the epoch before";
}

TEST_F(PokeNews, AChangeOfGrantsIsReadForTheActorsThatItConcerns) {
  const auto one = open("u1"), two = open("u2"), again = open("u2");
  poker->look();
  storage.read_actors.clear();
  storage.grant("u2", {"a", "c"});
  poker->look();
  EXPECT_EQ(storage.read_actors, (std::vector<std::string>{"u2"}));
  EXPECT_EQ(two->take(), (Counts{{"c", 1}}));
  EXPECT_EQ(again->take(), (Counts{{"c", 1}}));
  EXPECT_EQ(one->take(), Counts{});
  // A push finds out as well, before it pokes.
  storage.grant("u1", {"b"});
  own_commit({"a", "b"});
  poker->run();
  EXPECT_EQ(storage.read_actors, (std::vector<std::string>{"u2", "u1"}));
  EXPECT_EQ(one->take(), (Counts{{"b", 1}})) << "lost: nothing of a";
  // Whoever it was, when nobody knows.
  two->take();
  storage.read_actors.clear();
  storage.can_tell = false;
  storage.grant("u2", {});
  own_commit({"a"});
  poker->run();
  EXPECT_EQ(storage.read_actors.size(), 2U);
  EXPECT_EQ(two->take(), (Counts{{"", 1}}));
}

TEST_F(PokeNews, WhateverComesLateTwiceOrNotAtAllEveryCommitIsToldAndNoneTwice) {
  const std::uint64_t first = test_seed("PokeNews");
  for (std::uint64_t seed = first; seed < first + 200; ++seed) {
    SeededRandom random(seed);
    poker.reset();
    start();
    const auto one = open("u1");
    const std::vector<Keys> choices = {{"a"}, {"b"}, {"a", "b"}, {}, {"unheard of"}};
    struct Open {
      Version version;
      Keys keys;
      bool is_own;
    };
    std::vector<Open> open_ones;
    std::vector<realtime::CommitNotice> on_the_way;
    std::map<std::string, int> commits, frames;
    std::set<std::string> untold;
    const auto collect = [&] {
      for (const auto& [key, count] : one->take()) {
        frames[key] += count;
        untold.erase(key);
      }
    };
    const auto commit = [&](const Open& it) {
      collect();
      storage.commit(it.version, it.keys, !it.is_own);
      for (const std::string& key : it.keys)
        if (key.size() == 1) {
          ++commits[key];
          untold.insert(key);
        }
      if (it.is_own)
        (void)poker->committed({it.version, it.keys},
                               random.below(2) == 0 ? std::optional(storage.grants_mark()) : std::nullopt);
      else if (random.below(3) > 0)
        on_the_way.push_back({it.version, it.keys});
    };
    for (int step = 0; step < 60; ++step) {
      switch (random.below(6)) {
        case 0:
        case 1:
          open_ones.push_back({storage.begin(), choices[random.below(choices.size())], random.below(2) == 0});
          break;
        case 2:
          if (!open_ones.empty()) {
            const auto place = open_ones.begin() + static_cast<std::ptrdiff_t>(random.below(open_ones.size()));
            if (random.below(5) == 0)
              storage.roll_back(place->version);
            else
              commit(*place);
            open_ones.erase(place);
          }
          break;
        case 3:
          if (!on_the_way.empty()) {
            const auto place = on_the_way.begin() + static_cast<std::ptrdiff_t>(random.below(on_the_way.size()));
            (void)poker->heard({*place});
            if (random.below(4) > 0) on_the_way.erase(place);
          }
          break;
        case 4:
          poker->run();
          break;
        case 5:
          poker->look();
          break;
      }
      collect();
    }
    for (const Open& it : open_ones) commit(it);
    poker->run();
    poker->look();
    poker->look();
    for (const auto& notice : on_the_way) hear(notice.version, notice.buckets);
    collect();
    EXPECT_TRUE(untold.empty()) << "seed " << seed << ": " << *untold.begin() << " changed and nobody was told";
    for (const auto& [key, count] : frames)
      EXPECT_LE(count, commits[key]) << "seed " << seed << ": more pokes of " << key << " than commits";
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace nizhal::server::testing
