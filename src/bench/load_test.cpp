#include "bench/load.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>

#include "bench/servers.hpp"
#include "net/http_server.hpp"

namespace nizhal::bench {
namespace {

TEST(Load, ARequestIsWholeHttp) {
  EXPECT_EQ(http_post("/sync/pull", "token", "{}", "x-more: 1\r\n"),
            "POST /sync/pull HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer token\r\n"
            "Content-Type: application/json\r\nx-more: 1\r\nContent-Length: 2\r\n\r\n{}");
}

TEST(Load, AnAnswerIsReadHoweverItsBytesArrive) {
  const std::string answer = "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH:  5\r\n\r\nhello";
  for (std::size_t cut = 1; cut < answer.size(); ++cut) {
    AnswerReader reader;
    ASSERT_EQ(reader.take(answer.substr(0, cut)).value_or(true), false) << cut;
    ASSERT_EQ(reader.take(answer.substr(cut)).value_or(false), true) << cut;
    EXPECT_EQ(reader.status(), 200);
    EXPECT_EQ(reader.body(), "hello");
    reader.begin_next();
    ASSERT_EQ(reader.take("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").value_or(false), true);
    EXPECT_EQ(reader.status(), 503);
    EXPECT_EQ(reader.body(), "");
  }
}

TEST(Load, WhatIsNoAnswerIsAnError) {
  for (const char* text :
       {"SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"}) {
    AnswerReader reader;
    EXPECT_FALSE(reader.take(text)) << text;
  }
}

/// Counts its requests.
class CountingService : public net::HttpService {
 public:
  std::atomic<std::uint64_t> requests{0};
  bool is_immediate(const protocol::HttpRequest&) const override { return true; }
  protocol::HttpResponse handle(const protocol::HttpRequest& request) override {
    ++requests;
    return {.status = request.body == "bad" ? 500 : 200, .headers = {}, .body = "got " + request.body};
  }
  tl::expected<std::shared_ptr<net::StreamHandler>, protocol::HttpResponse> authorize_stream(
      const protocol::HttpRequest&) override {
    return tl::unexpected(protocol::HttpResponse{.status = 404, .headers = {}, .body = {}});
  }
};

class LoadOnAServer : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = net::HttpServer::open({}, service, workers, Log());
    ASSERT_TRUE(opened);
    server = std::move(*opened);
    thread = std::thread([this] { server->run(); });
  }
  void TearDown() override {
    server->stop();
    thread.join();
    workers.stop();
  }
  CountingService service;
  net::WorkerPool workers{1, 1, Log()};
  std::unique_ptr<net::HttpServer> server;
  std::thread thread;
};

TEST_F(LoadOnAServer, EveryConnectionAsksAgainWhenItIsAnswered) {
  std::set<std::size_t> answered;
  std::uint64_t sent = 0, answers = 0;
  LoadPlan plan;
  plan.port = server->port();
  plan.connections = 3;
  plan.duration = std::chrono::milliseconds(100);
  plan.next = [&](std::size_t i) {
    ++sent;
    return http_post("/x", "t", std::to_string(i));
  };
  plan.done = [&](std::size_t i, int status, std::string_view body) -> Result<std::uint64_t> {
    EXPECT_EQ(status, 200);
    EXPECT_EQ(body, "got " + std::to_string(i));
    answered.insert(i);
    ++answers;
    return 2;
  };
  const auto result = run_load(plan);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(answered.size(), 3U);
  EXPECT_EQ(sent, answers) << "whatever was sent was waited for";
  EXPECT_EQ(service.requests, sent);
  EXPECT_LE(result->units, 2 * answers);
  EXPECT_GE(result->units, 2 * (answers - 3)) << "only the last of each connection came too late to count";
  EXPECT_EQ(result->seconds, 0.1);
}

TEST_F(LoadOnAServer, AWrongAnswerEndsTheLoad) {
  LoadPlan plan;
  plan.port = server->port();
  plan.connections = 2;
  plan.next = [&](std::size_t) { return http_post("/x", "t", "bad"); };
  plan.done = [&](std::size_t, int status, std::string_view) -> Result<std::uint64_t> {
    return failure(ErrorCode::internal, "status " + std::to_string(status));
  };
  const auto result = run_load(plan);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "status 500");
}

TEST_F(LoadOnAServer, APeerExchangesOneByOne) {
  auto peer = HttpPeer::connect(server->port());
  ASSERT_TRUE(peer);
  for (const char* body : {"one", "two"}) {
    const auto answer = peer->exchange(http_post("/x", "t", body));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, std::string("got ") + body);
  }
}

}  // namespace
}  // namespace nizhal::bench
