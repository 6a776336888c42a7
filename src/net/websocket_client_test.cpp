#include "net/websocket_client.hpp"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;

class ClientThread {
 public:
  explicit ClientThread(std::uint16_t port, ClientNetOptions options = {}) : work_(io_.get_executor()) {
    options.server = *parse_url("http://127.0.0.1:" + std::to_string(port));
    client_ = std::make_unique<WebSocketClient>(
        io_, options,
        WebSocketEvents{.opened = [this] { events.put("opened"); },
                        .frame = [this](std::string_view text) { events.put("frame " + std::string(text)); },
                        .closed = [this](const std::string& reason) { events.put("closed " + reason); }});
    thread_ = std::thread([this] { io_.run(); });
  }
  ~ClientThread() {
    io_.stop();
    thread_.join();
  }
  void open(int times = 1) {
    boost::asio::post(io_, [this, times] {
      for (int i = 0; i < times; ++i) client_->open("/sync/stream?bucket=a", "t");
    });
  }
  void close() {
    boost::asio::post(io_, [this] { client_->close(); });
  }
  void send(std::string text, int times = 1) {
    boost::asio::post(io_, [this, text = std::move(text), times] {
      for (int i = 0; i < times; ++i) client_->send(text + (times > 1 ? std::to_string(i) : ""));
    });
  }
  std::string next() { return events.take().value_or("nothing"); }

  Mailbox<std::string> events;

 private:
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<WebSocketClient> client_;
  std::thread thread_;
};

TEST(WebSocketClient, FramesArriveInOrderAndTheTokenIsSent) {
  FakeService service;
  service.may_stream = [](const protocol::HttpRequest& request) {
    return request.header("authorization") == "Bearer t" && request.query.find("bucket")->second == "a";
  };
  TestServer server(service);
  ClientThread client(server.port());
  client.open();
  EXPECT_EQ(client.next(), "opened");
  const auto peer = service.opened.take();
  ASSERT_TRUE(peer);
  (*peer)->send("repull:a");
  (*peer)->send("repull:b");
  EXPECT_EQ(client.next(), "frame repull:a");
  EXPECT_EQ(client.next(), "frame repull:b");
  (*peer)->close(1013, "too slow; reconnect and pull");
  const std::string closed = client.next();
  EXPECT_NE(closed.find("1013 \"too slow; reconnect and pull\""), std::string::npos) << closed;
  EXPECT_TRUE(service.closed.take());
}

TEST(WebSocketClient, WhatIsSentArrivesInOrder) {
  FakeService service;
  TestServer server(service, {.http = {.stream = {.events_burst = 5'000}}});
  ClientThread client(server.port());
  client.send("to nobody yet");
  client.open();
  client.send("nor while it opens");
  EXPECT_EQ(client.next(), "opened");
  client.send("ping", 1'000);
  for (int i = 0; i < 1'000; ++i) ASSERT_EQ(service.frames.take(), "ping" + std::to_string(i));
  client.close();
  client.send("to nobody any more");
  EXPECT_TRUE(service.closed.take());
  EXPECT_TRUE(service.frames.is_empty());
}

TEST(WebSocketClient, AServerThatDoesNotReadEndsTheSocketAndNotTheMemory) {
  FakeService service;
  Gate may_go_on;
  service.on_frame = [&](std::string_view) { may_go_on.wait(); };
  TestServer server(service);
  ClientNetOptions options;
  options.frames_waiting_bytes_max = 100'000;
  ClientThread client(server.port(), options);
  client.open();
  EXPECT_EQ(client.next(), "opened");
  client.send(std::string(10'000, 'x'), 2'000);
  EXPECT_TRUE(client.next().starts_with("closed "));
  may_go_on.open();
}

TEST(WebSocketClient, ARefusedUpgradeIsClosedWithTheStatus) {
  FakeService service;
  service.may_stream = [](const auto&) { return false; };
  TestServer server(service);
  ClientThread client(server.port());
  client.open();
  const std::string closed = client.next();
  EXPECT_NE(closed.find("401"), std::string::npos) << closed;
}

TEST(WebSocketClient, AServerThatGoesAwayIsNoticed) {
  FakeService service;
  auto server = std::make_unique<TestServer>(service);
  ClientThread client(server->port());
  client.open();
  EXPECT_EQ(client.next(), "opened");
  server->stop();
  EXPECT_NE(client.next().find("1001"), std::string::npos);
  server->wait_until_ended();
  server.reset();
  client.open();
  EXPECT_NE(client.next().find("connection refused"), std::string::npos);
}

TEST(WebSocketClient, CanBeClosedAtAnyStepOfConnecting) {
  FakeService service;
  TestServer server(service);
  bool was_opened = false;
  int steps_max = 0;
  while (!was_opened) {
    boost::asio::io_context io;
    ClientNetOptions options;
    options.server = *parse_url("http://127.0.0.1:" + std::to_string(server.port()));
    bool was_told = false;
    {
      WebSocketClient client(io, options,
                             WebSocketEvents{.opened = [&] { was_opened = true; },
                                             .frame = [](std::string_view) {},
                                             .closed = [&](const std::string&) { was_told = true; }});
      client.open("/sync/stream?bucket=a", "t");
      for (int step = 0; step < steps_max && !was_opened; ++step) ASSERT_EQ(io.run_one_for(kDeadline), 1U);
    }
    io.run_for(kDeadline);
    EXPECT_TRUE(io.stopped()) << "something is still under way after a close at step " << steps_max;
    EXPECT_FALSE(was_told) << "whoever closed it need not be told";
    ++steps_max;
  }
  EXPECT_GT(steps_max, 3);
}

TEST(WebSocketClient, AServerThatNeverAnswersTheUpgradeIsGivenUp) {
  FakeService service;
  Gate release;
  service.may_stream = [&](const auto&) { return release.wait(); };
  TestServer server(service);
  ClientThread client(server.port(), {.connect_timeout = milliseconds(50)});
  client.open();
  EXPECT_NE(client.next().find("closed no answer in time"), std::string::npos);
  release.open();
}

TEST(WebSocketClient, AServerThatAnswersNoPingIsGivenUp) {
  FakeService service;
  Gate release;
  service.on_opened = [&] { release.wait(); };  // until then the server reads nothing
  TestServer server(service);
  ClientThread client(server.port(), {.socket_idle_timeout = milliseconds(50)});
  client.open();
  EXPECT_EQ(client.next(), "opened");
  EXPECT_NE(client.next().find("closed no answer in time"), std::string::npos);
  release.open();
}

TEST(WebSocketClient, AfterClosingNoEventComesAndTheServerIsTold) {
  FakeService service;
  TestServer server(service);
  ClientThread client(server.port());
  client.open();
  EXPECT_EQ(client.next(), "opened");
  const auto peer = service.opened.take();
  client.close();
  EXPECT_TRUE(service.closed.take());
  (*peer)->send("repull:a");
  client.open();  // what comes next belongs to the new socket
  EXPECT_EQ(client.next(), "opened");
}

TEST(WebSocketClient, ItCanBeClosedWhileTheUpgradeIsUnderWay) {
  FakeService service;
  Gate release;
  Mailbox<bool> asked;
  service.may_stream = [&](const auto&) {
    asked.put(true);
    return release.wait();
  };
  TestServer server(service);
  ClientThread client(server.port());
  client.open();
  ASSERT_TRUE(asked.take());
  client.close();
  client.open();
  ASSERT_TRUE(asked.take());
  release.open();
  EXPECT_EQ(client.next(), "opened");  // and nothing of the first
}

TEST(WebSocketClient, OpeningAgainReplacesTheSocket) {
  FakeService service;
  TestServer server(service);
  ClientThread client(server.port());
  client.open(5);
  EXPECT_EQ(client.next(), "opened");
  const auto peer = service.opened.take();
  ASSERT_TRUE(peer);
  (*peer)->send("repull:a");
  EXPECT_EQ(client.next(), "frame repull:a");
  EXPECT_TRUE(service.opened.is_empty());
}

}  // namespace
}  // namespace nizhal::net
