// Idle pulls that wait together: one look for all, which begins after they came, and everything else the usual way.
// There is no tail here; what waits for it is tested with it.
#include "server/waiting_pulls.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

using Told = std::optional<protocol::HttpResponse>;

class IdlePullsTogether : public ::testing::Test {
 protected:
  explicit IdlePullsTogether(Limits limits = {}) : world(without_tail(std::move(limits))) {
    world.run("u1", "addNote", "n1");
    world.run("u2", "addNote", "n2");
  }
  static Limits without_tail(Limits limits) {
    limits.tail_bytes_max = 0;
    return limits;
  }
  protocol::HttpRequest request_of(std::string_view user, const std::string& cursor) {
    protocol::HttpRequest request;
    request.method = "POST";
    request.path = "/sync/pull";
    request.headers["authorization"] = "Bearer " + world.token(user);
    request.body = R"({"deviceId":"c1","cursor":")" + cursor + "\"}";
    return request;
  }
  /// A pull of a device that has just been told everything.
  protocol::HttpRequest idle_request(std::string_view user) {
    return request_of(user, world.pull(user, R"({"deviceId":"c1"})").string_of("cursor"));
  }
  /// The index of its answer in `told`; nothing when it was not taken.
  std::optional<std::size_t> defer(const protocol::HttpRequest& request) {
    const std::size_t index = told.size();
    told.emplace_back();
    const bool taken = world.server->try_defer(request, [this, index](Told response) {
      ++answers;
      told[index] = std::move(response);
    });
    if (taken) return index;
    told.pop_back();
    return std::nullopt;
  }

  World world;
  std::vector<Told> told;
  std::size_t answers = 0;
};

TEST_F(IdlePullsTogether, ShareOneLookAndReadNoTable) {
  const auto one = idle_request("u1"), two = idle_request("u2");
  world.executor.run();
  const std::size_t positions = world.storage->positions, snapshots = world.storage->snapshots;
  std::vector<std::size_t> places;
  for (int i = 0; i < 5; ++i) {
    places.push_back(defer(one).value());
    places.push_back(defer(two).value());
  }
  EXPECT_EQ(answers, 0U);
  world.executor.run();
  EXPECT_EQ(answers, 10U);
  EXPECT_EQ(world.storage->positions, positions + 1);
  EXPECT_EQ(world.storage->snapshots, snapshots);
  for (const std::size_t place : places) {
    ASSERT_TRUE(told[place]);
    EXPECT_EQ(told[place]->body, world.server->handle(place % 2 == 0 ? one : two).body) << "as any other pull";
    EXPECT_EQ(told[place]->headers.at("content-type"), "application/json");
  }
}

TEST_F(IdlePullsTogether, WhoComesDuringALookWaitsForTheNext) {
  const auto one = idle_request("u1");
  world.executor.run();
  std::vector<std::size_t> answered;  // when each look began
  world.storage->plan = [&](std::string_view call) -> std::optional<ErrorCode> {
    if (call != "position") return std::nullopt;
    answered.push_back(answers);
    if (answered.size() == 1) {
      EXPECT_TRUE(defer(one));
    }
    return std::nullopt;
  };
  ASSERT_TRUE(defer(one));
  world.executor.run();
  EXPECT_EQ(answers, 2U);
  EXPECT_EQ(answered, (std::vector<std::size_t>{0, 1}));
}

TEST_F(IdlePullsTogether, WhatHasHappenedMeanwhileIsToldTheUsualWay) {
  const auto one = idle_request("u1");
  const auto place = defer(one);
  ASSERT_TRUE(place);
  world.run("u1", "addNote", "n9");
  world.executor.run();
  EXPECT_EQ(answers, 1U);
  EXPECT_FALSE(told[*place]);
  EXPECT_NE(world.server->handle(one).body.find(R"("id":"n9")"), std::string::npos);
}

TEST_F(IdlePullsTogether, AFailedLookIsToldTheUsualWay) {
  const auto place = defer(idle_request("u1"));
  world.storage->plan = fail_call("position", ErrorCode::busy, 1);
  world.executor.run();
  EXPECT_EQ(answers, 1U);
  EXPECT_FALSE(told[place.value()]);
}

TEST_F(IdlePullsTogether, TakeNothingElse) {
  const auto one = idle_request("u1");
  const auto with = [&](auto change) {
    protocol::HttpRequest request = one;
    change(request);
    return defer(request);
  };
  EXPECT_TRUE(with([](auto&) {}));
  EXPECT_FALSE(with([](auto& r) { r.method = "GET"; }));
  EXPECT_FALSE(with([](auto& r) { r.path = "/sync/push"; }));
  EXPECT_FALSE(with([](auto& r) { r.headers.clear(); }));
  EXPECT_FALSE(with([](auto& r) { r.headers["authorization"] = "Bearer x"; }));
  EXPECT_FALSE(with([](auto& r) { r.body = "{"; }));
  EXPECT_FALSE(with([](auto& r) { r.body = "{}"; }));
  EXPECT_FALSE(with([&](auto& r) { r.headers["authorization"] = "Bearer " + world.token("u2"); }));
  EXPECT_FALSE(with([](auto& r) { r.body.insert(1, R"("syncRule":"mine",)"); }));
  EXPECT_FALSE(with([](auto& r) { r.body.append(2 << 20, ' '); })) << "413 is told the usual way";
  world.clock.advance(std::chrono::hours(2));
  EXPECT_FALSE(defer(one)) << "the token has expired";
}

class FewIdlePulls : public IdlePullsTogether {
 protected:
  FewIdlePulls() : IdlePullsTogether(few()) {}
  static Limits few() {
    Limits limits;
    limits.idle_pulls_waiting_max = 2;
    return limits;
  }
};

TEST_F(FewIdlePulls, NoMoreWaitThanMay) {
  const auto one = idle_request("u1");
  EXPECT_TRUE(defer(one));
  EXPECT_TRUE(defer(one));
  EXPECT_FALSE(defer(one));
  world.executor.run();
  EXPECT_EQ(answers, 2U);
  EXPECT_TRUE(defer(one));
  world.executor.run();
}

class RatedIdlePulls : public IdlePullsTogether {
 protected:
  RatedIdlePulls() : IdlePullsTogether(rated()) {}
  static Limits rated() {
    Limits limits;
    limits.requests_per_second = 0.001;
    limits.request_burst = 4;
    return limits;
  }
};

TEST_F(RatedIdlePulls, AreWeighedOnceAgainstTheRateLimit) {
  const auto one = idle_request("u1");  // a push and a pull before
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(defer(one));
  world.executor.run();
  EXPECT_EQ(told[0]->status, 200);
  EXPECT_EQ(told[1]->status, 200);
  EXPECT_EQ(told[2]->status, 429);
  EXPECT_FALSE(told[2]->headers.at("retry-after").empty());
}

}  // namespace
}  // namespace nizhal::server::testing
