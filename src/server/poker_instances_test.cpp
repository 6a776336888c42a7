// Two server instances on one database that hear of each other over a bus, on every kind of database.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "realtime/realtime.hpp"
#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

class RecordingPeer : public StreamPeer {
 public:
  void send(std::string frame) override {
    if (frame.starts_with("repull:")) frames += frame + " ";
  }
  void close(int, std::string_view) override {}
  std::string take() { return std::exchange(frames, {}); }
  std::string frames;
};

struct Instance {
  Instance(World& given, realtime::InProcessBus& shared)
      : world(given),
        storage(given.backend->open(given.domain)),
        bus(shared.join()),
        server(given.domain,
               ServerOutside{given.clock, given.random, executor, storage, given.authenticator, Log(), bus.get()},
               Limits{}) {}
  void push(std::string_view user, std::string name, std::string id, std::string place, std::string text = "") {
    protocol::HttpRequest request;
    request.method = "POST";
    request.path = "/sync/push";
    request.headers["authorization"] = "Bearer " + world.token(user);
    request.body = World::push_body({{.name = name, .cmid = name + id, .id = id, .place = place, .text = text}}, true);
    const Answer answer = World::answer_of(server.handle(request));
    EXPECT_EQ(answer.statuses(), "applied") << answer.text;
  }
  std::shared_ptr<RecordingPeer> open(std::string_view user) {
    auto ticket = server.authorize_stream(world.stream_request(user));
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().body);
    auto peer = std::make_shared<RecordingPeer>();
    if (ticket) server.open_stream(*ticket, peer);
    return peer;
  }

  World& world;
  QueueExecutor executor;
  FaultyStorage storage;
  std::unique_ptr<realtime::Realtime> bus;
  ServerSync server;
};

class TwoInstances : public ::testing::TestWithParam<BackendKind> {
 protected:
  void SetUp() override {
    a.push("u1", "createTeam", "x", "a");
    a.push("u1", "addMember", "m2", "a", "u2");
    settle();
  }
  /// Everything that is under way has come, and both have looked.
  void settle() {
    for (int round = 0; round < 3; ++round)
      for (Instance* instance : {&a, &b}) {
        instance->executor.run();
        instance->server.tick();
      }
  }
  World world{GetParam()};
  realtime::InProcessBus bus;
  Instance a{world, bus}, b{world, bus};
};
INSTANTIATE_TEST_SUITE_P(On, TwoInstances, nizhal::testing::every_backend(), nizhal::testing::kind_name);

TEST_P(TwoInstances, APushOnOnePokesTheSubscribersOfBothOnceAndNobodyElse) {
  const auto here = a.open("u1"), there = b.open("u1"), member = b.open("u2"), stranger = b.open("u3");
  a.push("u1", "addDoc", "d1", "a");
  EXPECT_EQ(there->take(), "");
  a.executor.run();
  EXPECT_EQ(here->take(), "repull:team:a ");
  EXPECT_EQ(there->take(), "") << "it was heard, and is poked on a thread that may wait";
  b.executor.run();
  EXPECT_EQ(there->take(), "repull:team:a ");
  EXPECT_EQ(member->take(), "repull:team:a ");
  settle();
  EXPECT_EQ(here->take() + there->take() + member->take() + stranger->take(), "") << "the looks find nothing new";
}

TEST_P(TwoInstances, WhatIsLookedForBeforeItIsHeardIsPokedOnceToo) {
  const auto here = a.open("u1"), there = b.open("u2");
  a.push("u1", "addDoc", "d1", "a");
  b.server.tick();
  EXPECT_EQ(there->take(), "repull:team:a ");
  a.server.tick();
  settle();
  EXPECT_EQ(here->take(), "repull:team:a ");
  EXPECT_EQ(there->take(), "");
}

TEST_P(TwoInstances, AMessageThatIsLostCostsOneLook) {
  const auto there = b.open("u2");
  b.bus->stop();
  a.push("u1", "addDoc", "d1", "a");
  a.push("u1", "addNote", "n1", "");
  a.executor.run();
  b.executor.run();
  EXPECT_EQ(there->take(), "");
  b.server.tick();
  EXPECT_EQ(there->take(), "repull:team:a ");
}

TEST_P(TwoInstances, ARevocationOnOneHoldsForThePokesOfTheOther) {
  const auto member = b.open("u2");
  a.push("u1", "removeMember", "m2", "");
  a.push("u1", "addDoc", "d1", "a");
  a.executor.run();
  b.executor.run();
  EXPECT_EQ(member->take(), "repull:o2 ");
  a.push("u1", "addDoc", "d2", "a");
  settle();
  EXPECT_EQ(member->take(), "");
  a.push("u1", "addMember", "m3", "a", "u2");
  settle();
  EXPECT_EQ(member->take(), "repull:team:a ");
}

TEST_P(TwoInstances, CommitsOfBothInTurnsArePokedOnceEachOnBoth) {
  const auto here = a.open("u1"), there = b.open("u1");
  for (int i = 0; i < 10; ++i) {
    Instance& writer = i % 2 == 0 ? a : b;
    writer.push("u1", "addDoc", "d" + std::to_string(i), "a");
    settle();
    EXPECT_EQ(here->take(), "repull:team:a ") << i;
    EXPECT_EQ(there->take(), "repull:team:a ") << i;
  }
}

}  // namespace
}  // namespace nizhal::server::testing
