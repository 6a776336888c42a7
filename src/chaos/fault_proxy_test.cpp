// The proxy between a device and a server that only counts: each fault hits the request that it is meant for, and what
// it does to it is what it says.
#include <nizhal/fault_proxy.hpp>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace nizhal::chaos {
namespace {

constexpr std::chrono::milliseconds kPatience{120'000};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/// Answers every request with its number, and closes.
class CountingServer {
 public:
  CountingServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 64), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~CountingServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  int requests() const { return requests_; }

 private:
  void serve() {
    for (;;) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      std::string text;
      char buffer[4096];
      while (text.find("\r\n\r\nbody") == std::string::npos) {
        const ssize_t size = ::recv(client, buffer, sizeof buffer, 0);
        if (size <= 0) break;
        text.append(buffer, static_cast<std::size_t>(size));
      }
      if (text.find("body") != std::string::npos) {
        const std::string body = fmt::format("answer {}", ++requests_);
        const std::string answer =
            fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", body.size(), body);
        EXPECT_EQ(::send(client, answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
      }
      ::close(client);
    }
  }
  int listener_;
  std::uint16_t port_ = 0;
  std::atomic<int> requests_{0};
  std::thread thread_;
};

/// Everything that comes back until the connection ends.
std::string post(const std::string& url, const std::string& path) {
  const auto port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  std::string answer;
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string request =
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody", path);
    (void)::send(descriptor, request.data(), request.size(), MSG_NOSIGNAL);
    char buffer[4096];
    for (ssize_t size; (size = ::recv(descriptor, buffer, sizeof buffer, 0)) > 0;)
      answer.append(buffer, static_cast<std::size_t>(size));
  }
  ::close(descriptor);
  return answer;
}

struct Network {
  CountingServer server;
  FaultProxy proxy{server.url()};
  std::string push() { return post(proxy.url(), "/sync/push"); }
  std::string pull() { return post(proxy.url(), "/sync/pull"); }
};

bool says(const std::string& answer, const std::string& text) { return answer.find(text) != std::string::npos; }

TEST(FaultProxy, WithoutAFaultEverythingPassesAndIsWrittenDown) {
  Network network;
  EXPECT_TRUE(says(network.push(), "answer 1"));
  EXPECT_TRUE(says(network.pull(), "answer 2"));
  const auto exchanges = network.proxy.exchanges();
  ASSERT_EQ(exchanges.size(), 2u);
  EXPECT_EQ(exchanges[0].path, "/sync/push");
  EXPECT_EQ(exchanges[0].request, "body");
  EXPECT_EQ(exchanges[1].answer, "answer 2");
}

TEST(FaultProxy, ALostReplyWasDoneByTheServerAndALostRequestWasNot) {
  Network network;
  network.proxy.fault("/sync/push", Fault::lose_reply);
  network.proxy.fault("/sync/push", Fault::lose_request);
  EXPECT_TRUE(says(network.pull(), "answer 1")) << "the fault is the push's";
  EXPECT_EQ(network.push(), "");
  EXPECT_EQ(network.server.requests(), 2);
  EXPECT_EQ(network.push(), "");
  EXPECT_EQ(network.server.requests(), 2);
  EXPECT_TRUE(says(network.push(), "answer 3")) << "each hit once";
  EXPECT_EQ(network.proxy.hits(Fault::lose_reply), 1u);
}

TEST(FaultProxy, ADuplicateReachesTheServerTwiceAndATruncatedReplyArrivesInPart) {
  Network network;
  network.proxy.fault("", Fault::duplicate);
  EXPECT_TRUE(says(network.push(), "answer 2"));
  EXPECT_EQ(network.server.requests(), 2);
  network.proxy.fault("", Fault::truncate_reply);
  const std::string half = network.push();
  EXPECT_TRUE(says(half, "Content-Length: 8"));
  EXPECT_TRUE(says(half, "answ"));
  EXPECT_FALSE(says(half, "answer 3"));
}

TEST(FaultProxy, RepliesOfTheWayHaveNothingFromTheServer) {
  Network network;
  network.proxy.fault("", Fault::unavailable);
  network.proxy.fault("", Fault::foreign_page);
  EXPECT_TRUE(says(network.push(), "HTTP/1.1 503"));
  EXPECT_TRUE(says(network.push(), "<html>"));
  EXPECT_EQ(network.server.requests(), 0);
}

TEST(FaultProxy, ACutNetworkRefusesUntilItIsHealed) {
  Network network;
  network.proxy.cut();
  EXPECT_EQ(network.push(), "");
  network.proxy.heal();
  EXPECT_TRUE(says(network.push(), "answer 1"));
}

TEST(FaultProxy, ASwallowedRequestAndAFrozenNetworkAreSilentUntilTheyAreHealed) {
  for (const bool frozen : {false, true}) {
    Network network;
    if (frozen)
      network.proxy.freeze();
    else
      network.proxy.fault("", Fault::swallow);
    std::atomic<bool> is_over{false};
    std::string answer;
    std::thread device([&] {
      answer = network.push();
      is_over = true;
    });
    if (!frozen)
      while (network.proxy.hits(Fault::swallow) == 0) std::this_thread::yield();
    EXPECT_FALSE(is_over);
    EXPECT_EQ(network.server.requests(), 0);
    network.proxy.heal();
    device.join();
    EXPECT_TRUE(says(network.push(), "answer"));
  }
}

TEST(FaultProxy, AHeldRequestWaitsAndIsLetGoOrDropped) {
  Network network;
  network.proxy.hold_after("/sync/push", 1);
  EXPECT_TRUE(says(network.push(), "answer 1"));
  std::string answer;
  std::thread device([&] { answer = network.push(); });
  ASSERT_TRUE(network.proxy.wait_until_held(kPatience));
  EXPECT_EQ(network.proxy.held_request(), "body");
  EXPECT_TRUE(says(network.pull(), "answer 2")) << "only pushes are held";
  network.proxy.let_go();
  device.join();
  EXPECT_TRUE(says(answer, "answer 3"));

  network.proxy.hold_after("/sync/push", 0);
  std::thread other([&] { answer = network.push(); });
  ASSERT_TRUE(network.proxy.wait_until_held(kPatience));
  network.proxy.drop_held();
  other.join();
  EXPECT_EQ(answer, "");
  EXPECT_EQ(network.server.requests(), 3);
}

TEST(FaultProxy, SeveralServersTakeTurnsAndOneThatIsGoneIsPassedOver) {
  CountingServer one, two;
  auto gone = std::make_unique<CountingServer>();
  const std::string gone_url = gone->url();
  gone.reset();
  FaultProxy proxy({one.url(), gone_url, two.url()}, {});
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(says(post(proxy.url(), "/sync/pull"), "answer"));
  EXPECT_GE(one.requests(), 2);
  EXPECT_GE(two.requests(), 2);
  EXPECT_EQ(one.requests() + two.requests(), 6);
}

TEST(FaultProxy, WhatPassedCanBeSentOnceMore) {
  Network network;
  network.push();
  EXPECT_EQ(network.proxy.replay(network.proxy.pushes().front()), 200);
  EXPECT_EQ(network.server.requests(), 2);
}

}  // namespace
}  // namespace nizhal::chaos
