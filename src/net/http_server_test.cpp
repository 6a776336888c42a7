#include "net/http_server.hpp"

#include <gtest/gtest.h>

#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;

std::string post(std::string_view body, std::string_view path = "/echo") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + std::string(body);
}
bool has_status(const std::string& response, int status) {
  return response.starts_with("HTTP/1.1 " + std::to_string(status) + " ");
}
std::string body_of(const std::string& response) {
  const auto end = response.find("\r\n\r\n");
  return end == std::string::npos ? "" : response.substr(end + 4);
}

/// On a busy machine a short answer_timeout may strike any request.
std::string answer_that_is_not_busy(RawSocket& socket, const std::string& request) {
  std::string response;
  do {
    socket.send(request);
    response = socket.read_response();
  } while (has_status(response, 503));
  return response;
}

TEST(HttpServer, OneConnectionCarriesManyRequests) {
  FakeService service;
  TestServer server(service);
  RawSocket socket(server.port());
  for (int i = 0; i < 20; ++i) {
    const std::string body = "request " + std::to_string(i);
    ASSERT_TRUE(socket.send(post(body)));
    const std::string response = socket.read_response();
    ASSERT_TRUE(has_status(response, 200)) << response;
    EXPECT_EQ(body_of(response), body);
  }
}

TEST(HttpServer, PipelinedRequestsAreAnsweredInOrder) {
  FakeService service;
  TestServer server(service);
  RawSocket socket(server.port());
  std::string all;
  for (int i = 0; i < 50; ++i) all += post(std::to_string(i));
  ASSERT_TRUE(socket.send(all));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(body_of(socket.read_response()), std::to_string(i));
}

TEST(HttpServer, ARequestReachesTheServiceDecoded) {
  FakeService service;
  Mailbox<protocol::HttpRequest> seen;
  service.answer = [&](const auto& request) {
    seen.put(request);
    return text_response(200, "");
  };
  TestServer server(service);
  RawSocket socket(server.port());
  socket.send(
      "GET /a%20b?bucket=team%3A1&bucket=x+y&token=t HTTP/1.1\r\nHOST: test\r\nX-Nizhal: One\r\nx-nizhal: two\r\n\r\n");
  EXPECT_TRUE(has_status(socket.read_response(), 200));
  const auto request = seen.take();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "GET");
  EXPECT_EQ(request->path, "/a b");
  EXPECT_EQ(request->query.count("bucket"), 2u);
  EXPECT_EQ(request->query.find("token")->second, "t");
  EXPECT_EQ(request->header("host"), "test");
  EXPECT_EQ(request->header("x-nizhal"), "One, two");
  EXPECT_EQ(request->peer, "127.0.0.1");
}

TEST(HttpServer, ADeferredRequestIsAnsweredLaterOrHandledAsAnyOther) {
  FakeService service;
  Mailbox<FakeService::Later> waiting;
  service.defer = [&](const auto& request, FakeService::Later later) {
    if (request.path != "/later") return false;
    waiting.put(std::move(later));
    return true;
  };
  TestServer server(service);
  RawSocket first(server.port()), second(server.port()), third(server.port());
  first.send(post("1", "/later"));
  const auto first_waits = waiting.take();
  second.send(post("2", "/later"));
  const auto second_waits = waiting.take();
  ASSERT_TRUE(first_waits && second_waits);
  third.send(post("3"));
  EXPECT_EQ(body_of(third.read_response()), "3") << "those that wait hold nobody up";
  (*second_waits)(text_response(200, "told later"));
  EXPECT_EQ(body_of(second.read_response()), "told later");
  (*first_waits)(std::nullopt);
  EXPECT_EQ(body_of(first.read_response()), "1");
  first.send(post("4"));
  EXPECT_EQ(body_of(first.read_response()), "4");
}

TEST(HttpServer, ADeferredRequestWhoseAnswerNeverComesIsAnsweredBusy) {
  FakeService service;
  Mailbox<FakeService::Later> waiting;
  service.defer = [&](const auto& request, FakeService::Later later) {
    if (request.path != "/later") return false;
    waiting.put(std::move(later));
    return true;
  };
  TestServer server(service, {.http = {.answer_timeout = milliseconds(50)}});
  RawSocket socket(server.port());
  socket.send(post("x", "/later"));
  EXPECT_TRUE(has_status(socket.read_response(), 503));
  const auto late = waiting.take();
  ASSERT_TRUE(late);
  (*late)(text_response(200, "too late"));
  (*late)(std::nullopt);
  EXPECT_EQ(body_of(answer_that_is_not_busy(socket, post("next"))), "next");
}

TEST(HttpServer, ChunkedBodiesAreJoined) {
  FakeService service;
  TestServer server(service);
  RawSocket socket(server.port());
  socket.send(
      "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
  EXPECT_EQ(body_of(socket.read_response()), "hello world");
  socket.send(post("next"));
  EXPECT_EQ(body_of(socket.read_response()), "next");
}

TEST(HttpServer, HeadHasTheHeaderOfGetAndOptionsSaysWhatIsAllowed) {
  FakeService service;
  service.answer = [](const auto& request) { return text_response(200, request.method + "!"); };
  TestServer server(service);
  RawSocket socket(server.port());
  socket.send("HEAD /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
  const std::string head = socket.read_response(false);
  EXPECT_TRUE(has_status(head, 200));
  EXPECT_NE(head.find("Content-Length: 4\r\n"), std::string::npos) << head;
  socket.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
  const std::string options = socket.read_response(false);
  EXPECT_TRUE(has_status(options, 204)) << options;
  EXPECT_NE(options.find("POST"), std::string::npos);
  socket.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_EQ(body_of(socket.read_response()), "GET!");
}

TEST(HttpServer, HttpOneZeroAndConnectionCloseEndTheConnection) {
  FakeService service;
  TestServer server(service);
  RawSocket old(server.port());
  old.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_NE(old.read_response(), "");
  EXPECT_TRUE(old.is_ended_by_peer());
  RawSocket polite(server.port());
  polite.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(has_status(polite.read_response(), 200));
  EXPECT_TRUE(polite.is_ended_by_peer());
}

TEST(HttpServer, WhatIsNoHttpIsAnswered400AndTheServerGoesOn) {
  FakeService service;
  TestServer server(service);
  const std::string header_end = "\r\n\r\n";
  const std::vector<std::string> bad = {
      std::string("\0\xff\x16\x03\x01garbage", 12) + header_end,
      std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(64, 'x') + header_end,
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "GET /\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "GET  / HTTP/1.1\r\nno colon here\r\n\r\n",
      "G\x01T / HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\nX: a\x01"
      "b\r\n\r\n",
      "GET /%zz HTTP/1.1\r\nHost: test\r\n\r\n",
      "GET /a?b=%4 HTTP/1.1\r\nHost: test\r\n\r\n",
      "GET nothing HTTP/1.1\r\nHost: test\r\n\r\n",
      "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
      "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
      "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
      "GET / HTTP/1.1\r\nX: " + std::string(100'000, 'y') + header_end,
      "GET /" + std::string(100'000, 'z') + " HTTP/1.1\r\n\r\n",
  };
  for (const std::string& bytes : bad) {
    RawSocket socket(server.port());
    socket.send(bytes);
    socket.end_sending();
    const std::string response = socket.read_response();
    EXPECT_TRUE(has_status(response, 400)) << bytes.substr(0, 60) << " → " << response;
    EXPECT_NE(body_of(response).find("\"code\":\"bad_request\""), std::string::npos) << response;
    EXPECT_TRUE(socket.is_ended_by_peer());
  }
  RawSocket good(server.port());
  good.send(post("still here"));
  EXPECT_EQ(body_of(good.read_response()), "still here");
}

TEST(HttpServer, ATruncatedRequestNeverReachesTheService) {
  FakeService service;
  std::atomic<int> calls{0};
  service.answer = [&](const auto&) {
    ++calls;
    return text_response(200, "");
  };
  TestServer server(service);
  for (const std::string bytes : {"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", "POST / HT",
                                  "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"}) {
    RawSocket socket(server.port());
    socket.send(bytes);
    socket.end_sending();
    const std::string response = socket.read_response();
    EXPECT_TRUE(response.empty() || has_status(response, 400)) << response;
    EXPECT_TRUE(socket.is_ended_by_peer());
    RawSocket reset(server.port());
    reset.send(bytes);
    reset.reset();
  }
  EXPECT_EQ(calls, 0);
}

/// Checks as the core does: authentication, then size.
FakeService& checking(FakeService& service, std::size_t body_bytes_max) {
  service.answer = [body_bytes_max](const protocol::HttpRequest& request) {
    if (request.header("authorization") != "Bearer good") return text_response(401, "who?");
    if (request.body.size() > body_bytes_max) return text_response(413, "too large");
    return text_response(200, "fine");
  };
  return service;
}

TEST(HttpServer, ABodyAboveTheLimitIs401Before413AndIsNotRead) {
  FakeService service;
  TestServer server(checking(service, 1000), {.http = {.body_bytes_max = 1000, .linger_timeout = kDeadline}});
  for (const std::string kind : {"Content-Length: 5000000", "Transfer-Encoding: chunked"}) {
    const std::string body = kind.starts_with("C") ? std::string(5'000'000, 'x')
                                                   : "100000\r\n" + std::string(0x100000, 'x') + "\r\n0\r\n\r\n";
    RawSocket stranger(server.port());
    stranger.send("POST / HTTP/1.1\r\n" + kind + "\r\n\r\n" + body);
    EXPECT_TRUE(has_status(stranger.read_response(), 401));
    EXPECT_TRUE(stranger.is_ended_by_peer());
    RawSocket friendly(server.port());
    friendly.send("POST / HTTP/1.1\r\nAuthorization: Bearer good\r\n" + kind + "\r\n\r\n" + body);
    EXPECT_TRUE(has_status(friendly.read_response(), 413));
    EXPECT_TRUE(friendly.is_ended_by_peer());
  }
  RawSocket exact(server.port());
  exact.send("POST / HTTP/1.1\r\nAuthorization: Bearer good\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'x'));
  EXPECT_TRUE(has_status(exact.read_response(), 200));
}

TEST(HttpServer, WhoeverAsksBeforeSendingABodyIsToldToContinueOrNot) {
  FakeService service;
  TestServer server(checking(service, 1000), {.http = {.body_bytes_max = 1000}});
  RawSocket small(server.port());
  small.send("POST / HTTP/1.1\r\nAuthorization: Bearer good\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(has_status(small.read_response(), 100));
  small.send("hello");
  EXPECT_TRUE(has_status(small.read_response(), 200));
  RawSocket large(server.port());
  large.send("POST / HTTP/1.1\r\nAuthorization: Bearer good\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(has_status(large.read_response(), 413));
}

TEST(HttpServer, AFullQueueIsAnswered503AtOnceAndImmediateRequestsStillPass) {
  FakeService service;
  Gate release;
  Mailbox<bool> begun;
  service.immediate = [](const auto& request) { return request.path == "/healthz"; };
  service.answer = [&](const protocol::HttpRequest& request) {
    if (request.path == "/slow") {
      begun.put(true);
      release.wait();
    }
    return text_response(200, "done");
  };
  TestServer server(service, {.workers = 1, .queue_max = 1});
  RawSocket running(server.port());
  running.send(post("", "/slow"));
  ASSERT_TRUE(begun.take());
  // One more may wait. Which of two that come together it is, is open; the other is refused.
  RawSocket first(server.port()), second(server.port());
  first.send(post("", "/slow"));
  second.send(post("", "/slow"));
  RawSocket health(server.port());
  health.send("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_TRUE(has_status(health.read_response(), 200));
  // Sent after the other two and read by the same thread: by now the queue is full.
  RawSocket late(server.port());
  late.send(post("", "/slow"));
  const std::string refused = late.read_response();
  EXPECT_TRUE(has_status(refused, 503)) << refused;
  EXPECT_NE(refused.find("retry-after: 1"), std::string::npos) << refused;
  EXPECT_NE(refused.find("\"code\":\"busy\""), std::string::npos) << refused;
  release.open();
  EXPECT_TRUE(has_status(running.read_response(), 200));
  const int first_ok = has_status(first.read_response(), 200), second_ok = has_status(second.read_response(), 200);
  EXPECT_EQ(first_ok + second_ok, 1);
}

TEST(HttpServer, AHandlerThatTakesTooLongIsAnsweredForWith503) {
  FakeService service;
  Gate release;
  service.answer = [&](const protocol::HttpRequest& request) {
    if (request.path == "/slow") release.wait();
    return text_response(200, "done");
  };
  TestServer server(service, {.http = {.answer_timeout = milliseconds(50)}, .workers = 1});
  RawSocket socket(server.port());
  socket.send(post("", "/slow"));
  EXPECT_TRUE(has_status(socket.read_response(), 503));
  release.open();
  EXPECT_EQ(body_of(answer_that_is_not_busy(socket, post("", "/quick"))), "done");
}

TEST(HttpServer, AHandlerThatThrowsIsAnswered500WithoutItsText) {
  FakeService service;
  service.immediate = [](const auto& request) { return request.path == "/now"; };
  service.answer = [](const protocol::HttpRequest& request) -> protocol::HttpResponse {
    if (request.path == "/odd") throw 42;
    throw std::runtime_error("SELECT secret");
  };
  TestServer server(service);
  RawSocket socket(server.port());
  for (const char* path : {"/now", "/later", "/odd"}) {
    socket.send(post("", path));
    const std::string response = socket.read_response();
    EXPECT_TRUE(has_status(response, 500)) << response;
    EXPECT_NE(response.find("\"code\":\"internal\""), std::string::npos);
    EXPECT_EQ(response.find("secret"), std::string::npos);
  }
}

TEST(HttpServer, SlowClientsAreCutOff) {
  FakeService service;
  TestServer server(service, {.http = {.idle_timeout = milliseconds(40),
                                       .header_timeout = milliseconds(40),
                                       .body_timeout = milliseconds(40)}});
  RawSocket silent(server.port());
  RawSocket half_header(server.port());
  half_header.send("POST / HTTP/1.1\r\nX: ");
  RawSocket half_body(server.port());
  half_body.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_TRUE(silent.is_ended_by_peer());
  EXPECT_TRUE(half_header.is_ended_by_peer());
  EXPECT_TRUE(half_body.is_ended_by_peer());
}

TEST(HttpServer, AClientThatDoesNotReadItsAnswerIsCutOff) {
  FakeService service;
  Gate answered;
  service.answer = [&](const auto&) {
    answered.open();
    return text_response(200, std::string(64 << 20, 'x'));
  };
  TestServer server(service, {.http = {.write_timeout = milliseconds(50), .stop_timeout = std::chrono::hours(1)}});
  RawSocket socket(server.port(), 4096);
  socket.send(post(""));
  ASSERT_TRUE(answered.wait());
  server.stop();
  EXPECT_TRUE(server.wait_until_ended());  // it would wait for the answer to be written
}

TEST(HttpServer, StoppingFinishesWhatIsUnderWayAndClosesTheRest) {
  FakeService service;
  Gate release;
  Mailbox<bool> begun;
  std::atomic<bool> told{false};
  service.answer = [&](const auto&) {
    begun.put(true);
    release.wait();
    return text_response(200, "finished");
  };
  TestServer server(service, {.http = {.on_stopping = [&] { told = true; }}});
  RawSocket idle(server.port()), busy(server.port());
  busy.send(post("work"));
  ASSERT_TRUE(begun.take());
  server.stop();
  EXPECT_TRUE(idle.is_ended_by_peer());
  EXPECT_TRUE(told);
  release.open();
  const std::string response = busy.read_response();
  EXPECT_EQ(body_of(response), "finished");
  EXPECT_NE(response.find("Connection: close"), std::string::npos) << response;
  EXPECT_TRUE(busy.is_ended_by_peer());
  EXPECT_TRUE(server.wait_until_ended());
  EXPECT_FALSE(RawSocket(server.port()).is_open());
}

TEST(HttpServer, StoppingDoesNotWaitForEver) {
  FakeService service;
  TestServer server(service, {.http = {.stop_timeout = milliseconds(50)}});
  RawSocket slow(server.port());
  slow.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
  RawSocket known(server.port());
  known.send(post("x"));
  EXPECT_NE(known.read_response(), "");  // so the slow one's bytes have arrived too
  server.stop();
  EXPECT_TRUE(server.wait_until_ended());
}

TEST(HttpServer, AnAddressInUseIsAnErrorThatNamesIt) {
  FakeService service;
  TestServer server(service);
  WorkerPool workers(1, 1, Log());
  const auto second = HttpServer::open({.port = server.port()}, service, workers, Log());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unreachable);
  EXPECT_NE(second.error().message.find(std::to_string(server.port())), std::string::npos);
  EXPECT_FALSE(HttpServer::open({.host = "no.such.host.invalid"}, service, workers, Log()));
}

TEST(HttpServer, TellsWhenFewerSocketsFitThanItIsMeantFor) {
  FakeService service;
  WorkerPool workers(1, 1, Log());
  std::vector<std::string> lines;
  const Log log([&](LogLevel level, std::string_view, std::string_view message) {
    lines.push_back(std::string(to_string(level)) + " " + std::string(message));
  });
  ASSERT_TRUE(HttpServer::open({.descriptors_wanted = 1}, service, workers, log));
  EXPECT_TRUE(lines.empty()) << lines.front();
  ASSERT_TRUE(HttpServer::open({.descriptors_wanted = std::uint64_t{1} << 62}, service, workers, log));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(lines[0].starts_with("warning at most ")) << lines[0];
  EXPECT_NE(lines[0].find("LimitNOFILE="), std::string::npos) << lines[0];
}

TEST(HttpServer, PeriodicWorkRunsAgainAndAgainAndSurvivesThrowing) {
  FakeService service;
  Mailbox<bool> ran;
  TestServer server(service, {.http = {.periodic = {{milliseconds(1), [&] {
                                                       ran.put(true);
                                                       throw std::runtime_error("once more");
                                                     }}}}});
  EXPECT_TRUE(ran.take());
  EXPECT_TRUE(ran.take());
  EXPECT_TRUE(ran.take());
}

TEST(HttpServer, LongPeriodicWorkHasAThreadOfItsOwnAndAFirstTime) {
  FakeService service;
  WorkerPool own(1, 1, Log());
  Mailbox<bool> ran, go_on;
  {
    TestServer server(service, {.http = {.periodic = {{.interval = std::chrono::hours(1),
                                                       .work =
                                                           [&] {
                                                             ran.put(true);
                                                             go_on.take();
                                                           },
                                                       .first_after = milliseconds(1),
                                                       .workers = &own}}},
                                .workers = 1});
    EXPECT_TRUE(ran.take()) << "long before the interval has passed";
    RawSocket socket(server.port());
    socket.send(post("served meanwhile"));
    EXPECT_EQ(body_of(socket.read_response()), "served meanwhile");
    go_on.put(true);
    own.stop();
  }
}

TEST(HttpServer, RandomDamageNeverEndsTheServer) {
  const std::uint64_t seed = test_seed("damage");
  SCOPED_TRACE("NIZHAL_SEED=" + std::to_string(seed));
  SeededRandom random(seed);
  FakeService service;
  TestServer server(service, {.http = {.linger_timeout = milliseconds(200)}});
  const std::vector<std::string> whole = {
      post("hello"), "GET /a%20b?c=d&e=%41 HTTP/1.1\r\nHost: test\r\nConnection: keep-alive\r\n\r\n",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      "POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
      "GET /sync/stream HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"};
  for (int i = 0; i < 500; ++i) {
    RawSocket socket(server.port());
    socket.send(damage(random, whole[random.below(whole.size())] + whole[random.below(whole.size())]));
    if (random.below(2) == 0) {
      socket.end_sending();
      socket.read_response();
    } else if (random.below(2) == 0) {
      socket.reset();
    }
  }
  RawSocket good(server.port());
  good.send(post("still here"));
  EXPECT_EQ(body_of(good.read_response()), "still here");
}

}  // namespace
}  // namespace nizhal::net
