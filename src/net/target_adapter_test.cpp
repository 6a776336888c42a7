#include "net/target_adapter.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "client/client_test_support.hpp"
#include "net/net_test_support.hpp"
#include "net/target_transport.hpp"

namespace nizhal::net {
namespace {

using client::testing::Device;
using client::testing::NoteRows;
using test::Gate;
using test::Mailbox;

/// A target made of functions; by default it does everything and has nothing.
class FakeTarget : public SyncTarget {
 public:
  std::function<TargetResult<TargetPage>(const TargetPull&)> on_pull = [](const auto&) { return TargetPage(); };
  std::function<TargetResult<Outcome>(const TargetMutation&)> on_push = [](const auto&) { return done(); };
  std::vector<TargetPull> pulls;
  std::vector<TargetMutation> pushes;
  TargetResult<TargetPage> pull(const TargetPull& request) override {
    pulls.push_back(request);
    return on_pull(request);
  }
  TargetResult<Outcome> push(const TargetMutation& mutation) override {
    pushes.push_back(mutation);
    return on_push(mutation);
  }
};

TargetPage page_of(const NoteRows& notes, std::string cursor, bool has_more = false) {
  TargetPage page;
  for (const auto& [id, body] : notes) page.changed(notes::notes, {.id = id, .owner_id = "o1", .body = body});
  page.cursor = std::move(cursor);
  page.has_more = has_more;
  return page;
}

/// A device whose requests the adapter answers.
struct BackendTarget : client::testing::World {
  std::shared_ptr<FakeTarget> target = std::make_shared<FakeTarget>();
  std::vector<std::string> logged;
  std::unique_ptr<TargetAdapter> adapter = make_adapter();

  std::unique_ptr<TargetAdapter> make_adapter() {
    return std::make_unique<TargetAdapter>(
        target, device.store(),
        Log([this](LogLevel, std::string_view, std::string_view message) { logged.emplace_back(message); }));
  }
  void reopen() {
    adapter.reset();
    device.reopen();
    adapter = make_adapter();
  }
  static protocol::HttpRequest request(std::string_view path, std::string body) {
    protocol::HttpRequest request;
    request.path = std::string(path);
    request.body = std::move(body);
    return request;
  }
  Result<protocol::HttpResponse> ask_push(std::size_t mutations_max = 1) {
    sent = *device.store().next_push(mutations_max, 1 << 20);
    return adapter->answer(request(protocol::kPushPath, protocol::encode_push_request(sent)));
  }
  client::LocalStore::PushSettled push(std::size_t mutations_max = 1) {
    const auto answer = ask_push(mutations_max);
    EXPECT_TRUE(answer && answer->status == 200) << (answer ? answer->body : answer.error().message);
    return *device.store().settle_push(sent, *protocol::decode_push_reply(answer->body));
  }
  Result<protocol::HttpResponse> ask_pull() {
    pulled = *device.store().next_pull(100);
    return adapter->answer(request(protocol::kPullPath, protocol::encode_pull_request(pulled)));
  }
  /// One page.
  client::LocalStore::PullApplied pull() {
    const auto answer = ask_pull();
    EXPECT_TRUE(answer && answer->status == 200) << (answer ? answer->body : answer.error().message);
    last_page = *protocol::decode_page(device.store().domain().domain(), answer->body);
    auto applied = device.store().apply_page(pulled, last_page);
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
    return applied ? *applied : client::LocalStore::PullApplied{};
  }
  protocol::PushRequest sent;
  protocol::PullRequest pulled;
  protocol::PullPage last_page;
};

TEST_F(BackendTarget, AMutationCarriesItsIdempotencyKeyAndIsAnsweredAsTheTargetAnswered) {
  const std::string first = device.add("a", "one"), second = device.add("b", "two");
  target->on_push = [](const TargetMutation& mutation) -> TargetResult<Outcome> {
    if (mutation.args.find("\"b\"") != std::string::npos) return reject("too_late", "the shop is closed");
    return done();
  };
  push();
  push();
  ASSERT_EQ(target->pushes.size(), 2u);
  EXPECT_EQ(target->pushes[0].client_mutation_id, first);
  EXPECT_EQ(target->pushes[0].name, "addNote");
  EXPECT_EQ(target->pushes[0].args, R"({"id":"a","body":"one"})");
  EXPECT_EQ(target->pushes[0].made_at.microseconds / 1000, clock.now().microseconds / 1000);
  EXPECT_EQ(target->pushes[1].client_mutation_id, second);
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_EQ(device.dead_letters()[0].code, "too_late");
  EXPECT_EQ(device.notes(), (NoteRows{{"a", "one"}}));
  EXPECT_EQ(device.outbox().size(), 1u) << "done, and waiting for the pull that brings it";
  target->on_pull = [](const auto&) { return page_of({{"a", "one"}}, "1"); };
  EXPECT_TRUE(pull().complete);
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_EQ(device.notes(), (NoteRows{{"a", "one"}}));
}

TEST_F(BackendTarget, APullConfirmsOnlyWhatWasKnownWhenItBegan) {
  target->on_pull = [](const TargetPull& request) {
    return request.cursor.empty() ? page_of({{"x", "first"}}, "p1", true) : page_of({{"y", "second"}}, "p2");
  };
  EXPECT_FALSE(pull().complete);
  device.add("a", "written in between");
  push();
  EXPECT_TRUE(pull().complete);
  // The backend did it, but the pages may have been read before: only a pull that begins now is sure to bring it.
  EXPECT_EQ(device.outbox().size(), 1u);
  EXPECT_EQ(device.notes().count("a"), 1u);
  target->on_pull = [](const auto&) { return page_of({{"a", "written in between"}}, "p3"); };
  EXPECT_TRUE(pull().complete);
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_EQ(device.notes().size(), 3u);
}

TEST_F(BackendTarget, AnUnfinishedPullGoesOnAfterARestartWhereItWas) {
  device.add("a", "one");
  push();
  target->on_pull = [](const TargetPull& request) {
    TargetPage page = request.cursor.empty() ? page_of({{"a", "one"}}, "p1", true) : page_of({{"b", "two"}}, "p2");
    page.total_rows = 2;
    return page;
  };
  EXPECT_FALSE(pull().complete);
  EXPECT_EQ(last_page.progress->rows, 1u);
  reopen();
  EXPECT_TRUE(pull().complete);
  EXPECT_EQ(last_page.progress->rows, 2u);
  EXPECT_EQ(target->pulls.back().cursor, "p1");
  EXPECT_EQ(device.notes().size(), 2u);
  EXPECT_TRUE(device.outbox().empty()) << "it was known when the pull began";
}

TEST_F(BackendTarget, StartingOverAsksOnceMoreAndReplacesWhatIsHere) {
  target->on_pull = [](const auto&) { return page_of({{"old", "o"}, {"both", "b"}}, "1"); };
  pull();
  device.add("mine", "pending");
  target->on_pull = [](const TargetPull& request) -> TargetResult<TargetPage> {
    if (!request.cursor.empty()) return start_over("too long ago");
    return page_of({{"both", "b2"}, {"new", "n"}}, "2");
  };
  EXPECT_TRUE(pull().complete);
  EXPECT_TRUE(last_page.cursor_reset);
  EXPECT_EQ(device.notes(), (NoteRows{{"both", "b2"}, {"new", "n"}, {"mine", "pending"}}));

  target->on_pull = [](const auto&) { return start_over("again and again"); };
  const auto answer = ask_pull();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 503);
}

TEST_F(BackendTarget, AListOfEverythingTakesAwayWhatItDoesNotNameAndTheSameListDoesNothing) {
  NoteRows there{{"a", "1"}, {"b", "2"}};
  target->on_pull = [&](const auto&) {
    TargetPage page = page_of(there, "");
    page.is_everything = true;
    return page;
  };
  pull();
  EXPECT_EQ(device.notes(), there);
  there = {{"b", "2"}, {"c", "3"}};
  EXPECT_EQ(pull().rows, 2u);
  EXPECT_EQ(device.notes(), there);
  EXPECT_EQ(pull().rows, 0u);
  EXPECT_FALSE(last_page.cursor_reset);
  EXPECT_EQ(device.notes(), there);
}

TEST_F(BackendTarget, AListOfEverythingInPagesIsAppliedWhole) {
  target->on_pull = [](const auto&) { return page_of({{"old", "o"}}, "1"); };
  pull();
  target->on_pull = [](const TargetPull& request) {
    TargetPage page = request.cursor == "half" ? page_of({{"b", "2"}}, "2") : page_of({{"a", "1"}}, "half", true);
    page.is_everything = true;
    return page;
  };
  EXPECT_FALSE(pull().complete);
  EXPECT_EQ(device.notes(), (NoteRows{{"old", "o"}}));
  EXPECT_TRUE(pull().complete);
  EXPECT_EQ(device.notes(), (NoteRows{{"a", "1"}, {"b", "2"}}));
}

TEST_F(BackendTarget, FailuresKeepTheirKindAndWhatIsThrownIsBusy) {
  device.add("a", "one");
  const auto status = [&](TargetError error) {
    target->on_push = [error](const auto&) -> TargetResult<Outcome> { return tl::unexpected(error); };
    auto answer = ask_push();
    return answer ? std::to_string(answer->status) + " " + answer->headers["retry-after"]
                  : std::string(to_string(answer.error().code)) + " " + answer.error().message;
  };
  EXPECT_EQ(status({TargetError::Kind::unreachable, "no route", {}}), "unreachable no route");
  EXPECT_EQ(status({TargetError::Kind::busy, "maintenance", std::chrono::milliseconds(1'500)}), "503 2");
  EXPECT_EQ(status({TargetError::Kind::unauthorized, "session over", {}}), "401 ");
  EXPECT_EQ(status({TargetError::Kind::start_over, "not for a push", {}}), "503 ");
  target->on_push = [](const auto&) -> TargetResult<Outcome> { throw std::runtime_error("a bug of the app"); };
  EXPECT_EQ(ask_push()->status, 503);
  EXPECT_NE(logged.back().find("a bug of the app"), std::string::npos);
  target->on_pull = [](const auto&) -> TargetResult<TargetPage> { throw 7; };
  EXPECT_EQ(ask_pull()->status, 503);
  EXPECT_EQ(device.outbox().size(), 1u);
}

TEST_F(BackendTarget, WhatCameBeforeAFailureInABatchCounts) {
  device.add("a", "one");
  device.add("b", "two");
  target->on_push = [&](const auto&) -> TargetResult<Outcome> {
    if (target->pushes.size() == 2) return retry_later("not now");
    return done();
  };
  EXPECT_EQ(push(2).applied, 1u);
  EXPECT_EQ(push(2).applied, 1u);
  ASSERT_EQ(target->pushes.size(), 3u);
  EXPECT_EQ(target->pushes[1].client_mutation_id, target->pushes[2].client_mutation_id);
}

TEST_F(BackendTarget, ARowThatDoesNotFitIsNamedAndNothingIsApplied) {
  const auto refused = [&](TargetPage page) {
    target->on_pull = [page](const auto&) { return page; };
    const auto answer = ask_pull();
    EXPECT_EQ(answer->status, 503);
    return answer->body;
  };
  const auto has = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(refused(TargetPage().changed_json("nowhere", "{}")), "nowhere");
  has(refused(TargetPage().changed_json("notes", R"({"id":"a","owner_id":"o1","body":7})")), "body");
  has(refused(TargetPage().changed_json("notes", R"({"id":"a","body":"b"})")), "owner_id");
  has(refused(TargetPage().changed_json("notes", "{")), "notes");
  has(refused(TargetPage().removed("notes", Value(std::int64_t{7}))), "key");
  has(refused(TargetPage().changed(table<notes::DeleteNote>("notes").key("id", &notes::DeleteNote::id), {"a"})),
      "1 columns instead of 3");
  EXPECT_TRUE(device.notes().empty());
}

TEST_F(BackendTarget, LaterArgumentsCarryTheIdThatTheBackendGave) {
  device.add("local", "one");
  target->on_push = [](const auto&) { return done().with_server_id("17"); };
  push();
  EXPECT_EQ(device.notes(), (NoteRows{{"17", "one"}}));
  device.edit("local", "two");
  target->on_push = [](const auto&) { return done(); };
  push();
  EXPECT_EQ(target->pushes.back().args, R"({"id":"17","body":"two"})");
}

TEST_F(BackendTarget, AnAbandonedMutationIsNotToldToTheTarget) {
  device.add("a", "one");
  target->on_push = [](const auto&) { return retry_later("not now"); };
  ask_push();
  ASSERT_TRUE(device.store().dead_letter(device.outbox()[0].client_mutation_id, "given_up", "for the test"));
  EXPECT_EQ(target->pushes.size(), 1u);
  push();
  EXPECT_EQ(target->pushes.size(), 1u);
  EXPECT_TRUE(pull().complete);
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_outbox"), "0");
}

TEST_F(BackendTarget, AServersCursorMeansStartingOver) {
  server.put("from the server", "s");
  device.sync(server);
  target->on_pull = [](const auto&) { return page_of({{"from the target", "t"}}, "1"); };
  while (!pull().complete) {
  }
  EXPECT_EQ(device.notes(), (NoteRows{{"from the target", "t"}}));
}

// The thread

struct TargetThread : BackendTarget {
  boost::asio::io_context io;
  std::unique_ptr<TargetTransport> transport = std::make_unique<TargetTransport>(io, std::move(adapter));
  Mailbox<std::string> answers;
  void send() {
    transport->send(request(protocol::kPullPath, ""), [this](Result<protocol::HttpResponse> answer) {
      answers.put(answer ? std::to_string(answer->status) : to_string(answer.error().code));
    });
  }
  /// Until an answer came.
  std::string next_answer() {
    const auto work = boost::asio::make_work_guard(io);
    while (answers.is_empty()) io.run_one();
    return *answers.take();
  }
};

TEST_F(TargetThread, OneCallAtATimeAlsoAfterACancelWhoseAnswerIsDropped) {
  std::atomic<int> running = 0, calls = 0;
  Gate entered, go_on;
  target->on_pull = [&](const auto&) {
    EXPECT_EQ(++running, 1);
    if (++calls == 1) {
      entered.open();
      EXPECT_TRUE(go_on.wait());
    }
    --running;
    return TargetPage();
  };
  send();
  ASSERT_TRUE(entered.wait());
  transport->cancel();
  EXPECT_EQ(*answers.take(), "closed");
  send();
  EXPECT_EQ(calls, 1);
  go_on.open();
  EXPECT_EQ(next_answer(), "200");
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(answers.is_empty());
}

TEST_F(TargetThread, ItsEndWaitsForTheCallThatIsRunning) {
  Gate entered, go_on;
  std::atomic<bool> has_ended = false, was_own_thread = false;
  target->on_pull = [&](const auto&) {
    was_own_thread = transport->is_own_thread();
    entered.open();
    EXPECT_TRUE(go_on.wait());
    has_ended = true;
    return TargetPage();
  };
  send();
  ASSERT_TRUE(entered.wait());
  std::thread opener([&] { go_on.open(); });
  transport.reset();
  EXPECT_TRUE(has_ended);
  EXPECT_TRUE(was_own_thread);
  EXPECT_TRUE(answers.is_empty());
  opener.join();
}

}  // namespace
}  // namespace nizhal::net
