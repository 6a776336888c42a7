// The tail: current whenever it answers, refreshed once for all who wait, begun anew whenever it cannot be sure, and
// never an answer that the tables would not give.
#include "server/tail.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/pull_handler.hpp"
#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

/// What is read of the changes, altered on its way.
class AlteredStorage : public storage::ForwardingStorage {
 public:
  using storage::ForwardingStorage::ForwardingStorage;
  std::function<void()> meanwhile;                         // while the changes are read
  std::function<void(storage::RecentChanges&)> alter;      // what was read
  std::function<void(storage::Position&)> alter_position;  // and where the database stands
  std::vector<storage::ChangesQuery> queries;
  bool can_tell = true;

  Result<storage::Position> position() override {
    auto position = inner_->position();
    if (position && alter_position) alter_position(*position);
    return position;
  }
  Result<std::optional<storage::RecentChanges>> changes_since(const storage::Position& settled,
                                                              const storage::ChangesQuery& query) override {
    queries.push_back(query);
    if (meanwhile) std::exchange(meanwhile, nullptr)();
    if (!can_tell) return std::optional<storage::RecentChanges>();
    auto changes = inner_->changes_since(settled, query);
    if (changes && *changes && alter) alter(**changes);
    return changes;
  }
};

class TailTest : public ::testing::Test {
 protected:
  explicit TailTest(Limits given = {}) : limits(std::move(given)) {
    world.run("u1", "createTeam", "x", "a");
    world.run("u1", "addDoc", "d1", "a");
    restart();
  }
  void restart() {
    tail = std::make_shared<Tail>(world.domain, altered, limits, Log());
    tailed = std::make_unique<PullHandler>(world.domain, altered, world.clock, without_memory(), tail);
    plain = std::make_unique<PullHandler>(world.domain, *world.storage, world.clock, without_memory());
  }
  Limits without_memory() const {
    Limits off = limits;
    off.idle_answers_max = 0;
    return off;
  }
  /// The same bytes with the tail and without; the next pull goes on from there.
  std::string pull(Actor actor = World::actor("u1")) {
    const auto answer = tailed->handle(actor, request);
    const auto expected = plain->handle(actor, request);
    EXPECT_TRUE(answer && expected);
    if (!answer || !expected) return "";
    EXPECT_EQ(*answer, *expected);
    const auto value = parse_json(*answer);
    request.cursor = std::string(string_member(*value, "cursor").value_or(""));
    return *answer;
  }
  /// Whether a pull is answered from the tail.
  bool is_hit(Actor actor = World::actor("u1")) {
    const auto hits = tail->figures().hits;
    pull(std::move(actor));
    return tail->figures().hits > hits;
  }
  storage::Position now() {
    const auto position = altered.position();
    EXPECT_TRUE(position);
    return position.value_or(storage::Position{});
  }
  std::size_t reads() const { return altered.queries.size(); }
  /// The buckets that the news name.
  static std::string buckets(const TailNews& news) {
    std::string out = news.everything ? "everything" : "";
    for (const auto& [version, key] : news.changes) out += (out.empty() ? "" : " ") + key;
    return out;
  }

  World world;
  AlteredStorage altered{*world.storage};
  const Limits limits;
  std::shared_ptr<Tail> tail;
  std::unique_ptr<PullHandler> tailed, plain;
  protocol::PullRequest request;
};

TEST_F(TailTest, AnswersWhatCameAfterItBegan) {
  pull();
  EXPECT_FALSE(tail->figures().hits);
  EXPECT_TRUE(is_hit()) << "nothing new";
  world.run("u1", "addDoc", "d2", "a");
  world.run("u1", "removeDoc", "d1");
  EXPECT_TRUE(is_hit());
  const std::size_t before = reads();
  EXPECT_TRUE(is_hit());
  EXPECT_EQ(reads(), before) << "it is current";
}

TEST_F(TailTest, ASnapshotIsNeverOpenedForWhatItHolds) {
  pull();
  world.run("u1", "addDoc", "d2", "a");
  world.storage->plan = fail_call("snapshot", ErrorCode::busy, 1'000);
  const auto page = tailed->handle(World::actor("u1"), request);
  ASSERT_TRUE(page);
  EXPECT_NE(page->find("d2"), std::string::npos);
}

TEST_F(TailTest, ACursorFromBeforeItsStartGoesToTheTables) {
  pull();
  const protocol::PullRequest old = request;
  world.run("u1", "addDoc", "d2", "a");
  restart();
  EXPECT_FALSE(is_hit());
  request = old;
  EXPECT_FALSE(is_hit());
  EXPECT_TRUE(is_hit());
}

TEST_F(TailTest, FirstSyncsAndBackfillsGoToTheTables) {
  for (int i = 0; i < 5; ++i) world.run("u1", "addDoc", "e" + std::to_string(i), "a");
  request.limit = 2;
  while (pull().find(R"("hasMore":true)") != std::string::npos) continue;
  EXPECT_EQ(tail->figures().hits, 0U);
  EXPECT_TRUE(is_hit());
  world.run("u1", "createTeam", "x", "b");
  EXPECT_FALSE(is_hit()) << "a bucket is gained";
}

TEST_F(TailTest, AMembershipThatWasLostAndRegainedIsLostAndGained) {
  world.run("u1", "addMember", "m2", "a", "u2");
  const Actor two = World::actor("u2");
  pull(two);
  EXPECT_TRUE(is_hit(two));
  world.run("u1", "removeMember", "m2");
  world.run("u1", "addMember", "m3", "a", "u2");
  const std::string page = pull(two);
  EXPECT_NE(page.find(R"("removedBuckets":["team:a"])"), std::string::npos) << page;
  world.run("u1", "removeMember", "m3");
  EXPECT_TRUE(is_hit(two)) << "a loss needs no table";
}

TEST_F(TailTest, WhoseGrantsChangedIsReadAgainInTheSameRefresh) {
  world.run("u1", "addMember", "m2", "a", "u2");
  const Actor one = World::actor("u1"), two = World::actor("u2");
  pull(two);
  EXPECT_TRUE(is_hit(two));
  request = {};
  pull(one);
  EXPECT_TRUE(is_hit(one));
  world.run("u1", "removeMember", "m2");
  const std::size_t before = reads();
  EXPECT_TRUE(is_hit(one));
  ASSERT_EQ(reads(), before + 2);
  EXPECT_TRUE(altered.queries[before].actors.empty());
  ASSERT_EQ(altered.queries[before + 1].actors.size(), 1U) << "nobody else's";
  EXPECT_EQ(altered.queries[before + 1].actors[0].user_id, "u2");
}

TEST_F(TailTest, WhereADevicesMutationsStandIsOfTheSameSnapshot) {
  request.device_id = "c1";
  pull();
  EXPECT_TRUE(is_hit()) << "a device without a record";
  EXPECT_NE(pull().find(R"("lastMutationId":0)"), std::string::npos);
  world.push("u1", {{.name = "addNote", .cmid = "m1", .id = "a", .client = "c1", .mutation_id = 1},
                    {.name = "addThenRefuse", .cmid = "m2", .id = "b", .client = "c1", .mutation_id = 2}});
  const auto hits = tail->figures().hits;
  EXPECT_NE(pull().find(R"("lastMutationId":2,"lastClientMutationId":"m2")"), std::string::npos);
  EXPECT_EQ(tail->figures().hits, hits + 1);
  world.push("u1", {{.name = "addThenRefuse", .cmid = "m3", .id = "c", .client = "c1", .mutation_id = 3}});
  EXPECT_NE(pull().find(R"("lastMutationId":3)"), std::string::npos) << "nothing but a refusal";
  EXPECT_EQ(tail->figures().hits, hits + 2);
  request = {};
  request.device_id = "c1";
  pull(World::actor("u2"));
  EXPECT_EQ(pull(World::actor("u2")).find("lastMutationId"), std::string::npos) << "another actor's device";
}

TEST_F(TailTest, ARenewedTokenIsTheSameActor) {
  pull({"u1", "o1", R"({"userId":"u1","ownerId":"o1","exp":1})"});
  EXPECT_TRUE(is_hit({"u1", "o1", R"({"userId":"u1","ownerId":"o1","exp":1})"}));
  const std::size_t before = reads();
  EXPECT_TRUE(is_hit({"u1", "o1", R"({"userId":"u1","ownerId":"o1","exp":2})"}));
  EXPECT_EQ(reads(), before);
}

TEST_F(TailTest, PruningIsSeenThoughItTakesNoVersion) {
  world.run("u1", "removeDoc", "d1");
  pull();
  const protocol::PullRequest old = request;
  world.run("u1", "addDoc", "d2", "a");
  world.run("u1", "removeDoc", "d2");
  EXPECT_TRUE(is_hit());
  ASSERT_TRUE(world.storage->gc(Timestamp{world.clock_now() + 1'000'000}));
  request = old;
  EXPECT_NE(pull().find(R"("cursorReset":true)"), std::string::npos);
}

TEST_F(TailTest, ANewEpochBeginsItAnew) {
  pull();
  EXPECT_TRUE(is_hit());
  ASSERT_TRUE(world.storage->rotate_epoch());
  EXPECT_NE(pull().find(R"("cursorReset":true)"), std::string::npos);
  EXPECT_TRUE(is_hit());
}

TEST_F(TailTest, ARestoredDatabaseBeginsItAnew) {
  pull();
  EXPECT_TRUE(is_hit());
  world.run("u1", "addDoc", "d2", "a");
  EXPECT_TRUE(is_hit());
  ASSERT_TRUE(tail->bring_up_to(now()));
  // The backup is older than the last commit.
  altered.alter_position = [](storage::Position& position) {
    position.last = position.horizon = Version{number(position.last) - 1};
  };
  altered.alter = [](storage::RecentChanges& changes) {
    changes.position.last = changes.position.horizon = Version{number(changes.position.last) - 1};
    changes.rows.clear();
  };
  tail->expect(World::actor("u2"), std::nullopt, Version{});
  EXPECT_FALSE(tail->bring_up_to(now()));
  EXPECT_FALSE(tail->has_begun());
  EXPECT_TRUE(tail->bring_up_to(now()));
}

TEST_F(TailTest, CommitsThatAreGoneWithoutATraceBeginItAnew) {
  pull();
  const Version settled = now().horizon;
  altered.alter = [&](storage::RecentChanges& changes) { changes.position.horizon = settled; };
  world.run("u1", "addDoc", "d2", "a");
  ASSERT_TRUE(tail->bring_up_to(now()));
  altered.alter = [](storage::RecentChanges& changes) { changes.rows.clear(); };
  tail->expect(World::actor("u2"), std::nullopt, Version{});
  EXPECT_FALSE(tail->bring_up_to(now()));
  EXPECT_FALSE(tail->has_begun());
}

TEST_F(TailTest, AFailedReadBeginsItAnew) {
  pull();
  EXPECT_TRUE(is_hit());
  world.run("u1", "addDoc", "d2", "a");
  world.storage->plan = fail_call("changes_since", ErrorCode::busy, 1);
  EXPECT_FALSE(is_hit()) << "the tables answer";
  EXPECT_TRUE(is_hit());
  EXPECT_TRUE(tail->look().everything) << "whatever it was";
  world.storage->plan = fail_call("position", ErrorCode::busy, 1);
  EXPECT_TRUE(tail->look().everything);
  EXPECT_FALSE(tail->has_begun());
}

TEST_F(TailTest, WhatIsForgottenDuringARefreshStaysForgotten) {
  pull();
  world.run("u1", "addDoc", "d2", "a");
  altered.meanwhile = [&] { tail->begin_anew(); };
  EXPECT_FALSE(is_hit());
  EXPECT_FALSE(tail->has_begun());
  EXPECT_TRUE(is_hit() || is_hit());
}

TEST_F(TailTest, AnOpenWriterMakesEachRefreshReadAgainFromTheHorizon) {
  pull();
  const Version settled = now().horizon;
  altered.alter_position = [&](storage::Position& position) { position.horizon = settled; };
  altered.alter = [&](storage::RecentChanges& changes) { changes.position.horizon = settled; };
  world.run("u1", "addDoc", "d2", "a");
  for (int i = 0; i < 3; ++i) {
    const std::size_t before = reads();
    ASSERT_TRUE(tail->bring_up_to(now()));
    ASSERT_EQ(reads(), before + 1);
    EXPECT_EQ(altered.queries.back().after, settled);
    EXPECT_EQ(tail->figures().rows, 1U);
  }
}

TEST_F(TailTest, WithoutAStorageThatCanTellItIsOff) {
  altered.can_tell = false;
  pull();
  EXPECT_FALSE(tail->is_on());
  EXPECT_FALSE(is_hit());
  EXPECT_EQ(reads(), 1U) << "asked once";
  EXPECT_TRUE(tail->look().everything);
}

TEST_F(TailTest, WhoWaitsSharesOneRefreshThatBeganAfterAllOfThem) {
  pull();
  world.run("u1", "addDoc", "d2", "a");
  constexpr std::size_t kThreads = 6;
  std::vector<std::thread> threads;
  const std::size_t before = reads();
  altered.meanwhile = [&] {
    for (std::size_t i = 0; i < kThreads; ++i) {
      // Each comes with a look of its own, which the refresh under way knows nothing of.
      threads.emplace_back([&, seen = now()]() mutable {
        seen.last = seen.horizon = Version{number(seen.last) + 1};
        EXPECT_TRUE(tail->bring_up_to(seen));
      });
    }
    while (tail->waiting() < kThreads) std::this_thread::yield();
  };
  EXPECT_TRUE(tail->bring_up_to(now()));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(reads(), before + 2);
}

TEST_F(TailTest, TellsWhatChangedSinceItWasAsked) {
  EXPECT_EQ(buckets(tail->look()), "everything") << "it has just begun";
  EXPECT_EQ(buckets(tail->look()), "");
  world.run("u1", "addDoc", "d2", "a");
  world.run("u1", "addNote", "n1");
  pull();  // a refresh for others is news all the same
  TailNews news = tail->look();
  EXPECT_EQ(buckets(news), "team:a o1");
  EXPECT_TRUE(news.grant_changes.empty());
  EXPECT_EQ(number(news.position.horizon), world.last_version());
  EXPECT_EQ(buckets(tail->look()), "");
  world.run("u1", "moveDoc", "d2", "a");
  world.run("u1", "addMember", "m2", "a", "u2");
  world.run("u1", "removeDoc", "d1");
  news = tail->look();
  EXPECT_EQ(buckets(news), "team:a team:a team:a") << "each commit is one";
  ASSERT_EQ(news.grant_changes.size(), 1U);
  EXPECT_EQ(news.grant_changes[0].subject,
            world.domain->grant_subject(news.grant_changes[0].definition, World::actor("u2")));
}

TEST_F(TailTest, KeepsTheActorsOfOpenStreamsInMind) {
  tail->keep(World::actor("u2"));
  tail->look();
  ASSERT_EQ(altered.queries.back().actors.size(), 1U);
  tail->begin_anew();
  tail->look();
  ASSERT_EQ(altered.queries.back().actors.size(), 1U) << "also when it begins anew";
  tail->release(World::actor("u2"));
  tail->begin_anew();
  tail->look();
  EXPECT_TRUE(altered.queries.back().actors.empty());
}

class SmallTail : public TailTest {
 protected:
  SmallTail() : TailTest(small()) {}
  static Limits small() {
    Limits limits;
    limits.tail_rows_max = 3;
    return limits;
  }
};

TEST_F(SmallTail, AfterTooMuchItBeginsAnewAtThePresent) {
  pull();
  EXPECT_TRUE(is_hit());
  for (int i = 0; i < 5; ++i) world.run("u1", "addDoc", "e" + std::to_string(i), "a");
  const std::size_t before = reads();
  EXPECT_FALSE(is_hit());
  EXPECT_EQ(reads(), before + 2);
  EXPECT_EQ(altered.queries.back().after, now().horizon);
  EXPECT_TRUE(is_hit());
  EXPECT_EQ(buckets(tail->look()), "everything");
}

TEST_F(SmallTail, WithTooMuchAboveTheHorizonItRestsUntilThatMoves) {
  const Version settled = now().horizon;
  for (int i = 0; i < 5; ++i) world.run("u1", "addDoc", "e" + std::to_string(i), "a");
  altered.alter_position = [&](storage::Position& position) { position.horizon = settled; };
  EXPECT_FALSE(tail->bring_up_to(now()));
  const std::size_t before = reads();
  EXPECT_FALSE(tail->bring_up_to(now()));
  EXPECT_EQ(reads(), before);
  altered.alter_position = nullptr;
  EXPECT_TRUE(tail->bring_up_to(now()));
}

class TinyTail : public TailTest {
 protected:
  TinyTail() : TailTest(tiny()) {}
  static Limits tiny() {
    Limits limits;
    limits.tail_bytes_max = 6'000;
    return limits;
  }
};

TEST_F(TinyTail, KeepsToItsBudgetAndForgetsTheOldestFirst) {
  pull();
  const protocol::PullRequest old = request;
  for (int i = 0; i < 40; ++i) {
    world.run("u1", "addDoc", "e" + std::to_string(i), "a");
    EXPECT_TRUE(is_hit()) << i;
    EXPECT_LE(tail->figures().bytes, 6'000U);
  }
  EXPECT_GT(tail->figures().rows, 3U);
  request = old;
  EXPECT_FALSE(is_hit());
  for (int i = 0; i < 40; ++i) {
    request = {};
    request.device_id = "c" + std::to_string(i);
    pull();
    EXPECT_TRUE(is_hit()) << i;
    EXPECT_LE(tail->figures().bytes, 6'000U);
  }
}

class NoTail : public TailTest {
 protected:
  NoTail() : TailTest(none()) {}
  static Limits none() {
    Limits limits;
    limits.tail_bytes_max = 0;
    return limits;
  }
};

TEST_F(NoTail, WithoutABudgetItIsOff) {
  pull();
  EXPECT_FALSE(is_hit());
  EXPECT_EQ(reads(), 0U);
  EXPECT_TRUE(tail->look().everything);
}

}  // namespace
}  // namespace nizhal::server::testing
