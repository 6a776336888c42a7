// The state machine with its outside played by the test: requests are answered when the test says so.
#include "client/client_sync.hpp"

#include "client/client_sync_test_support.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {
namespace {

using std::chrono::milliseconds;
using testing::Device;
using testing::FakeServer;
using testing::NoteRows;
using testing::Runtime;
using testing::World;

struct ClientSyncTest : World {
  Runtime runtime{device, clock, {.server = "http://localhost:1", .has_token = false}};
  Runtime with_token() { return Runtime(device, clock, {.server = "http://localhost:1", .has_token = true}); }
};
using Sync = ClientSyncTest;
using Trap = World;

TEST_F(Sync, PushesFirstThenPullsAndRestsWithATimerAndASocket) {
  device.add("n1", "mine");
  server.put("n2", "theirs");
  runtime.handle(Started{});
  EXPECT_TRUE(runtime.is_push());
  EXPECT_EQ(runtime.requests.size(), 1u) << "one request at a time";
  EXPECT_TRUE(runtime.status().syncing);
  runtime.run(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "mine"}, {"n2", "theirs"}}));
  EXPECT_EQ(runtime.status().connection, StoreStatus::Connection::online);
  EXPECT_FALSE(runtime.status().syncing);
  EXPECT_EQ(runtime.status().pending, 0u);
  ASSERT_TRUE(runtime.timers.contains(TimerId::pull));
  EXPECT_GE(runtime.timers[TimerId::pull].count(), 27'000);
  EXPECT_LE(runtime.timers[TimerId::pull].count(), 33'000);
  ASSERT_EQ(runtime.sockets.size(), 1u);
  EXPECT_EQ(runtime.sockets[0].path, "/sync/stream");
}

TEST_F(Sync, RequestsNameTheContractVersionAndTheToken) {
  Runtime tokened = with_token();
  tokened.handle(Started{});
  EXPECT_TRUE(tokened.requests.empty());
  ASSERT_EQ(tokened.token_asks.size(), 1u);
  EXPECT_FALSE(tokened.token_asks[0].after_refusal);
  tokened.handle(TokenFetched{"secret"});
  const SendRequest request = tokened.take();
  EXPECT_EQ(request.http.method, "POST");
  EXPECT_EQ(request.http.header("authorization"), "Bearer secret");
  EXPECT_EQ(request.http.header("x-nizhal-contract-version"), "1.0.0");
}

TEST_F(Sync, SyncNowWithoutBeingOnlineDoesOneRoundAndGoesBackToRest) {
  device.add("n1", "mine");
  device.add("n2", "reject");
  server.put("n3", "theirs");
  runtime.handle(SyncRequested{});
  runtime.run(server);
  ASSERT_EQ(runtime.finishes.size(), 1u);
  ASSERT_TRUE(runtime.finishes[0]) << runtime.finishes[0].error().message;
  const SyncReport report = *runtime.finishes[0];
  EXPECT_EQ(report.applied, 1u);
  EXPECT_EQ(report.rejected, 1u) << "a refusal is no failure of the sync";
  EXPECT_EQ(report.pulled_rows, 2u);
  EXPECT_EQ(report.pending, 0u);
  EXPECT_EQ(report.dead_letters, 1u);
  EXPECT_TRUE(runtime.sockets.empty());
  EXPECT_TRUE(runtime.timers.empty());
  runtime.handle(Mutated{});
  EXPECT_TRUE(runtime.requests.empty()) << "nobody went online";
}

TEST_F(Sync, SyncNowFailsAtOnceWhenTheServerCannotBeReachedAndKeepsEverything) {
  device.add("n1", "mine");
  runtime.handle(SyncRequested{});
  runtime.cut();
  ASSERT_EQ(runtime.finishes.size(), 1u);
  ASSERT_FALSE(runtime.finishes[0]);
  EXPECT_EQ(runtime.finishes[0].error().code, ErrorCode::unreachable);
  EXPECT_NE(runtime.finishes[0].error().message.find("http://localhost:1"), std::string::npos);
  EXPECT_EQ(device.outbox().size(), 1u);
  EXPECT_NE(device.outbox()[0].last_error.find("connection refused"), std::string::npos);
  runtime.handle(SyncRequested{});
  runtime.run(server);
  ASSERT_EQ(runtime.finishes.size(), 2u);
  EXPECT_TRUE(runtime.finishes[1]);
}

TEST_F(Sync, ALocalOnlyStoreSaysSo) {
  Runtime local(device, clock, {.server = ""});
  local.handle(Started{});
  local.handle(Mutated{});
  EXPECT_TRUE(local.requests.empty());
  EXPECT_EQ(local.status().connection, StoreStatus::Connection::local_only);
  local.handle(SyncRequested{});
  ASSERT_EQ(local.finishes.size(), 1u);
  EXPECT_EQ(local.finishes[0].error().code, ErrorCode::usage);
}

TEST_F(Sync, TransientFailuresAreRetriedForEverWithABoundedBackoffAndNeverDeadLettered) {
  device.add("n1", "mine");
  runtime.handle(Started{});
  const std::vector<int> statuses{408, 409, 425, 429, 500, 502, 503, 504, 404, 302};
  for (int i = 0; i < 40; ++i) {
    if (i % 4 == 3) {
      runtime.cut();
    } else {
      runtime.answer(statuses[static_cast<std::size_t>(i) % statuses.size()]);
    }
    ASSERT_TRUE(runtime.timers.contains(TimerId::retry));
    EXPECT_LE(runtime.timers[TimerId::retry], Tuning{}.backoff_max);
    EXPECT_TRUE(runtime.requests.empty());
    runtime.fire(TimerId::retry);
    ASSERT_FALSE(runtime.requests.empty());
  }
  EXPECT_FALSE(runtime.status().last_error.empty());
  EXPECT_TRUE(device.dead_letters().empty());
  runtime.run(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "mine"}}));
  EXPECT_EQ(runtime.status().last_error, "");
}

TEST_F(Sync, RetryAfterIsHonoured) {
  runtime.handle(Started{});
  runtime.answer(503, protocol::encode_error("busy", "later"), {{"retry-after", "42"}});
  EXPECT_GE(runtime.timers[TimerId::retry], milliseconds(42'000));
}

TEST_F(Sync, ABackoffIsForgottenWhenTheUserAsksToSync) {
  runtime.handle(Started{});
  runtime.answer(503, "", {{"retry-after", "42"}});
  runtime.handle(SyncRequested{});
  EXPECT_FALSE(runtime.timers.contains(TimerId::retry));
  runtime.run(server);
  ASSERT_EQ(runtime.finishes.size(), 1u);
  EXPECT_TRUE(runtime.finishes[0]);
}

TEST_F(Sync, AWriteRefusedForNowDoesNotStopReading) {
  device.add("n1", "mine");
  server.put("n2", "theirs");
  runtime.handle(Started{});
  runtime.answer(503);
  runtime.fire(TimerId::retry);
  EXPECT_FALSE(runtime.is_push()) << "the pull has its turn";
  runtime.handle(Answered{runtime.requests.front().request, server.handle(runtime.take().http)});
  EXPECT_EQ(device.notes().size(), 2u);
  EXPECT_TRUE(runtime.is_push());
}

TEST_F(Trap, AnExpiredTokenDeadLettersNothing) {  // 14
  device.add("n1", "mine");
  device.add("n2", "mine too");
  Runtime tokened(device, clock, {.server = "http://localhost:1", .has_token = true});
  tokened.handle(Started{});
  tokened.handle(TokenFetched{"expired"});
  tokened.answer(401, protocol::encode_error("unauthorized", "expired"));
  ASSERT_EQ(tokened.token_asks.size(), 2u);
  EXPECT_TRUE(tokened.token_asks[1].after_refusal);
  tokened.handle(TokenFetched{"expired too"});
  tokened.answer(401, protocol::encode_error("unauthorized", "expired"));
  EXPECT_TRUE(device.dead_letters().empty());
  EXPECT_EQ(device.outbox().size(), 2u);
  EXPECT_EQ(tokened.status().connection, StoreStatus::Connection::offline);
  EXPECT_NE(tokened.status().last_error.find("401"), std::string::npos);
  tokened.fire(TimerId::retry);
  tokened.handle(TokenFetched{"fresh"});
  tokened.run(server);
  EXPECT_EQ(server.notes().size(), 2u);
  EXPECT_TRUE(device.outbox().empty());
}

TEST_F(Sync, SyncNowWithARefusedTokenIsUnauthorized) {
  Runtime tokened = with_token();
  tokened.handle(SyncRequested{});
  for (int i = 0; i < 2; ++i) {
    tokened.handle(TokenFetched{"expired"});
    tokened.answer(401, protocol::encode_error("unauthorized", "expired"));
  }
  ASSERT_EQ(tokened.finishes.size(), 1u);
  EXPECT_EQ(tokened.finishes[0].error().code, ErrorCode::unauthorized);
}

TEST_F(Sync, AnUpgradeIsRequiredForWritingButReadingGoesOn) {
  device.add("n1", "mine");
  server.put("n2", "theirs");
  runtime.handle(Started{});
  runtime.answer(426, R"({"error":"too old","code":"upgrade_required"})");
  EXPECT_FALSE(runtime.is_push());
  runtime.run(server);
  EXPECT_TRUE(runtime.status().upgrade_required);
  EXPECT_EQ(device.notes().size(), 2u);
  EXPECT_EQ(device.outbox().size(), 1u);
  runtime.handle(Mutated{});
  EXPECT_TRUE(runtime.requests.empty());
  runtime.handle(SyncRequested{});
  EXPECT_TRUE(runtime.is_push());
  runtime.answer(426, R"({"error":"too old","code":"upgrade_required"})");
  runtime.run(server);
  ASSERT_EQ(runtime.finishes.size(), 1u);
  EXPECT_EQ(runtime.finishes[0].error().code, ErrorCode::upgrade_required);
}

TEST_F(Sync, ABodyThatTheServerCannotTakeIsSplitDownToTheOneMutation) {
  for (int i = 0; i < 8; ++i) device.add("n" + std::to_string(i), i == 5 ? "poison" : "fine");
  server.poison = "poison";
  runtime.handle(SyncRequested{});
  runtime.run(server);
  ASSERT_EQ(runtime.finishes.size(), 1u);
  ASSERT_TRUE(runtime.finishes[0]);
  EXPECT_EQ(server.notes().size(), 7u);
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_EQ(device.dead_letters()[0].code, "bad_request");
  EXPECT_EQ(device.notes(), server.notes());
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_outbox"), "0") << "the skip is settled too";
}

TEST_F(Sync, ATooLargeBatchIsSplitAndNothingIsLost) {
  for (int i = 0; i < 20; ++i) device.add("n" + std::to_string(i), "fine");
  server.body_mutations_max = 3;
  runtime.handle(SyncRequested{});
  runtime.run(server);
  EXPECT_EQ(server.notes().size(), 20u);
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(Sync, AnAnswerThatIsNoJsonIsTransient) {
  device.add("n1", "mine");
  runtime.handle(Started{});
  runtime.answer(200, "<html>Welcome to the hotel</html>");
  EXPECT_TRUE(runtime.timers.contains(TimerId::retry));
  EXPECT_EQ(device.outbox().size(), 1u);
  runtime.fire(TimerId::retry);
  runtime.run(server);
  EXPECT_EQ(server.notes().size(), 1u);
}

TEST_F(Sync, AStatusSaysWhatAResultWould) {
  device.add("n1", "mine");
  const std::string old_id = device.store().client_id();
  runtime.handle(Started{});
  runtime.answer(403, protocol::encode_error("client_id_taken", "somebody else's"));
  EXPECT_NE(device.store().client_id(), old_id);
  runtime.run(server);
  EXPECT_EQ(server.notes().size(), 1u);
}

TEST_F(Sync, NumberingAnewWithoutEndBacksOff) {
  device.add("n1", "mine");
  runtime.handle(Started{});
  int pushes = 0;
  for (; pushes < 50 && !runtime.requests.empty(); ++pushes) {
    if (!runtime.is_push()) {
      runtime.run(server);
      break;
    }
    runtime.answer(403, protocol::encode_error("client_id_taken", "somebody else's"));
  }
  EXPECT_LT(pushes, 10);
  EXPECT_TRUE(runtime.timers.contains(TimerId::retry));
  EXPECT_EQ(device.outbox().size(), 1u);
}

TEST_F(Sync, ALostReplyIsFollowedUpUntilTheOutcomeIsKnown) {
  device.add("n1", "reject");
  runtime.handle(Started{});
  const SendRequest lost = runtime.take();
  server.handle(lost.http);
  runtime.handle(Failed{lost.request, "timed out"});
  runtime.fire(TimerId::retry);
  runtime.run(server);
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_TRUE(device.outbox().empty());
}

TEST_F(Sync, WhatARestoredServerForgotIsPushedByItselfWhenAPullNoticesIt) {
  device.add("n1", "a");
  runtime.handle(Started{});
  runtime.run(server);
  const auto saved = server.clients;
  device.add("n2", "b");
  runtime.handle(Mutated{});
  ASSERT_TRUE(runtime.is_push());
  const SendRequest push = runtime.take();
  runtime.handle(Answered{push.request, server.handle(push.http)});
  ASSERT_EQ(device.outbox().size(), 1u) << "applied, and not yet covered by a pull";
  server.clients = saved;
  server.records.clear();
  server.ids.clear();
  server.epoch = "epoch-2";
  server.remove("n2");
  runtime.run(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "a"}, {"n2", "b"}}));
  EXPECT_EQ(runtime.status().pending, 0u);
}

TEST_F(Sync, PokesDuringAPullMakeOneMore) {
  runtime.handle(Started{});
  const SendRequest first = runtime.take();
  for (int i = 0; i < 5; ++i) runtime.handle(SocketFrame{"repull:o1"});
  EXPECT_TRUE(runtime.requests.empty());
  runtime.handle(Answered{first.request, server.handle(first.http)});
  EXPECT_EQ(runtime.requests.size(), 1u);
  runtime.run(server);
  EXPECT_EQ(server.pulls, 2u);
  runtime.handle(SocketFrame{"presence:state:{}"});
  EXPECT_TRUE(runtime.requests.empty());
}

TEST_F(Sync, AClosedSocketIsReopenedAfterAJitteredWhileAndThenPulls) {
  runtime.handle(Started{});
  runtime.run(server);
  ASSERT_EQ(runtime.sockets.size(), 1u);
  runtime.handle(SocketOpened{});
  EXPECT_EQ(runtime.requests.size(), 1u) << "pokes from before it opened went nowhere";
  runtime.run(server);
  runtime.handle(SocketClosed{"1013"});
  ASSERT_TRUE(runtime.timers.contains(TimerId::socket));
  EXPECT_LE(runtime.timers[TimerId::socket], Tuning{}.reconnect_base);
  runtime.fire(TimerId::socket);
  EXPECT_EQ(runtime.sockets.size(), 2u);
}

TEST_F(Sync, AReconnectAsksForAFreshToken) {
  Runtime tokened = with_token();
  tokened.handle(Started{});
  tokened.handle(TokenFetched{"first"});
  tokened.run(server);
  ASSERT_EQ(tokened.sockets.size(), 1u);
  EXPECT_EQ(tokened.sockets[0].token, "first");
  tokened.handle(SocketClosed{"1008"});
  tokened.fire(TimerId::socket);
  EXPECT_EQ(tokened.sockets.size(), 1u);
  tokened.handle(TokenFetched{"second"});
  ASSERT_EQ(tokened.sockets.size(), 2u);
  EXPECT_EQ(tokened.sockets[1].token, "second");
}

TEST_F(Sync, OfflineMeansNoTrafficUntilOnlineAgain) {
  runtime.handle(Started{});
  runtime.run(server);
  runtime.handle(SocketOpened{});
  runtime.run(server);
  runtime.handle(WentOffline{});
  EXPECT_EQ(runtime.sockets_closed, 1);
  EXPECT_TRUE(runtime.timers.empty());
  device.add("n1", "mine");
  runtime.handle(Mutated{});
  EXPECT_TRUE(runtime.requests.empty());
  EXPECT_EQ(runtime.status().connection, StoreStatus::Connection::offline);
  EXPECT_EQ(runtime.status().pending, 1u);
  runtime.handle(WentOnline{});
  EXPECT_TRUE(runtime.is_push());
  runtime.run(server);
  EXPECT_EQ(server.notes().size(), 1u);
}

TEST_F(Sync, AStoreThatStartsOfflineStaysSo) {
  runtime.handle(WentOffline{});
  runtime.handle(Started{});
  EXPECT_TRUE(runtime.requests.empty());
  runtime.handle(WentOnline{});
  EXPECT_FALSE(runtime.requests.empty());
}

TEST_F(Sync, AStoppedMachineDoesNothingMore) {
  runtime.handle(Started{});
  const SendRequest request = runtime.take();
  runtime.handle(Stopped{});
  runtime.handle(Answered{request.request, server.handle(request.http)});
  runtime.handle(Mutated{});
  EXPECT_TRUE(runtime.requests.empty());
  EXPECT_TRUE(runtime.timers.empty());
}

TEST_F(Sync, AStreamOfWritesDoesNotHoldUpThePull) {
  for (int i = 0; i < 40; ++i) device.add("n" + std::to_string(i), "x");
  server.body_mutations_max = 1;
  runtime.handle(Started{});
  std::size_t pushes_before_pull = 0;
  while (server.pulls == 0 && pushes_before_pull < 100) {
    pushes_before_pull += runtime.is_push() ? 1 : 0;
    const SendRequest request = runtime.take();
    runtime.handle(Answered{request.request, server.handle(request.http)});
  }
  EXPECT_LE(pushes_before_pull, 20u);
}

TEST_F(Sync, ProgressOfABackfillIsInTheStatus) {
  runtime.handle(Started{});
  runtime.answer(200, R"({"changed":[],"tombstoned":[],"removed":[],"removedBuckets":[],"cursor":"c","hasMore":true,)"
                      R"("epoch":"epoch-1","progress":{"rows":10,"total":40}})");
  EXPECT_EQ(runtime.status().progress_rows, 10u);
  EXPECT_EQ(runtime.status().progress_total, 40u);
  runtime.run(server);
  EXPECT_FALSE(runtime.status().progress_rows);
}

}  // namespace
}  // namespace nizhal::client
