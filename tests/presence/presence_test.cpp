// Presence from device to device: real stores, real sockets, two server instances on one bus.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/reserved_port.hpp"
#include "base/test_seed.hpp"
#include "tests/presence/instance.hpp"
#include "tests/support/raw_http.hpp"

namespace nizhal::testing {
namespace {

constexpr const char* kTeam = "team:t1";

class PresentDevices : public ::testing::Test {
 protected:
  void SetUp() override {
    ann.mutate("createTeam", R"({"team_id":"t1"})");
    ann.mutate("addTeamMember", R"({"id":"m2","user_id":"bob","team_id":"t1"})");
    ann.mutate("addTeamMember", R"({"id":"m3","user_id":"eve","team_id":"t1"})");
  }
  Shared shared;
  const ReservedPort port_of_one;
  std::unique_ptr<Instance> one = std::make_unique<Instance>(shared, port_of_one.port()),
                            two = std::make_unique<Instance>(shared);
  Follower ann{shared, "ann", one->url(), kTeam};
  Follower bob{shared, "bob", two->url(), kTeam};
};

TEST_F(PresentDevices, SeeEachOtherAcrossInstances) {
  ASSERT_TRUE(ann.store.track(kTeam, R"({"at":"till"})"));
  EXPECT_EQ(bob.until(R"(ann{"at":"till"})"), R"(ann{"at":"till"})");
  ASSERT_TRUE(bob.store.track(kTeam));
  EXPECT_EQ(ann.until(R"(ann{"at":"till"} bob{})"), R"(ann{"at":"till"} bob{})");
  EXPECT_EQ(ann.now(), R"(ann{"at":"till"} bob{})");
  ASSERT_TRUE(ann.store.track(kTeam, R"({"at":"door"})"));
  EXPECT_EQ(bob.until(R"(ann{"at":"door"} bob{})"), R"(ann{"at":"door"} bob{})");
  bob.store.untrack(kTeam);
  EXPECT_EQ(ann.until(R"(ann{"at":"door"})"), R"(ann{"at":"door"})");
  EXPECT_TRUE(ann.store.presence("team:other").empty());
  // Another device that comes later is told who is there.
  Follower eve(shared, "eve", two->url(), kTeam);
  EXPECT_EQ(eve.until(R"(ann{"at":"door"})"), R"(ann{"at":"door"})");
}

TEST_F(PresentDevices, AnInstanceThatGoesTakesItsDevicesAlongAndTheyComeBackByThemselves) {
  ASSERT_TRUE(ann.store.track(kTeam, R"({"at":"till"})"));
  ASSERT_TRUE(bob.store.track(kTeam));
  ASSERT_EQ(bob.until(R"(ann{"at":"till"} bob{})"), R"(ann{"at":"till"} bob{})");
  ASSERT_EQ(ann.until(R"(ann{"at":"till"} bob{})"), R"(ann{"at":"till"} bob{})");
  one.reset();
  EXPECT_EQ(bob.until("bob{}"), "bob{}");
  EXPECT_EQ(ann.until(""), "") << "without a connection nobody is there";
  one = std::make_unique<Instance>(shared, port_of_one.port());
  EXPECT_EQ(bob.until(R"(ann{"at":"till"} bob{})"), R"(ann{"at":"till"} bob{})") << "it says so again by itself";
  EXPECT_EQ(ann.until(R"(ann{"at":"till"} bob{})"), R"(ann{"at":"till"} bob{})");
}

TEST_F(PresentDevices, GoingOfflineLeavesAndComingBackReturns) {
  ASSERT_TRUE(bob.store.track(kTeam));
  ASSERT_EQ(ann.until("bob{}"), "bob{}");
  ASSERT_EQ(bob.until("bob{}"), "bob{}");
  bob.store.set_online(false);
  EXPECT_EQ(ann.until(""), "");
  EXPECT_EQ(bob.until(""), "");
  ASSERT_TRUE(bob.store.track(kTeam, R"({"back":true})"));
  bob.store.set_online(true);
  EXPECT_EQ(ann.until(R"(bob{"back":true})"), R"(bob{"back":true})");
}

TEST_F(PresentDevices, ASocketThatIsCutLeaves) {
  auto socket = std::make_unique<RawWebSocket>(two->port(), "/sync/stream?token=" + token_of("eve"));
  ASSERT_EQ(socket->response().status, 101);
  ASSERT_TRUE(socket->send_text(R"(presence:track:{"bucket":"team:t1","payload":{"raw":1}})"));
  EXPECT_EQ(ann.until(R"(eve{"raw":1})"), R"(eve{"raw":1})");
  socket.reset();  // no close frame
  EXPECT_EQ(ann.until(""), "");
}

/// What comes until the answer to a ping.
std::vector<std::string> frames_until_pong(RawWebSocket& socket) {
  EXPECT_TRUE(socket.send_text("ping"));
  std::vector<std::string> frames;
  while (auto frame = socket.read_frame()) {
    if (frame->payload == "pong") return frames;
    frames.push_back(frame->payload);
  }
  ADD_FAILURE() << "the socket was closed";
  return frames;
}

TEST_F(PresentDevices, WhoLosesTheBucketIsGoneForTheOthersAndHearsNothingMore) {
  ASSERT_TRUE(ann.store.track(kTeam));
  ASSERT_TRUE(bob.store.track(kTeam));
  RawWebSocket raw(two->port(), "/sync/stream?token=" + token_of("bob"));
  ASSERT_EQ(raw.response().status, 101);
  ASSERT_EQ(ann.until("ann{} bob{}"), "ann{} bob{}");
  ASSERT_EQ(bob.until("ann{} bob{}"), "ann{} bob{}");

  ann.mutate("removeTeamMember", R"({"user_id":"bob","team_id":"t1"})");
  EXPECT_EQ(ann.until("ann{}"), "ann{}") << "the others are told";
  EXPECT_EQ(bob.until(""), "") << "its own device shows nobody there";
  // Up to here it may have been told what was so before; its own leave it is not told.
  for (const std::string& frame : frames_until_pong(raw))
    EXPECT_EQ(frame.find(R"("leaves":{"bob")"), std::string::npos) << frame;

  // The others go on: a third one, on the same instance as the loser, is told, and the loser is not.
  Follower eve(shared, "eve", two->url(), kTeam);
  ASSERT_TRUE(ann.store.track(kTeam, R"({"secret":1})"));
  ASSERT_EQ(eve.until(R"(ann{"secret":1})"), R"(ann{"secret":1})");
  for (const std::string& frame : frames_until_pong(raw)) EXPECT_EQ(frame.find(kTeam), std::string::npos) << frame;
  EXPECT_EQ(bob.now(), "");
  // Its heartbeats and tracks are in vain.
  ASSERT_TRUE(raw.send_text(R"(presence:track:{"bucket":"team:t1","payload":{"in vain":1}})"));
  frames_until_pong(raw);
  ASSERT_TRUE(ann.store.track(kTeam, R"({"secret":2})"));
  EXPECT_EQ(eve.until(R"(ann{"secret":2})"), R"(ann{"secret":2})") << "and nobody else";

  // A member again: the state, and present once more by what it repeats.
  ann.mutate("addTeamMember", R"({"id":"m4","user_id":"bob","team_id":"t1"})");
  EXPECT_EQ(ann.until(R"(ann{"secret":2} bob{})"), R"(ann{"secret":2} bob{})");
  EXPECT_EQ(bob.until(R"(ann{"secret":2} bob{})"), R"(ann{"secret":2} bob{})");
}

TEST_F(PresentDevices, FramesOfAFuzzerCostTheirSenderAtMostItsSocket) {
  const std::uint64_t seed = test_seed("presence frames");
  SeededRandom random(seed);
  ASSERT_TRUE(ann.store.track(kTeam, R"({"at":"till"})"));
  const std::string good[] = {R"(presence:track:{"bucket":"team:t1","payload":{"a":[1,{"b":"c"}]}})",
                              R"(presence:untrack:{"bucket":"team:t1"})", R"(presence:heartbeat:{"bucket":"team:t1"})",
                              R"(presence:state:{"bucket":"team:t1","state":{}})"};
  std::unique_ptr<RawWebSocket> socket;
  std::size_t sockets = 0;
  for (int i = 0; i < 3'000; ++i) {
    if (!socket) {
      ++sockets;
      socket = std::make_unique<RawWebSocket>(two->port(), "/sync/stream?token=" + token_of("eve"));
      ASSERT_EQ(socket->response().status, 101) << "the server goes on";
    }
    std::string frame = good[random.below(4)];
    for (std::uint64_t n = random.below(4); n > 0; --n) {
      const std::size_t at = random.below(frame.size());
      switch (random.below(4)) {
        case 0:
          frame[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          frame.erase(at, random.below(12));
          break;
        case 2:
          frame.insert(at, std::string(random.below(5'000), '['));
          break;
        default:
          frame.insert(at, frame.substr(random.below(frame.size())));
      }
      if (frame.empty()) frame = "p";
    }
    if (!socket->send_text(frame)) socket.reset();
  }
  socket.reset();
  EXPECT_GT(sockets, 1U) << "malformed frames were counted";
  EXPECT_EQ(ann.until(R"(ann{"at":"till"})"), R"(ann{"at":"till"})") << "and left nobody behind";
  ASSERT_TRUE(bob.store.track(kTeam));
  EXPECT_EQ(ann.until(R"(ann{"at":"till"} bob{})"), R"(ann{"at":"till"} bob{})");
}

TEST(PresenceUsage, NeedsAServerAndASmallObject) {
  TempDir directory;
  auto store = open_store(
      {.path = directory.file("alone.db"), .domain = notes::domain(), .actor = {.user_id = "ann", .owner_id = "o"}});
  ASSERT_TRUE(store);
  const auto alone = store->track(kTeam);
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code, ErrorCode::usage);
  EXPECT_TRUE(store->presence(kTeam).empty());
  auto served = open_store({.path = directory.file("served.db"),
                            .domain = notes::domain(),
                            .actor = {.user_id = "ann", .owner_id = "o"},
                            .server = "http://127.0.0.1:1",
                            .start_online = false});
  ASSERT_TRUE(served);
  EXPECT_TRUE(served->track(kTeam, R"({"at": "till"})"));
  for (const std::string& payload :
       {std::string("no JSON"), std::string("[]"), std::string("7"), R"({"x":")" + std::string(4'096, 'x') + "\"}",
        "{\"x\":" + std::string(60, '[') + std::string(60, ']') + "}"}) {
    const auto refused = served->track(kTeam, payload);
    ASSERT_FALSE(refused) << payload;
    EXPECT_EQ(refused.error().code, ErrorCode::usage) << refused.error().message;
  }
  served->untrack("never tracked");
}

}  // namespace
}  // namespace nizhal::testing
