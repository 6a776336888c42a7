// Tickets and sync modes as an app has them: real files, a real server, one process.
#include <gtest/gtest.h>

#include "net/store_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;
using notes::AddNote;
using notes::EditNote;
using Strings = std::vector<std::string>;

MutateOptions asking(milliseconds timeout = kDeadline) {
  return {.mode = SyncMode::server_authoritative, .timeout = timeout};
}
std::string told(const Outcome& outcome) { return outcome.is_done() ? "done" : outcome.code; }

struct Tickets : ::testing::Test {
  TempDir scratch;
  Running server{scratch.file("server.db")};
  Result<Store> opened = open_store(offline(device(scratch.file("one.db"), server.url())));
  Store& store() { return *opened; }
  void reopen(StoreOptions options) {
    opened = failure(ErrorCode::closed, "between two runs");
    opened = open_store(std::move(options));
    ASSERT_TRUE(opened) << opened.error().message;
  }
};
using SyncModes = Tickets;

TEST_F(Tickets, TheServersAnswerComesFirstAndThenThePull) {
  Mailbox<std::string> calls;
  const auto ticket = store().mutate("addNote", AddNote{.id = "a", .body = "followed"});
  ASSERT_TRUE(ticket) << ticket.error().message;
  ticket->on_confirmed([&](const Outcome& outcome) { calls.put("confirmed " + told(outcome)); });
  ticket->on_server([&](const Outcome& outcome) { calls.put("on server " + told(outcome)); });
  EXPECT_EQ(ticket->wait(Tier::on_device, milliseconds(0))->is_done(), true);
  EXPECT_EQ(ticket->wait(Tier::on_server, milliseconds(0)).error().code, ErrorCode::busy);
  ASSERT_TRUE(store().sync_now());
  EXPECT_EQ(calls.take(), "on server done");
  EXPECT_EQ(calls.take(), "confirmed done");
  EXPECT_TRUE(ticket->wait(Tier::confirmed, kDeadline)->is_done());
}

TEST_F(Tickets, ARefusalIsAnOutcomeAndARetryAndAnEditAreFollowedToo) {
  const auto ticket = store().mutate("addNote", AddNote{.id = "a", .body = "reject"});
  ASSERT_TRUE(store().sync_now());
  EXPECT_EQ(told(*ticket->wait(Tier::confirmed, kDeadline)), "refused_body");
  const auto again = store().retry(store().dead_letters()->front().id);
  ASSERT_TRUE(again) << again.error().message;
  ASSERT_TRUE(store().sync_now());
  EXPECT_EQ(told(*again->wait(Tier::on_server, kDeadline)), "refused_body");
  const auto edited = store().retry_with(store().dead_letters()->front().id, R"({"id":"a","body":"better"})");
  ASSERT_TRUE(edited) << edited.error().message;
  ASSERT_TRUE(store().sync_now());
  EXPECT_EQ(told(*edited->wait(Tier::confirmed, kDeadline)), "done");
  EXPECT_EQ(told(*ticket->wait(Tier::confirmed, kDeadline)), "refused_body") << "what became of it stays so";
}

TEST_F(Tickets, AfterARestartATicketIsFoundByItsId) {
  const std::string pending = store().mutate("addNote", AddNote{.id = "a", .body = "x"})->client_mutation_id;
  reopen(offline(device(scratch.file("one.db"), server.url())));
  const Ticket found = store().ticket(pending);
  EXPECT_EQ(found.wait(Tier::on_server, milliseconds(0)).error().code, ErrorCode::busy);
  ASSERT_TRUE(store().sync_now());
  EXPECT_EQ(told(*found.wait(Tier::confirmed, kDeadline)), "done");
  reopen(offline(device(scratch.file("one.db"), server.url())));
  EXPECT_EQ(told(*store().ticket(pending).wait(Tier::confirmed, kDeadline)), "done");
  EXPECT_EQ(store().ticket("never seen").wait(Tier::on_server, kDeadline).error().code, ErrorCode::not_found);
}

TEST_F(Tickets, ATicketThatOutlivesItsStoreIsClosed) {
  const auto ticket = store().mutate("addNote", AddNote{.id = "a", .body = "x"});
  Mailbox<ErrorCode> ended;
  std::thread waiter([&] { ended.put(ticket->wait(Tier::on_server, kDeadline).error().code); });
  opened = failure(ErrorCode::closed, "gone");
  EXPECT_EQ(ended.take(), ErrorCode::closed);
  waiter.join();
  EXPECT_EQ(ticket->wait(Tier::on_server, kDeadline).error().code, ErrorCode::closed);
  ticket->on_server([](const Outcome&) { ADD_FAILURE(); });
}

TEST_F(Tickets, WaitingInACallbackOfTheStoreIsAUsageError) {
  const auto ticket = store().mutate("addNote", AddNote{.id = "a", .body = "x"});
  Mailbox<ErrorCode> waited, mutated;
  ticket->on_server([&](const Outcome&) {
    waited.put(ticket->wait(Tier::confirmed, kDeadline).error().code);
    mutated.put(store().mutate("addNote", AddNote{.id = "b", .body = "x"}, asking()).error().code);
  });
  ASSERT_TRUE(store().sync_now());
  EXPECT_EQ(waited.take(), ErrorCode::usage);
  EXPECT_EQ(mutated.take(), ErrorCode::usage);
}

TEST_F(Tickets, AnotherHandleThatHoldsTheSyncRoleSettlesTheTicketsOfThisOne) {
  auto holder = open_store(device(scratch.file("one.db"), server.url()));
  ASSERT_TRUE(holder);
  ASSERT_TRUE(wait_for(*holder, [&] { return holder->status().last_synced.has_value(); }));
  store().set_online(true);
  ASSERT_TRUE(wait_for(store(), [&] { return store().status().standby; }));
  const auto done = store().mutate("addNote", AddNote{.id = "a", .body = "x"});
  const auto refused = store().mutate("addNote", AddNote{.id = "b", .body = "reject"});
  EXPECT_EQ(told(*done->wait(Tier::confirmed, kDeadline)), "done");
  EXPECT_EQ(told(*refused->wait(Tier::on_server, kDeadline)), "refused_body");
  EXPECT_TRUE(store().status().standby);
  // A mutation that waits for the server does so through the other handle.
  EXPECT_TRUE(store().mutate("addNote", AddNote{.id = "c", .body = "x"}, asking()));
  EXPECT_EQ(store().mutate("addNote", AddNote{.id = "d", .body = "reject"}, asking()).error().code, ErrorCode::refused);
  EXPECT_EQ(store().dead_letters()->size(), 1u) << "the caller has the refusal";
}

TEST_F(SyncModes, WithoutAServerLocalFirstWorksAndAServerAddedLaterGetsEverything) {
  reopen({.path = scratch.file("local.db"), .domain = notes::domain(), .actor = {.user_id = "u1", .owner_id = "o1"}});
  Ticket first = *store().mutate("addNote", AddNote{.id = "a", .body = "one"});
  ASSERT_TRUE(store().mutate("editNote", EditNote{.id = "a", .body = "two"}));
  ASSERT_TRUE(store().mutate("addNote", AddNote{.id = "b", .body = "three"}));
  EXPECT_EQ(bodies(store()), (Strings{"a=two", "b=three"}));
  EXPECT_EQ(store().status().connection, StoreStatus::Connection::local_only);
  EXPECT_EQ(store().status().pending, 3u);
  EXPECT_EQ(first.wait(Tier::on_server, milliseconds(0)).error().code, ErrorCode::busy);
  EXPECT_EQ(store().mutate("addNote", AddNote{.id = "c", .body = "x"}, asking()).error().code, ErrorCode::usage);
  const std::string id = first.client_mutation_id;
  reopen(device(scratch.file("local.db"), server.url()));
  EXPECT_EQ(told(*store().ticket(id).wait(Tier::confirmed, kDeadline)), "done");
  ASSERT_TRUE(wait_for(store(), [&] { return store().status().pending == 0; }));
  auto other = open_store(offline(device(scratch.file("two.db"), server.url())));
  ASSERT_TRUE(other->sync_now());
  EXPECT_EQ(bodies(*other), (Strings{"a=two", "b=three"}));
}

TEST_F(SyncModes, AMutationThatTheServerAppliedIsShownWhenMutateReturns) {
  store().set_online(true);
  const auto ticket = store().mutate("addNote", AddNote{.id = "a", .body = "asked"}, asking());
  ASSERT_TRUE(ticket) << ticket.error().message;
  EXPECT_EQ(bodies(store()), Strings{"a=asked"});
  EXPECT_EQ(told(*ticket->wait(Tier::on_server, milliseconds(0))), "done");
  EXPECT_EQ(told(*ticket->wait(Tier::confirmed, kDeadline)), "done");
}

TEST_F(SyncModes, AMutationThatTheServerRefusedLeavesNothing) {
  store().set_online(true);
  const auto refused = store().mutate("addNote", AddNote{.id = "a", .body = "reject"}, asking());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::refused);
  EXPECT_TRUE(refused.error().message.starts_with("refused_body: ")) << refused.error().message;
  EXPECT_TRUE(store().dead_letters()->empty());
  EXPECT_TRUE(store().outbox()->empty());
  EXPECT_EQ(bodies(store()), Strings{});
}

TEST_F(SyncModes, OfflineNothingIsKept) {
  const auto refused = store().mutate("addNote", AddNote{.id = "a", .body = "asked"}, asking());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unreachable);
  EXPECT_TRUE(store().outbox()->empty());
  ASSERT_TRUE(store().sync_now());
  EXPECT_EQ(bodies(store()), Strings{});
}

TEST_F(SyncModes, AnUnreachableServerIsToldAtOnceAndNothingIsKept) {
  server.stop();
  ASSERT_TRUE(store().mutate("addNote", AddNote{.id = "a", .body = "kept"}));
  store().set_online(true);
  const auto refused = store().mutate("addNote", AddNote{.id = "b", .body = "asked"}, asking());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unreachable);
  EXPECT_EQ(store().outbox()->size(), 1u);
  EXPECT_EQ(bodies(store()), Strings{"a=kept"});
  Running again(scratch.file("server.db"), server.port());
  ASSERT_TRUE(store().sync_now());
  EXPECT_EQ(bodies(store()), Strings{"a=kept"}) << "nor was it sent later";
  EXPECT_TRUE(store().dead_letters()->empty());
}

TEST_F(SyncModes, TheModeOfTheStoreHoldsAndWhatIsPendingGoesBefore) {
  ASSERT_TRUE(store().mutate("addNote", AddNote{.id = "a", .body = "one"}));
  StoreOptions options = device(scratch.file("one.db"), server.url());
  options.mode = SyncMode::server_authoritative;
  reopen(options);
  const auto ticket = store().mutate("editNote", EditNote{.id = "a", .body = "two"});
  ASSERT_TRUE(ticket) << ticket.error().message;
  EXPECT_EQ(bodies(store()), Strings{"a=two"});
  ASSERT_TRUE(store().mutate("editNote", EditNote{.id = "a", .body = "three"}, {.mode = SyncMode::local_first}));
  EXPECT_EQ(bodies(store()), Strings{"a=three"});
}

/// A server that answers pushes as the test says, and pulls not at all.
struct OddServer {
  explicit OddServer(std::function<protocol::HttpResponse()> push) {
    service.answer = [push = std::move(push)](const protocol::HttpRequest& request) {
      return request.path == protocol::kPushPath ? push() : text_response(503, "{}");
    };
  }
  FakeService service;
  TestServer server{service};
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server.port()); }
};

TEST_F(SyncModes, NoAnswerInTimeIsAnUnknownOutcomeThatIsSettledLater) {
  Gate release;
  {
    OddServer silent([&] {
      release.wait();
      return text_response(503, "{}");
    });
    reopen(device(scratch.file("one.db"), silent.url()));
    auto unknown = store().mutate("addNote", AddNote{.id = "a", .body = "asked"}, asking(milliseconds(300)));
    // On a busy machine it may not even be sent in that time: then nothing is kept, and it is given longer.
    for (milliseconds longer{600}; !unknown && unknown.error().code == ErrorCode::unreachable && longer < kDeadline;
         longer *= 2) {
      EXPECT_TRUE(store().outbox()->empty());
      unknown = store().mutate("addNote", AddNote{.id = "a", .body = "asked"}, asking(longer));
    }
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, ErrorCode::outcome_unknown);
    EXPECT_EQ(store().outbox()->size(), 1u) << "it stays";
    EXPECT_EQ(bodies(store()), Strings{}) << "unseen";
    const std::string id = store().outbox()->front().client_mutation_id;
    EXPECT_NE(unknown.error().message.find(id), std::string::npos) << unknown.error().message;
    release.open();
  }
  reopen(device(scratch.file("one.db"), server.url()));
  EXPECT_TRUE(wait_for(store(), [&] { return bodies(store()) == Strings{"a=asked"}; }));
}

TEST_F(SyncModes, AnAppThatIsTooOldIsToldAndNothingIsKept) {
  OddServer strict([] { return text_response(426, R"({"error":"too old","code":"upgrade_required"})"); });
  reopen(device(scratch.file("one.db"), strict.url()));
  const auto refused = store().mutate("addNote", AddNote{.id = "a", .body = "asked"}, asking());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::upgrade_required);
  EXPECT_TRUE(store().outbox()->empty());
  EXPECT_TRUE(store().status().upgrade_required);
}

TEST_F(SyncModes, ATokenThatIsRefusedIsToldAndNothingIsKept) {
  StoreOptions options = device(scratch.file("one.db"), server.url());
  options.token = [] { return std::string("nonsense"); };
  reopen(options);
  const auto refused = store().mutate("addNote", AddNote{.id = "a", .body = "asked"}, asking());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unauthorized);
  EXPECT_TRUE(store().outbox()->empty());
}

}  // namespace
}  // namespace nizhal::net
