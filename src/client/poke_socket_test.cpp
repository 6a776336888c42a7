// The socket in the state machine, in virtual time: connecting, silence, reconnecting, and the pulls around it.
#include "client/poke_socket.hpp"

#include <algorithm>

#include "client/client_sync_test_support.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Device;
using testing::FakeServer;
using testing::Runtime;
using testing::World;

constexpr Tuning kTuning;

struct PokeSocketTest : World {
  Runtime runtime{device, clock, {.server = "http://localhost:1", .has_token = false}};

  /// Synced, with a socket on its way.
  void start() {
    runtime.handle(Started{});
    runtime.run(server);
    ASSERT_EQ(runtime.sockets.size(), 1U);
  }
  void open() {
    runtime.handle(SocketOpened{});
    runtime.run(server);
  }
  /// The next try, whenever that is.
  void reconnect() {
    runtime.pass(runtime.timers.at(TimerId::socket));
    runtime.handle(SocketOpened{});
  }
};

TEST_F(PokeSocketTest, ASocketThatDoesNotOpenInTimeIsGivenUpAndTriedAgain) {
  start();
  runtime.pass(kTuning.connect_timeout - milliseconds(1));
  EXPECT_EQ(runtime.sockets_closed, 0);
  runtime.pass(milliseconds(1));
  EXPECT_EQ(runtime.sockets_closed, 1);
  ASSERT_TRUE(runtime.timers.contains(TimerId::socket));
  EXPECT_LE(runtime.timers[TimerId::socket], kTuning.reconnect_base);
  runtime.handle(SocketOpened{});
  EXPECT_TRUE(runtime.requests.empty()) << "what opens after it was given up is not wanted";
  runtime.pass(runtime.timers[TimerId::socket]);
  EXPECT_EQ(runtime.sockets.size(), 2U);
}

TEST_F(PokeSocketTest, ASilentSocketIsPingedAndStaysWhileItAnswers) {
  start();
  open();
  for (std::size_t beats = 1; beats <= 10; ++beats) {
    runtime.pass(kTuning.heartbeat_interval);
    ASSERT_EQ(runtime.frames.size(), beats);
    EXPECT_EQ(runtime.frames.back(), "ping");
    runtime.handle(SocketFrame{"pong"});
    runtime.pass(kTuning.pong_timeout);
    runtime.run(server);
    // The timer of the ping finds that it was answered, and waits on from the answer.
    runtime.handle(SocketFrame{"presence:diff:{}"});
    runtime.pass(kTuning.pong_timeout);
    EXPECT_EQ(runtime.frames.size(), beats) << "whatever the server sends is a sign of life";
    runtime.handle(SocketFrame{"pong"});
    runtime.pass(kTuning.heartbeat_interval - kTuning.pong_timeout);
    runtime.handle(SocketFrame{"pong"});
    runtime.pass(kTuning.pong_timeout);
    runtime.handle(SocketFrame{"pong"});
    EXPECT_EQ(runtime.frames.size(), beats);
  }
  EXPECT_EQ(runtime.sockets.size(), 1U);
  EXPECT_EQ(runtime.sockets_closed, 0);
}

TEST_F(PokeSocketTest, ASocketThatAnswersNoPingIsClosedAndOpenedAgain) {
  start();
  open();
  runtime.pass(kTuning.heartbeat_interval);
  ASSERT_EQ(runtime.frames, std::vector<std::string>{"ping"});
  runtime.pass(kTuning.pong_timeout - milliseconds(1));
  EXPECT_EQ(runtime.sockets_closed, 0);
  runtime.pass(milliseconds(1));
  EXPECT_EQ(runtime.sockets_closed, 1);
  runtime.pass(kTuning.reconnect_base);
  EXPECT_EQ(runtime.sockets.size(), 2U);
}

TEST_F(PokeSocketTest, ASocketThatDoesNotLastBacksOffFurtherAndOneThatLastedStartsAnew) {
  start();
  runtime.handle(SocketOpened{});
  milliseconds longest{0};
  for (int i = 0; i < 60; ++i) {
    runtime.run(server);
    runtime.handle(SocketClosed{"closed at once"});
    longest = std::max(longest, runtime.timers.at(TimerId::socket));
    reconnect();
  }
  EXPECT_LE(longest, kTuning.backoff_max);
  EXPECT_GT(longest, kTuning.backoff_max / 2);
  // Alive for as long as it takes to be trusted, with a ping on the way or not.
  for (milliseconds open{0}; open < kTuning.stable_after; open += kTuning.heartbeat_interval) {
    runtime.pass(kTuning.heartbeat_interval);
    runtime.handle(SocketFrame{"pong"});
    runtime.run(server);
  }
  runtime.handle(SocketClosed{"1001"});
  EXPECT_LE(runtime.timers.at(TimerId::socket), kTuning.reconnect_base);
}

TEST(PokeSocket, DevicesThatLostTheSameServerComeBackSpreadOverTheWholeWait) {
  constexpr int kDevices = 400, kParts = 8;
  std::vector<int> parts(kParts);
  for (std::uint64_t seed = 1; seed <= kDevices; ++seed) {
    ManualClock clock{Timestamp{0}};
    SeededRandom random(seed);
    PokeSocket socket(clock, random, Log());
    Effects effects;
    socket.open(effects, "");
    socket.opened(effects);
    effects.clear();
    socket.closed(effects, "1001");
    const auto delay = std::get<SetTimer>(effects.at(0)).delay;
    ASSERT_LE(delay, kTuning.reconnect_base);
    const auto part = static_cast<std::size_t>(delay.count() * kParts / (kTuning.reconnect_base.count() + 1));
    ++parts[part];
  }
  for (const int devices : parts) {
    EXPECT_GT(devices, kDevices / kParts / 2);
    EXPECT_LT(devices, kDevices / kParts * 2);
  }
}

TEST_F(PokeSocketTest, EachConnectHasATokenFetchedForIt) {
  Runtime tokened(device, clock, {.server = "http://localhost:1", .has_token = true});
  tokened.handle(Started{});
  tokened.handle(TokenFetched{"first"});
  tokened.run(server);
  ASSERT_EQ(tokened.sockets.size(), 1U);
  EXPECT_EQ(tokened.sockets[0].token, "first");
  // A burst of requests is under way, with the token that the socket had.
  tokened.handle(SocketOpened{});
  tokened.handle(TokenFetched{"second"});
  ASSERT_FALSE(tokened.requests.empty());
  tokened.handle(SocketClosed{"1008"});
  tokened.fire(TimerId::socket);
  ASSERT_EQ(tokened.sockets.size(), 2U);
  EXPECT_EQ(tokened.sockets[1].token, "second") << "no socket was opened with it yet";
  tokened.handle(SocketClosed{"401"});
  tokened.fire(TimerId::socket);
  EXPECT_EQ(tokened.sockets.size(), 2U);
  tokened.handle(TokenFetched{"third"});
  ASSERT_EQ(tokened.sockets.size(), 3U);
  EXPECT_EQ(tokened.sockets[2].token, "third");
}

TEST_F(PokeSocketTest, AfterAReconnectThePullComesWithinAWhileAndNotAtOnce) {
  start();
  runtime.handle(SocketOpened{});
  EXPECT_EQ(runtime.requests.size(), 1U) << "the first time there is no stampede to be part of";
  runtime.run(server);
  const auto pulls = server.pulls;
  runtime.handle(SocketClosed{"1001"});
  reconnect();
  EXPECT_TRUE(runtime.requests.empty());
  ASSERT_TRUE(runtime.timers.contains(TimerId::pull));
  EXPECT_LE(runtime.timers[TimerId::pull], kTuning.catch_up_spread);
  runtime.pass(kTuning.catch_up_spread);
  runtime.run(server);
  EXPECT_EQ(server.pulls, pulls + 1);
  EXPECT_GT(runtime.timers[TimerId::pull], kTuning.catch_up_spread);
}

TEST_F(PokeSocketTest, APokeAfterAReconnectPullsAtOnceAndCatchesUp) {
  start();
  open();
  runtime.handle(SocketClosed{"1001"});
  reconnect();
  const auto pulls = server.pulls;
  runtime.handle(SocketFrame{"repull:o1"});
  EXPECT_EQ(runtime.requests.size(), 1U);
  runtime.run(server);
  runtime.pass(kTuning.catch_up_spread);
  runtime.run(server);
  EXPECT_EQ(server.pulls, pulls + 1) << "that pull saw what the socket had missed";
}

TEST_F(PokeSocketTest, APullThatWasUnderWayWhenTheSocketCameBackDoesNotCount) {
  start();
  open();
  runtime.handle(SocketClosed{"1001"});
  runtime.handle(CoverageChanged{});
  const SendRequest early = runtime.take();
  reconnect();
  const auto pulls = server.pulls;
  runtime.handle(Answered{early.request, server.handle(early.http)});
  EXPECT_LE(runtime.timers.at(TimerId::pull), kTuning.catch_up_spread);
  runtime.pass(kTuning.catch_up_spread);
  runtime.run(server);
  EXPECT_EQ(server.pulls, pulls + 2);
}

TEST_F(PokeSocketTest, WhoGoesOnlineByHandIsServedAtOnce) {
  start();
  open();
  runtime.handle(WentOffline{});
  runtime.handle(WentOnline{});
  runtime.run(server);
  ASSERT_EQ(runtime.sockets.size(), 2U);
  runtime.handle(SocketOpened{});
  EXPECT_EQ(runtime.requests.size(), 1U);
}

TEST_F(PokeSocketTest, PullsByTheClockAreRareWhileItIsOpenAndUsualOnceItIsGone) {
  const milliseconds interval = SyncOptions{}.pull_interval;
  start();
  EXPECT_LE(runtime.timers[TimerId::pull], interval * 11 / 10) << "not open yet";
  open();
  const milliseconds rare = interval * kTuning.poked_interval_factor;
  EXPECT_GE(runtime.timers[TimerId::pull], rare * 9 / 10);
  EXPECT_LE(runtime.timers[TimerId::pull], rare * 11 / 10);
  runtime.handle(SocketClosed{"1001"});
  EXPECT_GE(runtime.timers[TimerId::pull], interval * 9 / 10);
  EXPECT_LE(runtime.timers[TimerId::pull], interval * 11 / 10);
  // It does not come back: pulls go on by the clock.
  auto pulls = server.pulls;
  for (int i = 0; i < 5; ++i) {
    runtime.pass(interval * 11 / 10);
    runtime.run(server);
    EXPECT_GT(server.pulls, pulls);
    pulls = server.pulls;
  }
}

TEST_F(PokeSocketTest, ADeadSocketMakesThePullsUsualToo) {
  start();
  open();
  runtime.pass(kTuning.heartbeat_interval + kTuning.pong_timeout);
  EXPECT_EQ(runtime.sockets_closed, 1);
  EXPECT_LE(runtime.timers[TimerId::pull], SyncOptions{}.pull_interval * 11 / 10);
}

}  // namespace
}  // namespace nizhal::client
