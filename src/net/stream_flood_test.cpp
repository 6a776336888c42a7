// Peers that send too much or nonsense, by the thousand: they lose their own socket, and others notice nothing.
#include <gtest/gtest.h>

#include "net/http_server.hpp"
#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;
using Frame = RawWebSocket::Frame;

constexpr unsigned char kText = 0x81, kPing = 0x89, kPong = 0x8a;

std::string frame(unsigned char first, std::string_view payload) {
  std::string bytes{static_cast<char>(first), static_cast<char>(0x80 | payload.size())};
  bytes.append(4, '\0');  // a mask of zeros changes nothing
  return bytes + std::string(payload);
}

/// The close code that ends the stream; 0 when it ended without one.
int end_of(RawWebSocket& socket) {
  for (;;) {
    const Frame got = socket.read_frame();
    if (got.opcode == 8 || got.opcode == -1) return got.close_code();
  }
}

const TestServer::Settings kStrict{.http = {.stream = {.events_burst = 100, .events_per_second = 1}}};

TEST(StreamFlood, TooManyOfWhateverItIsClosesWith1008AndOthersGoOn) {
  FakeService service;
  TestServer server(service, kStrict);
  RawWebSocket quiet(server.port());
  quiet.upgrade();
  const auto peer = service.opened.take();
  ASSERT_TRUE(peer);
  const std::vector<std::pair<std::string, std::string>> floods = {
      {"messages", frame(kText, "x")}, {"pings", frame(kPing, "x")}, {"pongs", frame(kPong, "x")}};
  for (const auto& [what, one] : floods) {
    RawWebSocket flooding(server.port());
    flooding.upgrade();
    std::string many;
    for (int i = 0; i < 1'000; ++i) many += one;
    flooding.send(many);
    EXPECT_EQ(end_of(flooding), 1008) << what;
    (*peer)->send("repull:" + what);
    EXPECT_EQ(quiet.read_message().payload, "repull:" + what);
  }
}

TEST(StreamFlood, PiecesOfAMessageThatNeverEndsCountToo) {
  FakeService service;
  TestServer server(service, kStrict);
  for (const bool is_empty : {true, false}) {
    RawWebSocket flooding(server.port());
    flooding.upgrade();
    // An empty piece is seen by nobody but the WebSocket's own parser: only the reads of the socket tell.
    flooding.send(frame(0x01, "x"));
    bool is_open = true;
    for (int i = 0; is_open && i < 1'000'000; ++i) is_open = flooding.send(frame(0x00, is_empty ? "" : "x"));
    flooding.end_sending();
    const int code = end_of(flooding);
    EXPECT_TRUE(code == 1008 || !is_open) << code;
  }
  RawWebSocket good(server.port());
  EXPECT_TRUE(good.upgrade().starts_with("HTTP/1.1 101 "));
}

TEST(StreamFlood, WhatADeviceSendsAtItsBusiestIsBorne) {
  FakeService service;
  TestServer server(service);
  RawWebSocket socket(server.port());
  socket.upgrade();
  for (int i = 0; i < 200; ++i) socket.send_frame(kText, "presence:track:{\"bucket\":\"b" + std::to_string(i) + "\"}");
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(service.frames.take());
  socket.send_frame(kPing, "alive");
  EXPECT_EQ(socket.read_message().opcode, 10);
}

/// Any bytes, valid frames, or valid frames damaged; in one piece or several.
std::string some_bytes(Random& random) {
  std::string bytes;
  const auto kind = random.below(3);
  for (std::uint64_t n = 1 + random.below(8); n > 0; --n) {
    constexpr std::array<unsigned char, 8> kFirsts{0x81, 0x82, 0x88, 0x89, 0x8a, 0x01, 0x00, 0x80};
    std::string payload(static_cast<std::size_t>(random.below(2) ? random.below(126) : random.below(6)), '\0');
    for (char& c : payload) c = static_cast<char>(random.below(256));
    if (random.below(2)) payload = "presence:track:{\"bucket\":\"a\",\"payload\":{}}";
    std::string one = frame(kFirsts[static_cast<std::size_t>(random.below(kFirsts.size()))], payload);
    if (random.below(8) == 0) one[1] = static_cast<char>(random.below(256));  // another length, or no mask
    bytes += one;
  }
  if (kind == 0)
    for (char& c : bytes) c = static_cast<char>(random.below(256));
  return kind == 1 ? damage(random, bytes) : bytes;
}

TEST(Trap, FramesMadeAtRandomNeverEndTheProcess) {  // 1
  const std::uint64_t seed = test_seed("frames");
  SCOPED_TRACE("NIZHAL_SEED=" + std::to_string(seed));
  SeededRandom random(seed);
  FakeService service;
  // The one that stays answers no pings meanwhile, however slow the machine is.
  TestServer server(
      service, {.http = {.stream = {.idle_timeout = std::chrono::minutes(30), .close_timeout = milliseconds(20)}}});
  RawWebSocket before(server.port());
  before.upgrade();
  const auto peer = service.opened.take();
  ASSERT_TRUE(peer);
  constexpr int kConnections = 3'000;
  for (int i = 0; i < kConnections; ++i) {
    RawWebSocket socket(server.port());
    ASSERT_TRUE(socket.upgrade().starts_with("HTTP/1.1 101 ")) << i;
    const auto other = service.opened.take();
    ASSERT_TRUE(other) << i;
    const std::string bytes = some_bytes(random);
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t count = random.below(4) == 0 ? 1 + static_cast<std::size_t>(random.below(20)) : bytes.size();
      if (!socket.send(std::string_view(bytes).substr(at, count))) break;
      if (random.below(16) == 0) (*other)->send("repull:a");
      if (random.below(64) == 0) (*other)->close(1008, "enough");
      at += std::min(count, bytes.size() - at);
    }
    switch (random.below(3)) {
      case 0:
        socket.reset();
        break;
      case 1:
        socket.end_sending();
        while (socket.read_frame().opcode >= 0) {
        }
        break;
      default:
        socket.close();
    }
    ASSERT_TRUE(service.closed.take()) << "connection " << i << " was never told to be closed";
  }
  (*peer)->send("repull:still");
  EXPECT_EQ(before.read_message().payload, "repull:still");
  RawWebSocket after(server.port());
  after.upgrade();
  after.send_frame(kPing, "alive");
  EXPECT_EQ(after.read_message().payload, "alive");
}

}  // namespace
}  // namespace nizhal::net
