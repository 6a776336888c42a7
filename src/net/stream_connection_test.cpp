// /sync/stream over real sockets, with frames made by hand so that they can be wrong.
#include <gtest/gtest.h>

#include "net/http_server.hpp"
#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;
using Frame = RawWebSocket::Frame;

constexpr unsigned char kText = 0x81, kBinary = 0x82, kClose = 0x88, kPing = 0x89;

TEST(Stream, FramesGoBothWaysAfterTheUpgrade) {
  FakeService service;
  TestServer server(service);
  RawWebSocket socket(server.port());
  ASSERT_TRUE(socket.upgrade("/sync/stream?bucket=a").starts_with("HTTP/1.1 101 "));
  const auto peer = service.opened.take();
  ASSERT_TRUE(peer);
  (*peer)->send("repull:a");
  (*peer)->send("pong");
  EXPECT_EQ(socket.read_message().payload, "repull:a");
  EXPECT_EQ(socket.read_message().payload, "pong");
  socket.send_frame(kText, "ping");
  EXPECT_EQ(service.frames.take(), "ping");
  socket.send_frame(kPing, "are you there");
  const Frame pong = socket.read_message();
  EXPECT_EQ(pong.opcode, 10);
  EXPECT_EQ(pong.payload, "are you there");
}

TEST(Stream, ARefusedUpgradeIsAnAnswerAndTheConnectionGoesOn) {
  FakeService service;
  service.may_stream = [](const auto& request) { return request.query.contains("token"); };
  TestServer server(service);
  RawWebSocket socket(server.port());
  EXPECT_TRUE(socket.upgrade().starts_with("HTTP/1.1 401 "));
  EXPECT_TRUE(socket.upgrade("/sync/stream?token=t").starts_with("HTTP/1.1 101 "));
}

TEST(Stream, WhatIsNoProperUpgradeIs400AfterTheAuthentication) {
  FakeService service;
  service.may_stream = [](const auto& request) { return request.header("authorization") == "Bearer t"; };
  TestServer server(service);
  const std::string begin = "GET /sync/stream HTTP/1.1\r\nHost: test\r\n", allowed = "Authorization: Bearer t\r\n",
                    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n",
                    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  RawSocket stranger(server.port());
  stranger.send(begin + "\r\n");
  EXPECT_TRUE(stranger.read_response().starts_with("HTTP/1.1 401 "));
  for (const std::string& rest : {std::string(), upgrade, upgrade + key, upgrade + "Sec-WebSocket-Version: 13\r\n",
                                  upgrade + key + "Sec-WebSocket-Version: 12\r\n"}) {
    RawSocket socket(server.port());
    socket.send(begin + allowed + rest + "\r\n");
    EXPECT_TRUE(socket.read_response().starts_with("HTTP/1.1 400 ")) << rest;
    EXPECT_TRUE(socket.is_ended_by_peer());
  }
}

TEST(Stream, AMalformedFrameEndsOnlyItsOwnSocket) {
  FakeService service;
  TestServer server(service);
  RawWebSocket healthy(server.port());
  healthy.upgrade();
  const auto peer = service.opened.take();
  const std::vector<std::pair<std::string, int>> cases = {
      {std::string("\x81\x05hello", 7), 1002},                                   // not masked
      {std::string("\xf1\x80\0\0\0\0", 6), 1002},                                // reserved bits
      {std::string("\x83\x80\0\0\0\0", 6), 1002},                                // reserved opcode
      {std::string("\x80\x80\0\0\0\0", 6), 1002},                                // a continuation of nothing
      {std::string("\x09\x80\0\0\0\0", 6), 1002},                                // a fragmented ping
      {std::string("\x89\xfe\x00\x80\0\0\0\0", 8), 1002},                        // a ping that is too long
      {std::string("\x88\x81\0\0\0\0\x03", 7), 1002},                            // a close code of one byte
      {std::string("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14), 0},  // a length with the top bit set
      {std::string("\x81\x82\0\0\0\0\xc3\x28", 8), 1007},                        // broken UTF-8
  };
  for (const auto& [bytes, code] : cases) {
    RawWebSocket socket(server.port());
    socket.upgrade();
    ASSERT_TRUE(service.opened.take());
    socket.send(bytes);
    const Frame frame = socket.read_message();
    if (code != 0) {
      EXPECT_EQ(frame.close_code(), code);
    }
    socket.close();
    EXPECT_TRUE(service.closed.take());
  }
  (*peer)->send("repull:still");
  EXPECT_EQ(healthy.read_message().payload, "repull:still");
}

TEST(Stream, AFrameAboveTheLimitIsClosedWith1009) {
  FakeService service;
  TestServer server(service, {.http = {.stream = {.frame_bytes_max = 1000}}});
  RawWebSocket socket(server.port());
  socket.upgrade();
  socket.send_frame(kText, std::string(1000, 'x'));
  EXPECT_EQ(service.frames.take()->size(), 1000u);
  socket.send_frame(kText, std::string(1001, 'x'));
  EXPECT_EQ(socket.read_message().close_code(), 1009);
  RawWebSocket fragments(server.port());
  fragments.upgrade();
  fragments.send_frame(0x01, std::string(600, 'x'));
  fragments.send_frame(0x80, std::string(600, 'x'));
  EXPECT_EQ(fragments.read_message().close_code(), 1009);
}

TEST(Stream, ABinaryFrameReachesTheServiceAsAnEmptyText) {
  FakeService service;
  TestServer server(service);
  RawWebSocket socket(server.port());
  socket.upgrade();
  socket.send_frame(kBinary, "secret");
  EXPECT_EQ(service.frames.take(), "");
}

TEST(Stream, TheServiceMayCloseWithACodeAndIsToldOnce) {
  FakeService service;
  TestServer server(service);
  RawWebSocket socket(server.port());
  socket.upgrade();
  const auto peer = service.opened.take();
  (*peer)->close(1008, "too many malformed frames");
  (*peer)->close(1008, "again");
  const Frame frame = socket.read_message();
  EXPECT_EQ(frame.close_code(), 1008);
  EXPECT_EQ(frame.payload.substr(2), "too many malformed frames");
  socket.send_frame(kClose, frame.payload);
  EXPECT_TRUE(socket.is_ended_by_peer());
  socket.close();
  EXPECT_TRUE(service.closed.take());
  (*peer)->send("repull:a");  // to a socket that is gone: nothing happens
}

TEST(Stream, AClientThatClosesIsAnsweredAndTheServiceIsTold) {
  FakeService service;
  TestServer server(service, {.http = {.stream = {.close_timeout = milliseconds(50)}}});
  RawWebSocket polite(server.port());
  polite.upgrade();
  polite.send_frame(kClose, std::string("\x03\xe8", 2));
  EXPECT_EQ(polite.read_message().close_code(), 1000);
  EXPECT_TRUE(service.closed.take());
  RawWebSocket rude(server.port());
  rude.upgrade();
  rude.reset();
  EXPECT_TRUE(service.closed.take());
}

TEST(Stream, AReaderThatFallsBehindIsClosedWith1013) {
  FakeService service;
  TestServer server(
      service,
      {.http = {.stream = {.outgoing_bytes_max = 64 * 1024, .close_timeout = kDeadline, .send_buffer_bytes = 4096}}});
  RawWebSocket socket(server.port(), 4096);
  socket.upgrade();
  const auto peer = service.opened.take();
  for (int i = 0; i < 2000; ++i) (*peer)->send("presence:diff:" + std::string(1000, 'x') + std::to_string(i));
  Frame frame;
  do frame = socket.read_message();
  while (frame.opcode == 1);
  EXPECT_EQ(frame.close_code(), 1013);
}

TEST(Stream, AReaderThatReadsNothingAtAllIsCutOff) {
  FakeService service;
  TestServer server(service, {.http = {.stream = {.outgoing_bytes_max = 64 * 1024,
                                                  .close_timeout = milliseconds(50),
                                                  .send_buffer_bytes = 4096}}});
  RawWebSocket socket(server.port(), 4096);
  socket.upgrade();
  const auto peer = service.opened.take();
  for (int i = 0; i < 2000; ++i) (*peer)->send("presence:diff:" + std::string(1000, 'x') + std::to_string(i));
  EXPECT_TRUE(service.closed.take());
}

TEST(Stream, EqualPokesThatWaitAreSentOnce) {
  FakeService service;
  TestServer server(service, {.http = {.stream = {.outgoing_bytes_max = 1 << 20, .send_buffer_bytes = 4096}}});
  RawWebSocket socket(server.port(), 4096);
  socket.upgrade();
  const auto peer = service.opened.take();
  // Enough that the socket is blocked, then pokes that pile up behind it.
  for (int i = 0; i < 100; ++i) (*peer)->send("presence:diff:" + std::string(5000, 'x'));
  for (int i = 0; i < 100'000; ++i) (*peer)->send("repull:a");
  (*peer)->send("last");
  int pokes = 0;
  for (;;) {
    const Frame frame = socket.read_message();
    ASSERT_EQ(frame.opcode, 1);
    if (frame.payload == "repull:a") ++pokes;
    if (frame.payload == "last") break;
  }
  EXPECT_GE(pokes, 1);
  EXPECT_LT(pokes, 1000);
}

TEST(Stream, APeerThatAnswersNoPingIsDropped) {
  FakeService service;
  TestServer server(service, {.http = {.stream = {.idle_timeout = milliseconds(100)}}});
  RawWebSocket socket(server.port());
  socket.upgrade();
  ASSERT_TRUE(service.opened.take());
  EXPECT_EQ(socket.read_frame().opcode, 9);
  EXPECT_TRUE(service.closed.take());
}

TEST(Stream, StoppingTheServerClosesWith1001) {
  FakeService service;
  TestServer server(service);
  RawWebSocket socket(server.port());
  socket.upgrade();
  ASSERT_TRUE(service.opened.take());
  server.stop();
  const Frame frame = socket.read_message();
  EXPECT_EQ(frame.close_code(), 1001);
  socket.send_frame(kClose, frame.payload);
  EXPECT_TRUE(socket.is_ended_by_peer());
  socket.close();
  EXPECT_TRUE(server.wait_until_ended());
}

TEST(Stream, AServiceThatThrowsClosesOnlyThatSocket) {
  FakeService service;
  service.on_frame = [](std::string_view text) {
    if (text == "throw") throw std::runtime_error("a bug");
  };
  TestServer server(service);
  RawWebSocket socket(server.port());
  socket.upgrade();
  socket.send_frame(kText, "throw");
  EXPECT_EQ(socket.read_message().close_code(), 1011);
  RawWebSocket other(server.port());
  EXPECT_TRUE(other.upgrade().starts_with("HTTP/1.1 101 "));
}

TEST(Stream, AThousandSocketsFromOneAddressAreServed) {
  FakeService service;
  TestServer server(service, {.workers = 2, .queue_max = 2000});
  std::vector<RawWebSocket> sockets;
  std::vector<std::shared_ptr<server::StreamPeer>> peers;
  for (int i = 0; i < 1000; ++i) {
    sockets.emplace_back(server.port());
    ASSERT_TRUE(sockets.back().upgrade().starts_with("HTTP/1.1 101 ")) << i;
    auto peer = service.opened.take();
    ASSERT_TRUE(peer);
    peers.push_back(*peer);
  }
  for (const auto& peer : peers) peer->send("repull:a");
  for (auto& socket : sockets) EXPECT_EQ(socket.read_message().payload, "repull:a");
}

TEST(Stream, RandomFramesNeverEndTheServer) {
  const std::uint64_t seed = test_seed("damage");
  SCOPED_TRACE("NIZHAL_SEED=" + std::to_string(seed));
  SeededRandom random(seed);
  FakeService service;
  TestServer server(service, {.http = {.stream = {.close_timeout = milliseconds(100)}}});
  for (int i = 0; i < 300; ++i) {
    RawWebSocket socket(server.port());
    ASSERT_TRUE(socket.upgrade().starts_with("HTTP/1.1 101 "));
    ASSERT_TRUE(service.opened.take());
    std::string bytes;
    for (int n = 0; n < 5; ++n) {
      std::string frame{static_cast<char>(random.below(2) ? 0x81 : random.below(256))};
      const std::size_t size = random.below(120);
      frame.push_back(static_cast<char>(0x80 | size));
      for (std::size_t k = 0; k < size + 4; ++k) frame.push_back(static_cast<char>(random.below(256)));
      bytes += frame;
    }
    socket.send(random.below(2) ? damage(random, bytes) : bytes);
    if (random.below(2)) socket.reset();
  }
  RawWebSocket good(server.port());
  good.upgrade();
  good.send_frame(kPing, "alive");
  EXPECT_EQ(good.read_message().payload, "alive");
}

}  // namespace
}  // namespace nizhal::net
