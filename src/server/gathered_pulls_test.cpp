// Pulls that follow a poke of many streams wait for each other, so that they share one look; nobody waits for long, and
// single ones or few do not wait at all.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

using std::chrono::milliseconds;

class SilentPeer : public StreamPeer {
 public:
  void send(std::string) override {}
  void close(int, std::string_view) override {}
};

Limits few_are_many(Limits limits = {}) {
  limits.gather_streams_min = 3;
  limits.tail_bytes_max = 64 << 20;
  return limits;
}

class GatheredForTail : public ::testing::Test {
 protected:
  explicit GatheredForTail(Limits limits = few_are_many()) : world(test_domain(), std::move(limits)) {
    world.make_teams();
    for (const char* user : {"u3", "u4", "u5"}) world.run("u1", "addMember", "m-" + std::string(user), "a", user);
    for (const char* user : {"u1", "u2", "u3", "u4", "u5"}) {
      streams.push_back(world.server->open_stream(*world.server->authorize_stream(world.stream_request(user)),
                                                  std::make_shared<SilentPeer>()));
      cursors[user] = cursor_of(world.pull(user, R"({"deviceId":"d-)" + std::string(user) + "\"}").text);
    }
    settle();
    commit("before");  // from here on the tail has what each of them asks for
    come("u1", "u2", "u3", "u4", "u5");
    world.timers.advance(milliseconds(250));
    world.executor.run();
    forget_counts();
  }
  void settle() {
    world.executor.run();
    world.server->tick();
    world.executor.run();
  }
  static std::string cursor_of(const std::string& body) {
    const auto value = parse_json(body);
    return value ? std::string(string_member(*value, "cursor").value_or("")) : "";
  }
  /// A note of the team that all of them are in; they are poked.
  void commit(const std::string& id, const std::string& team = "a") {
    world.run("u1", "addDoc", id, team);
    world.executor.run();
    last = id;
  }
  /// Their pulls come one after another, and the server does all that it can in between.
  template <class... Users>
  void come(Users... users) {
    for (const char* user : {users...}) {
      protocol::HttpRequest request;
      request.method = "POST";
      request.path = "/sync/pull";
      request.headers["authorization"] = "Bearer " + world.token(user);
      request.body = R"({"deviceId":"d-)" + std::string(user) + R"(","cursor":")" + cursors[user] + "\"}";
      const bool waits = world.server->try_defer(request, [this, user](std::optional<protocol::HttpResponse> response) {
        ++answered;
        bodies[user] = response ? response->body : "";
        if (response) cursors[user] = cursor_of(response->body);
      });
      if (!waits) ++turned_away;
      world.executor.run();
    }
  }
  std::size_t looks() const { return world.storage->positions - positions_before; }
  void forget_counts() {
    positions_before = world.storage->positions;
    answered = turned_away = 0;
    bodies.clear();
  }
  bool is_told(const std::string& user) { return bodies[user].find("\"" + last + "\"") != std::string::npos; }

  World world;
  std::vector<StreamId> streams;
  std::map<std::string, std::string> cursors, bodies;
  std::string last;
  std::size_t answered = 0, turned_away = 0, positions_before = 0;
};

TEST_F(GatheredForTail, AllWhoWerePokedShareOneLookThatBeginsWhenTheLastHasCome) {
  commit("d1");
  come("u1", "u2", "u3", "u4");
  EXPECT_EQ(looks(), 0U);
  EXPECT_EQ(answered, 0U);
  come("u5");
  EXPECT_EQ(answered, 5U) << "no time had to pass";
  EXPECT_EQ(looks(), 1U);
  for (const char* user : {"u1", "u2", "u3", "u4", "u5"}) EXPECT_TRUE(is_told(user)) << user;
}

TEST_F(GatheredForTail, WhatIsCommittedWhileTheyWaitIsToldToo) {
  commit("d1");
  come("u1", "u2");
  const std::size_t before = looks();
  ASSERT_TRUE(world.storage->run_script("INSERT INTO docs (id, team_id, title) VALUES ('d2', 'a', 'by hand')"));
  last = "d2";
  EXPECT_EQ(looks(), before);
  come("u3", "u4", "u5");
  EXPECT_EQ(answered, 5U);
  for (const char* user : {"u1", "u2", "u3", "u4", "u5"}) EXPECT_TRUE(is_told(user)) << user;
}

TEST_F(GatheredForTail, WhoDoesNotComeIsNotWaitedForOnceItIsQuiet) {
  commit("d1");
  come("u1", "u2");
  world.timers.advance(milliseconds(24));
  world.executor.run();
  EXPECT_EQ(answered, 0U);
  come("u3");
  world.timers.advance(milliseconds(24));
  world.executor.run();
  EXPECT_EQ(answered, 0U) << "one came meanwhile";
  world.timers.advance(milliseconds(1));
  world.executor.run();
  EXPECT_EQ(answered, 3U);
  EXPECT_EQ(looks(), 1U);
  come("u4");
  EXPECT_EQ(answered, 4U) << "few are left, who are not waited for";
}

class GatheredForTailWithoutQuiet : public GatheredForTail {
 protected:
  GatheredForTailWithoutQuiet() : GatheredForTail(patient()) {}
  static Limits patient() {
    Limits limits = few_are_many();
    limits.gather_quiet = std::chrono::hours(1);
    return limits;
  }
};

TEST_F(GatheredForTailWithoutQuiet, APullWaitsNoLongerThanItMayAndTheRestWaitsForTheNextLook) {
  commit("d1");
  come("u1", "u2");
  world.timers.advance(milliseconds(249));
  come("u3");
  EXPECT_EQ(answered, 0U);
  world.clock.advance(milliseconds(1));
  come("u4");
  EXPECT_EQ(answered, 4U) << "who comes then sees it, without a timer";
  EXPECT_EQ(looks(), 1U);
  come("u5");
  EXPECT_EQ(answered, 5U);
}

TEST_F(GatheredForTailWithoutQuiet, ATimerThatNeverFiresHangsNoPull) {
  commit("d1");
  come("u1", "u2");
  world.clock.advance(milliseconds(250));
  world.server->tick();
  world.executor.run();
  EXPECT_EQ(answered, 2U);
}

TEST_F(GatheredForTailWithoutQuiet, WhoPullsLongAfterThePokeWaitsForNobody) {
  commit("d1");
  world.clock.advance(milliseconds(2'001));
  come("u1");
  EXPECT_EQ(answered, 1U);
}

TEST_F(GatheredForTailWithoutQuiet, AShutdownEndsAllWaiting) {
  commit("d1");
  come("u1", "u2");
  world.server->begin_shutdown();
  world.executor.run();
  EXPECT_EQ(answered, 2U);
  come("u3");
  EXPECT_EQ(answered, 3U);
}

TEST_F(GatheredForTailWithoutQuiet, AServerThatIsGoneHangsAndCrashesNobody) {
  commit("d1");
  come("u1", "u2");
  world.server.reset();
  world.timers.advance(std::chrono::hours(2));
  world.executor.run();
  EXPECT_EQ(answered, 0U) << "nor are they answered by what is gone";
}

TEST_F(GatheredForTail, FewStreamsArePokedWithoutWaiting) {
  for (std::size_t i = 2; i < streams.size(); ++i) world.server->close_stream(streams[i]);
  commit("d1");
  come("u2");
  EXPECT_EQ(answered, 1U);
  come("u1");
  EXPECT_EQ(answered, 2U);
  EXPECT_EQ(world.timers.waiting(), 0U);
}

TEST_F(GatheredForTail, APullThatNobodyExpectsIsAnsweredAtOnceAndTakesTheOthersAlong) {
  commit("d1");
  come("u1", "u2", "u3");
  come("u1");  // by its clock, or another device of the user
  EXPECT_EQ(answered, 4U);
  EXPECT_EQ(looks(), 1U);
  come("u4");
  EXPECT_EQ(answered, 4U) << "the rest goes on waiting for each other";
  come("u5");
  EXPECT_EQ(answered, 5U + 1U);
  EXPECT_EQ(looks(), 2U);
}

TEST_F(GatheredForTail, ASecondCommitWhileTheyWaitIsToldAndTheirNextPullsWaitForEachOtherToo) {
  commit("d1");
  come("u1", "u2", "u3");
  commit("d2");
  come("u4", "u5");
  EXPECT_EQ(answered, 5U) << "those who wait are not waited for, though they were poked again";
  for (const char* user : {"u1", "u2", "u3", "u4", "u5"}) EXPECT_TRUE(is_told(user)) << user;
  const std::size_t before = looks();
  come("u1", "u2");
  EXPECT_EQ(answered, 5U);
  come("u3");
  EXPECT_EQ(answered, 8U);
  EXPECT_EQ(looks(), before + 1);
}

TEST_F(GatheredForTail, AFailedLookSendsAllTheUsualWay) {
  commit("d1");
  come("u1", "u2", "u3", "u4");
  world.storage->plan = fail_call("position", ErrorCode::busy, 1);
  come("u5");
  EXPECT_EQ(answered, 5U);
  for (const auto& [user, body] : bodies) EXPECT_EQ(body, "") << user;
}

class GatheredForTailAndFull : public GatheredForTail {
 protected:
  GatheredForTailAndFull() : GatheredForTail(full()) {}
  static Limits full() {
    Limits limits = few_are_many();
    limits.idle_pulls_waiting_max = 3;
    return limits;
  }
};

TEST_F(GatheredForTailAndFull, WhoFindsNoRoomEndsTheWaiting) {
  commit("d1");
  come("u1", "u2", "u3");
  EXPECT_EQ(answered, 0U);
  come("u4");
  EXPECT_EQ(turned_away, 1U);
  EXPECT_EQ(answered, 3U);
}

}  // namespace
}  // namespace nizhal::server::testing
