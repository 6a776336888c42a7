// The device's HTTP connection against a server that does what a test says, byte by byte.
#include "net/http_client.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <set>
#include <string>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "base/reserved_port.hpp"
#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;
using Answer = Result<protocol::HttpResponse>;

/// Accepts connections one after the other and hands each to the script.
class ScriptedServer {
 public:
  using Script = std::function<void(RawSocket& socket, int connection)>;
  explicit ScriptedServer(Script script) : script_(std::move(script)), fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd_, 16) != 0 ||
        getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      ADD_FAILURE() << "cannot listen";
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int i = 0;; ++i) {
        const int accepted = accept(fd_, nullptr, nullptr);
        if (accepted < 0) return;
        ++connections_;
        RawSocket socket{RawSocket::Accepted{accepted}};
        script_(socket, i);
      }
    });
  }
  ~ScriptedServer() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  std::uint16_t port() const { return port_; }
  int connections() const { return connections_; }

 private:
  Script script_;
  int fd_;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_{0};
  std::thread thread_;
};

std::string ok(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

class ClientThread {
 public:
  explicit ClientThread(std::uint16_t port, std::string url = {}) : work_(io_.get_executor()) {
    ClientNetOptions options;
    options.server = *parse_url(url.empty() ? "http://127.0.0.1:" + std::to_string(port) : url);
    options.connect_timeout = kDeadline;
    client_ = std::make_unique<HttpClient>(io_, options);
    thread_ = std::thread([this] { io_.run(); });
  }
  ~ClientThread() {
    io_.stop();
    thread_.join();
  }
  std::future<Answer> send(std::string body, milliseconds timeout = kDeadline) {
    auto promise = std::make_shared<std::promise<Answer>>();
    boost::asio::post(io_, [this, body = std::move(body), timeout, promise] {
      protocol::HttpRequest request;
      request.method = "POST";
      request.path = "/sync/push";
      request.headers["authorization"] = "Bearer t";
      request.body = body;
      client_->send(std::move(request), timeout, [promise](Answer answer) { promise->set_value(std::move(answer)); });
    });
    return promise->get_future();
  }
  void cancel() {
    boost::asio::post(io_, [this] { client_->cancel(); });
  }

 private:
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<HttpClient> client_;
  std::thread thread_;
};

/// Reads one request; its header.
std::string read_request(RawSocket& socket) { return socket.read_response(); }

TEST(HttpClient, RequestsShareOneConnectionAndKeepTheirOrder) {
  FakeService service;
  TestServer server(service);
  ClientThread client(server.port());
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 20; ++i) answers.push_back(client.send("body " + std::to_string(i)));
  for (int i = 0; i < 20; ++i) {
    const Answer answer = answers[static_cast<std::size_t>(i)].get();
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body, "body " + std::to_string(i));
  }
}

/// Open descriptors that a program would inherit.
std::set<std::string> inherited_descriptors() {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const std::string name = entry.path().filename();
    const int flags = ::fcntl(std::stoi(name), F_GETFD);
    std::error_code gone;
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0)
      found.insert(name + " " + std::filesystem::read_symlink(entry.path(), gone).string());
  }
  return found;
}

TEST(Sockets, NoneIsInheritedByAProgramThatTheAppStarts) {
  const auto before = inherited_descriptors();
  FakeService service;
  TestServer server(service);
  ClientThread client(server.port());
  ASSERT_TRUE(client.send("a listening socket, and both ends of a connection").get());
  EXPECT_EQ(inherited_descriptors(), before);
}

TEST(HttpClient, ARequestIsWellFormedAndEveryStatusIsAnAnswer) {
  Mailbox<std::string> seen;
  ScriptedServer server([&](RawSocket& socket, int) {
    seen.put(read_request(socket));
    socket.send("HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno");
    seen.put(read_request(socket));
    socket.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n");
  });
  ClientThread client(server.port(), "http://127.0.0.1:" + std::to_string(server.port()) + "/base");
  const Answer refused = client.send("{}").get();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(refused->headers.at("retry-after"), "3");
  EXPECT_EQ(client.send("{}").get()->body, "yes");
  const auto request = seen.take();
  ASSERT_TRUE(request);
  EXPECT_TRUE(request->starts_with("POST /base/sync/push HTTP/1.1\r\n")) << *request;
  EXPECT_NE(request->find("authorization: Bearer t\r\n"), std::string::npos) << *request;
  EXPECT_NE(request->find("Host: 127.0.0.1:" + std::to_string(server.port())), std::string::npos) << *request;
  EXPECT_NE(request->find("Content-Type: application/json\r\n"), std::string::npos) << *request;
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, ARefusedConnectionNamesTheAddress) {
  const ReservedPort nobody_listens;
  ClientThread client(nobody_listens.port());
  const Answer answer = client.send("{}").get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::unreachable);
  EXPECT_EQ(answer.error().message, "connection refused (127.0.0.1:" + std::to_string(nobody_listens.port()) + ")");
}

TEST(HttpClient, AHostThatDoesNotExistIsNamed) {
  ClientThread client(0, "http://no-such-host.invalid:4000");
  const Answer answer = client.send("{}").get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::unreachable);
  EXPECT_NE(answer.error().message.find("no-such-host.invalid"), std::string::npos);
}

TEST(HttpClient, AKeptConnectionThatTheServerClosedIsReplacedUnnoticed) {
  ScriptedServer server([](RawSocket& socket, int connection) {
    read_request(socket);
    socket.send(ok("connection " + std::to_string(connection)));  // and closes, without having said so
  });
  ClientThread client(server.port());
  for (int i = 0; i < 3; ++i) {
    const Answer answer = client.send("{}").get();
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body, "connection " + std::to_string(i));
  }
}

TEST(HttpClient, AKeptConnectionThatIsResetIsReplacedUnnoticed) {
  ScriptedServer server([](RawSocket& socket, int connection) {
    read_request(socket);
    socket.send(ok("connection " + std::to_string(connection)));
    if (connection == 0) {
      read_request(socket);
      socket.reset();
    }
  });
  ClientThread client(server.port());
  EXPECT_EQ(client.send("{}").get()->body, "connection 0");
  const Answer answer = client.send("{}").get();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "connection 1");
}

TEST(HttpClient, AFreshConnectionThatIsClosedOrResetIsAFailureAndNotTriedTwice) {
  ScriptedServer server([](RawSocket& socket, int connection) {
    read_request(socket);
    if (connection == 1) socket.reset();
  });
  ClientThread client(server.port());
  for (int i = 0; i < 2; ++i) {
    const Answer answer = client.send("{}").get();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::outcome_unknown);
    EXPECT_NE(answer.error().message.find("the server closed the connection"), std::string::npos)
        << answer.error().message;
    EXPECT_EQ(server.connections(), i + 1);
  }
}

TEST(HttpClient, HalfAnAnswerIsAFailureAlsoOnAKeptConnection) {
  ScriptedServer server([](RawSocket& socket, int connection) {
    if (connection == 1) {
      read_request(socket);
      socket.send(ok("whole"));
    }
    read_request(socket);
    socket.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  });
  ClientThread client(server.port());
  const Answer fresh = client.send("{}").get();
  ASSERT_FALSE(fresh);
  EXPECT_NE(fresh.error().message.find("in the middle of its answer"), std::string::npos) << fresh.error().message;
  EXPECT_EQ(client.send("{}").get()->body, "whole");
  EXPECT_FALSE(client.send("{}").get());
  EXPECT_EQ(server.connections(), 2);
}

TEST(HttpClient, WhatIsNoHttpIsAFailure) {
  ScriptedServer server([](RawSocket& socket, int) {
    read_request(socket);
    socket.send("SSH-2.0-OpenSSH_9.2\r\n\r\n");
  });
  ClientThread client(server.port());
  const Answer answer = client.send("{}").get();
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message.find("not HTTP"), std::string::npos) << answer.error().message;
}

TEST(HttpClient, AServerThatNeverAnswersFailsAfterTheTimeoutAndTheNextRequestHasItsOwnConnection) {
  ScriptedServer server([&](RawSocket& socket, int connection) {
    read_request(socket);
    if (connection == 0)
      socket.is_ended_by_peer();
    else
      socket.send(ok("awake"));
  });
  ClientThread client(server.port());
  const Answer silent = client.send("{}", milliseconds(50)).get();
  ASSERT_FALSE(silent);
  EXPECT_NE(silent.error().message.find("no answer in time"), std::string::npos) << silent.error().message;
  EXPECT_EQ(client.send("{}").get()->body, "awake");
}

TEST(HttpClient, CancellingFailsWhatIsUnderWayAndWhatWaits) {
  Mailbox<bool> begun;
  ScriptedServer server([&](RawSocket& socket, int connection) {
    read_request(socket);
    begun.put(true);
    if (connection == 0)
      socket.is_ended_by_peer();
    else
      socket.send(ok("fresh"));
  });
  ClientThread client(server.port());
  auto first = client.send("{}"), second = client.send("{}");
  ASSERT_TRUE(begun.take());
  client.cancel();
  EXPECT_EQ(first.get().error().code, ErrorCode::closed);
  EXPECT_EQ(second.get().error().code, ErrorCode::closed);
  EXPECT_EQ(client.send("{}").get()->body, "fresh");
}

TEST(HttpClient, ARefusalOfALargeBodyIsReadAlthoughTheBodyWasNotTaken) {
  FakeService service;
  service.answer = [](const auto& request) { return text_response(request.body.size() > 1000 ? 413 : 200, "sized"); };
  TestServer server(service, {.http = {.body_bytes_max = 1000, .linger_timeout = kDeadline}});
  ClientThread client(server.port());
  const Answer answer = client.send(std::string(4'000'000, 'x')).get();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 413);
  EXPECT_EQ(client.send("small").get()->status, 200);
}

TEST(HttpClient, EveryRequestEndsWhateverTheServerSends) {
  const std::uint64_t seed = test_seed("damage");
  SCOPED_TRACE("NIZHAL_SEED=" + std::to_string(seed));
  SeededRandom random(seed);
  const std::vector<std::string> whole = {
      ok("fine"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
      "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nConnection: close\r\n\r\nno", "HTTP/1.1 204 No Content\r\n\r\n"};
  ScriptedServer server([&](RawSocket& socket, int) {
    read_request(socket);
    socket.send(damage(random, whole[random.below(whole.size())]));
    if (random.below(4) == 0) socket.reset();
  });
  ClientThread client(server.port());
  for (int i = 0; i < 300; ++i) {
    const Answer answer = client.send("{}").get();
    if (!answer) {
      EXPECT_EQ(answer.error().code, ErrorCode::outcome_unknown);
      EXPECT_FALSE(answer.error().message.empty());
    }
  }
}

}  // namespace
}  // namespace nizhal::net
