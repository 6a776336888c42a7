// Which pokes go out when the news of a commit comes from its push, from another instance, and from looking at the
// database, in any order, with any of it lost. The database is a model, so that every moment of a commit can be held.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "server/poker.hpp"
#include "server/test_domain.hpp"
#include "server/test_storage.hpp"
#include "tests/backends/backend.hpp"

namespace nizhal::server::testing {
namespace {

using Keys = std::set<std::string>;

/// A database as the poker sees it: versions that are taken and then committed, or never; and who has which buckets.
class ModelStorage : public storage::Storage {
 public:
  Version begin() {
    open_.insert(++last_);
    return Version{last_};
  }
  void commit(Version version, const Keys& keys, bool is_foreign) {
    open_.erase(number(version));
    commits_[number(version)] = keys;
    if (is_foreign) ++foreign_;
  }
  void roll_back(Version version) { open_.erase(number(version)); }
  /// A membership of the test domain's "members": definition 1.
  void grant(const std::string& user, const Keys& keys) {
    granted_[user] = keys;
    grant_changes_[last_ + 1] = user;
    ++grants_;
    commit(begin(), {}, true);
  }
  void restore(Keys everything) {
    last_ = 1;
    commits_ = {{1, std::move(everything)}};
    open_.clear();
    epoch_ += "'";
    ++foreign_;
  }

  bool can_tell = true;
  int failures = 0;  // of the reads to come
  std::size_t questions = 0, marks = 0;
  std::vector<std::string> read_actors;

  Result<storage::Position> position() override { return here(); }
  Result<storage::ChangeMark> change_mark() override {
    ++marks;
    storage::ChangeMark mark;
    mark.last = Version{last_};
    mark.settled = here().horizon;
    mark.foreign = foreign_;
    mark.grants = grants_;
    return mark;
  }
  Result<std::optional<storage::RecentChanges>> changes_since(const storage::Position&,
                                                              const storage::ChangesQuery& query) override {
    ++questions;
    if (failures > 0) {
      --failures;
      return failure(ErrorCode::busy, "not now");
    }
    if (!can_tell) return std::optional<storage::RecentChanges>();
    storage::RecentChanges changes;
    changes.position = here();
    for (auto it = commits_.upper_bound(number(query.after)); it != commits_.end(); ++it)
      for (const std::string& key : it->second) {
        auto& removal = changes.removals.emplace_back();
        removal.removal.version = Version{it->first};
        removal.bucket = key;
      }
    for (auto it = grant_changes_.upper_bound(number(query.after)); it != grant_changes_.end(); ++it)
      changes.grant_changes.push_back({.definition = membership, .subject = it->second});
    return std::optional(std::move(changes));
  }
  Result<std::unique_ptr<storage::Snapshot>> open_snapshot(const std::optional<storage::Position>&) override {
    return std::make_unique<ModelSnapshot>(*this);
  }

  Result<storage::ProvisionReport> provision() override { return storage::ProvisionReport{}; }
  Result<std::unique_ptr<storage::WriteTransaction>> begin_write(Timestamp, const storage::WriteOptions&) override {
    return failure(ErrorCode::internal, "not in this model");
  }
  Result<storage::GcReport> gc(Timestamp) override { return storage::GcReport{}; }
  Result<std::string> rotate_epoch() override { return epoch_; }
  Result<void> run_script(std::string_view) override { return {}; }
  void interrupt() override {}
  std::string describe() const override { return "a model"; }

  std::size_t membership = 0;  // the definition that grants

 private:
  class ModelSnapshot : public storage::ForwardingSnapshot {
   public:
    explicit ModelSnapshot(ModelStorage& storage) : ForwardingSnapshot(nullptr), storage_(storage) {}
    Result<std::vector<storage::Grant>> grants(const Actor& actor) override {
      storage_.read_actors.push_back(actor.user_id);
      std::vector<storage::Grant> grants;
      for (const std::string& key : storage_.granted_[actor.user_id]) grants.emplace_back().bucket.key = key;
      return grants;
    }

   private:
    ModelStorage& storage_;
  };

  storage::Position here() const {
    storage::Position position;
    position.epoch = epoch_;
    position.last = Version{last_};
    position.horizon = Version{open_.empty() ? last_ : *open_.begin() - 1};
    return position;
  }

  std::uint64_t last_ = 1, foreign_ = 0, grants_ = 0;
  std::string epoch_ = "e";
  std::set<std::uint64_t> open_;
  std::map<std::uint64_t, Keys> commits_;
  std::map<std::uint64_t, std::string> grant_changes_;
  std::map<std::string, Keys> granted_;
};

class CountingPeer : public StreamPeer {
 public:
  void send(std::string frame) override { ++frames[frame.substr(std::string("repull:").size())]; }
  void close(int, std::string_view) override {}
  /// What came since the last call.
  std::map<std::string, int> take() { return std::exchange(frames, {}); }
  std::map<std::string, int> frames;
};

/// What an instance tells the others.
class RecordingRealtime : public realtime::Realtime {
 public:
  void start(std::weak_ptr<realtime::Listener>) override {}
  void tell(realtime::Message message) override {
    for (const auto& commit : message.commits) told.push_back(commit);
    ++messages;
  }
  void stop() override {}
  bool reaches_others() const override { return true; }
  std::string describe() const override { return "recording"; }
  std::vector<realtime::CommitNotice> told;
  std::size_t messages = 0;
};

class PokeNews : public ::testing::Test {
 protected:
  PokeNews() {
    for (std::size_t d = 0; d < domain->definitions().size(); ++d)
      if (domain->grant_subject(d, Actor{"u1", "o1", ""}) == "u1") storage.membership = d;
    storage.grant("u1", {"a", "b"});
    storage.grant("u2", {"a"});
    start();
  }
  void start() {
    poker = std::make_unique<Poker>(
        PokerOutside{domain, storage, clock, std::make_shared<StorageNews>(storage, 1'000), &bus, {}}, Limits{});
  }
  std::shared_ptr<CountingPeer> open(const std::string& user) {
    auto peer = std::make_shared<CountingPeer>();
    const auto subscription = poker->subscribe(Actor{user, "o", ""}, Timestamp{1'000'000'000}, std::nullopt);
    EXPECT_TRUE(subscription);
    poker->open(*subscription, peer);
    return peer;
  }
  void own_commit(const Keys& keys) {
    const Version version = storage.begin();
    storage.commit(version, keys, false);
    (void)poker->committed({version, keys});
  }
  Version foreign_commit(const Keys& keys) {
    const Version version = storage.begin();
    storage.commit(version, keys, true);
    return version;
  }
  void hear(Version version, const Keys& keys) {
    if (poker->heard({{version, keys}})) poker->run();
  }

  const std::shared_ptr<const CompiledDomain> domain = nizhal::testing::compiled(test_domain());
  ManualClock clock{Timestamp{0}};
  ModelStorage storage;
  RecordingRealtime bus;
  std::unique_ptr<Poker> poker;
};

using Counts = std::map<std::string, int>;

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
        (void)poker->committed({it.version, it.keys});
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
