// Pokes without a look: the commit itself has brought back where the grants stand.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/test_seed.hpp"
#include "server/test_poker_world.hpp"
#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

using PokeAtOnce = PokeNews;

TEST_F(PokeAtOnce, ACommitThatKnowsWhereTheGrantsStandPokesFewStreamsOnItsThreadAndAsksNothing) {
  const auto one = open("u1"), two = open("u2");
  const std::size_t marks = storage.marks;
  const Version version = storage.begin();
  storage.commit(version, {"a", "b"}, false);
  EXPECT_FALSE(poker->committed({version, {"a", "b"}}, storage.grants_mark())) << "nothing is left to be done";
  EXPECT_EQ(one->take(), (Counts{{"a", 1}, {"b", 1}}));
  EXPECT_EQ(two->take(), (Counts{{"a", 1}}));
  EXPECT_EQ(storage.marks, marks);
  ASSERT_EQ(bus.told.size(), 1U);
  EXPECT_EQ(bus.told[0].version, version);
  poker->run();
  poker->look();
  poker->missed();
  poker->look();
  EXPECT_EQ(one->take(), Counts{}) << "of one commit once";
}

TEST_F(PokeAtOnce, ManyStreamsArePokedOnAnotherThreadWithoutALook) {
  const auto peer = open("u1");
  std::vector<std::shared_ptr<CountingPeer>> others;
  for (int i = 0; i < 32; ++i) others.push_back(open("u2"));
  const std::size_t marks = storage.marks;
  const Version version = storage.begin();
  storage.commit(version, {"a"}, false);
  EXPECT_TRUE(poker->committed({version, {"a"}}, storage.grants_mark())) << "run() is asked for";
  EXPECT_EQ(peer->take(), Counts{});
  poker->run();
  EXPECT_EQ(peer->take(), (Counts{{"a", 1}}));
  for (const auto& other : others) EXPECT_EQ(other->take(), (Counts{{"a", 1}}));
  EXPECT_EQ(storage.marks, marks);
  commit_with_mark({"b"});
  EXPECT_EQ(peer->take(), (Counts{{"b", 1}})) << "one stream has it";
}

TEST_F(PokeAtOnce, WhatAnotherInstanceSaysAndWhatKnowsNoMarkWaitsForALook) {
  const auto one = open("u1");
  const std::size_t marks = storage.marks;
  own_commit({"a"});
  EXPECT_EQ(one->take(), Counts{});
  commit_with_mark({"b"});
  EXPECT_EQ(one->take(), (Counts{{"b", 1}}));
  EXPECT_EQ(storage.marks, marks);
  poker->run();
  EXPECT_EQ(one->take(), (Counts{{"a", 1}}));
  EXPECT_EQ(storage.marks, marks + 1);
  hear(foreign_commit({"a"}), {"a"});
  EXPECT_EQ(storage.marks, marks + 2);
}

TEST_F(PokeAtOnce, GrantsThatMovedAreReadBeforeAnybodyIsPoked) {
  const auto one = open("u1"), two = open("u2");
  storage.grant("u2", {});
  commit_with_mark({"a"});
  EXPECT_EQ(one->take(), (Counts{{"a", 1}}));
  EXPECT_EQ(two->take(), (Counts{{"", 1}})) << "lost: nothing of a";
  commit_with_mark({"a"});
  EXPECT_EQ(one->take(), (Counts{{"a", 1}}));
  EXPECT_EQ(two->take(), Counts{});
}

TEST_F(PokeAtOnce, AStreamThatSubscribedBeforeTheGrantsMovedIsBroughtUpToDateFirst) {
  const auto subscription = poker->subscribe(Actor{"u2", "o", ""}, Timestamp{1'000'000'000}, std::nullopt);
  ASSERT_TRUE(subscription);
  storage.grant("u2", {});
  poker->look();
  const auto late = std::make_shared<CountingPeer>();
  poker->open(*subscription, late);
  commit_with_mark({"a"});
  EXPECT_EQ(late->take().count("a"), 0U);
}

TEST_F(PokeAtOnce, WhoeverLostABucketHearsNoMoreOfItInWhateverOrderThingsCome) {
  const std::uint64_t first = test_seed("PokeAtOnce");
  for (std::uint64_t seed = first; seed < first + 200; ++seed) {
    SeededRandom random(seed);
    poker.reset();
    start();
    const std::vector<Keys> choices = {{"a"}, {"b"}, {"a", "b"}, {}, {"c"}};
    const std::vector<std::string> users = {"u1", "u2"};
    std::vector<std::shared_ptr<CountingPeer>> peers;
    const auto listen = [&](const std::string& user) {
      peers.push_back(open(user));
      peers.back()->on_poke = [&, user](const std::string& key) {
        EXPECT_TRUE(key.empty() || storage.granted(user).contains(key))
            << "seed " << seed << ": " << user << " " << key;
      };
    };
    for (const std::string& user : users) listen(user);
    for (int step = 0; step < 60; ++step) {
      const Keys& keys = choices[random.below(choices.size())];
      switch (random.below(6)) {
        case 0:
          storage.grant(users[random.below(users.size())], keys);
          break;
        case 1:
          own_commit(keys);
          break;
        case 2:
          poker->look();
          break;
        case 3:
          listen(users[random.below(users.size())]);
          break;
        default:
          commit_with_mark(keys);
          break;
      }
    }
    if (HasFailure()) break;
  }
}

// On PostgreSQL, which brings the mark back.

class RecordingPeer : public StreamPeer {
 public:
  void send(std::string frame) override {
    if (!frame.starts_with("presence:")) frames += frame + " ";
  }
  void close(int, std::string_view) override {}
  std::string take() { return std::exchange(frames, {}); }
  std::string frames;
};

class PokeOnPostgres : public ::testing::Test {
 protected:
  void SetUp() override {
    world.run("u1", "createTeam", "x", "a");
    world.run("u1", "addMember", "m2", "a", "u2");
    settle();
  }
  void settle() {
    world.executor.run();
    world.server->tick();
  }
  std::shared_ptr<RecordingPeer> open(std::string_view user) {
    protocol::HttpRequest request;
    request.path = "/sync/stream";
    request.headers["authorization"] = "Bearer " + world.token(user);
    auto ticket = world.server->authorize_stream(request);
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().body);
    auto peer = std::make_shared<RecordingPeer>();
    if (ticket) world.server->open_stream(*ticket, peer);
    return peer;
  }
  World world{BackendKind::postgres};
};

TEST_F(PokeOnPostgres, APushThatChangesNoGrantsPokesAtOnceAndItsRowIsThere) {
  const auto one = open("u1"), two = open("u2");
  const std::size_t marks = world.storage->marks;
  world.run("u1", "addDoc", "d1", "a");
  EXPECT_EQ(one->take(), "repull:team:a ");
  EXPECT_EQ(two->take(), "repull:team:a ");
  EXPECT_EQ(world.storage->marks, marks);
  EXPECT_NE(world.pull("u2").text.find("d1"), std::string::npos);
  settle();
  EXPECT_EQ(one->take() + two->take(), "");
}

TEST_F(PokeOnPostgres, ARevocationThatCommitsWhileThePushIsUnderWayHoldsForItsPokes) {
  const auto one = open("u1"), two = open("u2");
  const auto other = world.backend->other_program();
  int revoked = 0;
  world.storage->plan = [&](std::string_view call) -> std::optional<ErrorCode> {
    // Everything that the push reads has been read.
    if (call == "commit" && revoked++ == 0) other->run("DELETE FROM members WHERE id = 'm2'");
    return std::nullopt;
  };
  world.run("u1", "addDoc", "d1", "a");
  EXPECT_EQ(revoked, 1);
  settle();
  EXPECT_EQ(one->take(), "repull:team:a ");
  EXPECT_EQ(two->take().find("team:a"), std::string::npos);
}

TEST_F(PokeOnPostgres, APushThatChangesGrantsPokesByTheNewOnes) {
  const auto two = open("u2"), three = open("u3");
  world.push("u1", {{.name = "removeMember", .cmid = "p1", .id = "m2"},
                    {.name = "addMember", .cmid = "p2", .id = "m3", .place = "a", .text = "u3"},
                    {.name = "addDoc", .cmid = "p3", .id = "d1", .place = "a"}});
  settle();
  EXPECT_EQ(two->take().find("team:a"), std::string::npos);
  EXPECT_EQ(three->take(), "repull:team:a ");
}

}  // namespace
}  // namespace nizhal::server::testing
