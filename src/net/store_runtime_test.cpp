// The runtime with a state machine that does what a test says.
#include "net/store_runtime.hpp"

#include <gtest/gtest.h>

#include "base/reserved_port.hpp"
#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;
using client::Effects;
using client::Event;

class FakeMachine : public SyncMachine {
 public:
  std::function<Effects(const Event&)> on_event = [](const Event&) { return Effects{}; };
  Mailbox<Event> seen;

  Effects handle(const Event& event) override {
    seen.put(event);
    return on_event(event);
  }
  StoreStatus status() const override {
    StoreStatus status;
    status.last_error = "what was tried";
    status.pending = pending;
    return status;
  }
  std::atomic<std::uint64_t> pending{0};
  /// Discards events until one of this type.
  template <class T>
  std::optional<T> next() {
    while (auto event = seen.take())
      if (auto* wanted = std::get_if<T>(&*event)) return std::move(*wanted);
    return std::nullopt;
  }
};

StoreRuntimeOptions online(std::uint16_t port) {
  StoreRuntimeOptions options;
  options.net.emplace();
  options.net->server = *parse_url("http://127.0.0.1:" + std::to_string(port));
  return options;
}
StoreRuntimeOptions offline(std::uint16_t port) {
  StoreRuntimeOptions options = online(port);
  options.start_online = false;
  return options;
}

Effects post(client::RequestId id, std::string body, milliseconds timeout = kDeadline) {
  client::SendRequest send;
  send.request = id;
  send.http.method = "POST";
  send.http.path = "/echo";
  send.http.body = std::move(body);
  send.timeout = timeout;
  return {send};
}

TEST(StoreRuntime, RequestsAreSentAndAnswersComeBackAsEvents) {
  FakeService service;
  TestServer server(service);
  FakeMachine machine;
  machine.on_event = [](const Event& event) {
    return std::holds_alternative<client::Started>(event) ? post(7, "hello") : Effects{};
  };
  StoreRuntime runtime(machine, online(server.port()));
  const auto answered = machine.next<client::Answered>();
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->request, 7u);
  EXPECT_EQ(answered->response.body, "hello");
}

TEST(StoreRuntime, AnUnreachableServerIsAFailedEvent) {
  FakeMachine machine;
  machine.on_event = [](const Event& event) {
    return std::holds_alternative<client::Started>(event) ? post(1, "") : Effects{};
  };
  const ReservedPort nobody_listens;
  StoreRuntime runtime(machine, online(nobody_listens.port()));
  const auto failed = machine.next<client::Failed>();
  ASSERT_TRUE(failed);
  EXPECT_NE(failed->reason.find("connection refused"), std::string::npos) << failed->reason;
}

TEST(StoreRuntime, TheTokenCallbackIsAskedAndMayThrow) {
  FakeMachine machine;
  machine.on_event = [](const Event& event) -> Effects {
    if (std::holds_alternative<client::Started>(event)) return {client::FetchToken{}};
    if (std::holds_alternative<client::WentOnline>(event)) return {client::FetchToken{true}};
    return {};
  };
  StoreRuntimeOptions options = online(1);
  int calls = 0;
  options.token = [&]() -> std::string {
    if (++calls == 1) return "token";
    throw std::runtime_error("signed out");
  };
  StoreRuntime runtime(machine, std::move(options));
  EXPECT_EQ(machine.next<client::TokenFetched>()->token, "token");
  runtime.set_online(true);
  EXPECT_EQ(machine.next<client::TokenFetched>()->token, "");
}

TEST(StoreRuntime, TimersFireOnceAndCanBeReplacedAndCancelled) {
  FakeMachine machine;
  machine.on_event = [](const Event& event) -> Effects {
    if (!std::holds_alternative<client::Started>(event)) return {};
    return {client::SetTimer{client::TimerId::pull, std::chrono::hours(1)},
            client::SetTimer{client::TimerId::retry, milliseconds(0)}, client::CancelTimer{client::TimerId::retry},
            client::SetTimer{client::TimerId::pull, milliseconds(1)},
            client::SetTimer{client::TimerId::socket, milliseconds(20)}};
  };
  StoreRuntime runtime(machine, online(1));
  EXPECT_EQ(machine.next<client::TimerFired>()->timer, client::TimerId::pull);
  EXPECT_EQ(machine.next<client::TimerFired>()->timer, client::TimerId::socket);
}

TEST(StoreRuntime, TicksAgainAndAgainAlsoWithNoServerAndOffline) {
  FakeMachine machine;
  StoreRuntimeOptions options;
  options.start_online = false;
  options.tick = milliseconds(1);
  StoreRuntime runtime(machine, std::move(options));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(machine.next<client::Ticked>());
}

TEST(StoreRuntime, ASyncThatNobodyWaitsForAnyMoreIsToldToTheMachine) {
  FakeMachine machine;
  StoreRuntime runtime(machine, offline(1));
  EXPECT_FALSE(runtime.sync_now(milliseconds(1)));
  EXPECT_TRUE(machine.next<client::SyncAbandoned>());
}

TEST(StoreRuntime, TheSocketsEventsReachTheMachine) {
  FakeService service;
  TestServer server(service);
  FakeMachine machine;
  machine.on_event = [](const Event& event) -> Effects {
    if (std::holds_alternative<client::Started>(event)) return {client::OpenSocket{"/sync/stream", "t"}};
    if (std::holds_alternative<client::WentOffline>(event)) return {client::CloseSocket{}};
    return {};
  };
  StoreRuntime runtime(machine, online(server.port()));
  EXPECT_TRUE(machine.next<client::SocketOpened>());
  const auto peer = service.opened.take();
  (*peer)->send("repull:a");
  EXPECT_EQ(machine.next<client::SocketFrame>()->text, "repull:a");
  runtime.set_online(false);
  EXPECT_TRUE(service.closed.take());
}

TEST(StoreRuntime, EveryObserverIsToldOfTheStatusUntilItsSubscriptionEnds) {
  FakeMachine machine;
  machine.on_event = [](const Event& event) -> Effects {
    if (std::holds_alternative<client::Mutated>(event)) return {client::Notify{}};
    return {};
  };
  Mailbox<std::string> first, second;
  Subscription outlives;
  {
    StoreRuntime runtime(machine, {});
    auto observed = runtime.on_status([&](const StoreStatus& status) {
      first.put("first: " + status.last_error);
      throw std::runtime_error("a bug in the app");
    });
    EXPECT_EQ(first.take(), "first: what was tried");
    outlives = runtime.on_status([&](const StoreStatus&) { second.put("second"); });
    EXPECT_EQ(second.take(), "second");
    machine.pending = 1;
    runtime.mutated();
    EXPECT_EQ(first.take(), "first: what was tried");
    EXPECT_EQ(second.take(), "second");
    observed.stop();
    machine.pending = 2;
    runtime.mutated();
    EXPECT_EQ(second.take(), "second");
    EXPECT_TRUE(first.is_empty());
  }
}

TEST(StoreRuntime, AnObserverIsNotToldOfAStatusThatIsTheSame) {
  FakeMachine machine;
  machine.on_event = [](const Event& event) -> Effects {
    if (std::holds_alternative<client::Mutated>(event)) return {client::Notify{}};
    return {};
  };
  Mailbox<std::uint64_t> told;
  StoreRuntime runtime(machine, {});
  const auto observed = runtime.on_status([&](const StoreStatus& status) { told.put(status.pending); });
  EXPECT_EQ(told.take(), 0u);
  for (int i = 0; i < 3; ++i) {
    runtime.mutated();
    ASSERT_TRUE(machine.next<client::Mutated>());
  }
  machine.pending = 1;
  runtime.status_changed();
  EXPECT_EQ(told.take(), 1u) << "and nothing between";
  EXPECT_TRUE(told.is_empty());
}

TEST(StoreRuntime, AStoreThatStartsOfflineTouchesNothingUntilAsked) {
  FakeService service;
  TestServer server(service);
  FakeMachine machine;
  machine.on_event = [](const Event& event) -> Effects {
    if (std::holds_alternative<client::SyncRequested>(event)) return post(1, "once");
    if (std::holds_alternative<client::Answered>(event)) return {client::SyncFinished{SyncReport{.applied = 3}}};
    return {};
  };
  StoreRuntime runtime(machine, offline(server.port()));
  const auto report = runtime.sync_now(kDeadline);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->applied, 3u);
  const auto first = machine.seen.take();
  EXPECT_TRUE(std::holds_alternative<client::SyncRequested>(*first));  // nothing before it
}

TEST(StoreRuntime, ASyncAskedForDuringAnotherBeginsAfterIt) {
  FakeMachine machine;
  Gate release;
  std::atomic<int> syncs{0};
  machine.on_event = [&](const Event& event) -> Effects {
    if (!std::holds_alternative<client::SyncRequested>(event)) return {};
    const int number = ++syncs;
    if (number == 1) release.wait();
    return {client::SyncFinished{SyncReport{.applied = static_cast<std::uint64_t>(number)}}};
  };
  StoreRuntime runtime(machine, offline(1));
  Result<SyncReport> first, second;
  std::thread one([&] { first = runtime.sync_now(kDeadline); });
  ASSERT_TRUE(machine.next<client::SyncRequested>());
  std::thread two([&] { second = runtime.sync_now(kDeadline); });
  release.open();
  one.join();
  two.join();
  EXPECT_EQ(first->applied, 1u);
  EXPECT_EQ(second->applied, 2u);
}

TEST(StoreRuntime, ASyncThatTakesTooLongSaysWhatWasTriedAndLeavesTheNetworkAlone) {
  FakeService service;
  Gate release;
  service.answer = [&](const auto&) {
    release.wait();
    return text_response(200, "");
  };
  TestServer server(service);
  FakeMachine machine;
  machine.on_event = [](const Event& event) -> Effects {
    return std::holds_alternative<client::SyncRequested>(event) ? post(1, "") : Effects{};
  };
  StoreRuntime runtime(machine, offline(server.port()));
  const auto report = runtime.sync_now(milliseconds(30));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::unreachable);
  EXPECT_NE(report.error().message.find("what was tried"), std::string::npos);
  EXPECT_TRUE(machine.next<client::Failed>());  // its request was dropped
  release.open();
}

TEST(StoreRuntime, WithoutAServerOrFromACallbackSyncingIsAUsageError) {
  FakeMachine machine;
  machine.on_event = [](const Event& event) -> Effects {
    if (std::holds_alternative<client::Mutated>(event)) return {client::Notify{}};
    return {};
  };
  StoreRuntime local(machine, {});
  EXPECT_EQ(local.sync_now(kDeadline).error().code, ErrorCode::usage);
  Mailbox<ErrorCode> code;
  StoreRuntime runtime(machine, offline(1));
  const auto observed =
      runtime.on_status([&](const StoreStatus&) { code.put(runtime.sync_now(kDeadline).error().code); });
  EXPECT_EQ(code.take(), ErrorCode::usage);
}

TEST(StoreRuntime, TheEndIsPromptInTheMiddleOfAnything) {
  // A listener whose backlog is full: connecting to it neither succeeds nor fails.
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  RawSocket filler(ntohs(address.sin_port));
  for (int i = 0; i < 20; ++i) {
    FakeMachine machine;
    machine.on_event = [](const Event& event) -> Effects {
      if (!std::holds_alternative<client::Started>(event)) return {};
      Effects effects = post(1, "", std::chrono::hours(1));
      effects.emplace_back(client::OpenSocket{"/sync/stream", ""});
      return effects;
    };
    StoreRuntime runtime(machine, online(ntohs(address.sin_port)));
    ASSERT_TRUE(machine.next<client::Started>());
  }
  // And in the middle of a name's look-up and of an answer.
  FakeService service;
  Gate release;
  service.answer = [&](const auto&) {
    release.wait();
    return text_response(200, "");
  };
  TestServer server(service);
  for (const std::string& url :
       {"http://localhost:" + std::to_string(server.port()), std::string("http://a.invalid")}) {
    FakeMachine machine;
    machine.on_event = [](const Event& event) -> Effects {
      return std::holds_alternative<client::Started>(event) ? post(1, "", std::chrono::hours(1)) : Effects{};
    };
    StoreRuntimeOptions options = online(1);
    options.net->server = *parse_url(url);
    StoreRuntime runtime(machine, std::move(options));
    ASSERT_TRUE(machine.next<client::Started>());
  }
  release.open();
  ::close(listener);
}

}  // namespace
}  // namespace nizhal::net
