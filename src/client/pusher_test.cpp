// Push and what becomes of it: outcomes, dead letters, holes, clones, restored servers, clocks.
#include "client/pusher.hpp"

#include "client/client_test_support.hpp"

namespace nizhal::client {
namespace {

using protocol::PushStatus;
using testing::Device;
using testing::NoteRows;
using testing::World;

using Push = World;
using Trap = World;

protocol::PushReply answer(const protocol::PushRequest& request, PushStatus status) {
  protocol::PushReply reply;
  for (const protocol::PushMutation& mutation : request.mutations) {
    protocol::PushResult result;
    result.client_mutation_id = mutation.client_mutation_id;
    result.status = status;
    reply.results.push_back(std::move(result));
  }
  return reply;
}

TEST_F(Push, GivesContiguousIdsDurablyAtTheFirstSend) {
  device.add("n1", "a");
  device.add("n2", "b");
  auto request = device.store().next_push(100, 1 << 20);
  ASSERT_TRUE(request);
  ASSERT_EQ(request->mutations.size(), 2u);
  EXPECT_EQ(number(*request->mutations[0].mutation_id), 1u);
  EXPECT_EQ(number(*request->mutations[1].mutation_id), 2u);
  EXPECT_EQ(request->mutations[0].client_id, device.store().client_id());
  device.reopen();
  device.add("n3", "c");
  request = device.store().next_push(100, 1 << 20);
  ASSERT_TRUE(request);
  EXPECT_EQ(number(*request->mutations[0].mutation_id), 1u);
  EXPECT_EQ(number(*request->mutations[2].mutation_id), 3u);
}

TEST_F(Push, IsBoundedByCountAndBytesButAlwaysMakesProgress) {
  device.add("n1", std::string(5'000, 'x'));
  device.add("n2", "b");
  device.add("n3", "c");
  EXPECT_EQ(device.store().next_push(2, 1 << 20)->mutations.size(), 2u);
  EXPECT_EQ(device.store().next_push(100, 1'000)->mutations.size(), 1u);
}

TEST_F(Push, AnEntryLeavesOnlyWhenItsOutcomeIsKnownAndAPullCoveredIt) {
  device.add("n1", "a");
  device.push(server);
  ASSERT_EQ(device.outbox().size(), 1u);
  EXPECT_FALSE(device.push(server)) << "what is settled is not sent again";
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "a"}}));
  device.pull(server);
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "a"}}));
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_undo"), "0");
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_sent"), "0");
}

TEST_F(Push, ALostReplyIsMadeUpForByAskingAgainAndNothingRunsTwice) {
  device.add("n1", "a");
  device.push(server, Device::Reply::is_lost);
  EXPECT_EQ(device.outbox()[0].last_error, "the reply was lost");
  const auto applied = device.pull(server);
  EXPECT_TRUE(applied.outcome_wanted);
  ASSERT_EQ(device.outbox().size(), 1u);
  EXPECT_TRUE(device.outbox()[0].covered);
  device.reopen();
  EXPECT_TRUE(device.push(server));
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_EQ(server.runs.size(), 1u);
  EXPECT_EQ(device.last_settled.applied, 1u);
}

TEST_F(Trap, ARefusalWhoseReplyIsLostIsNotConfirmedAway) {  // 24
  device.add("n1", "reject");
  device.push(server, Device::Reply::is_lost);
  device.pull(server);
  EXPECT_TRUE(device.notes().empty()) << "a pull covered it: it is no longer re-run";
  EXPECT_TRUE(device.dead_letters().empty()) << "but nobody knows yet what became of it";
  ASSERT_EQ(device.outbox().size(), 1u);
  device.reopen();
  device.sync(server);
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_EQ(device.dead_letters()[0].code, "refused_body");
  EXPECT_TRUE(device.outbox().empty());
}

TEST_F(Trap, ARefusedInsertDoesNotStayOnTheDevice) {  // 13
  device.add("n1", "reject");
  device.add("n2", "stays");
  device.edit("n1", "edited on top");
  EXPECT_EQ(device.notes().size(), 2u);
  device.push(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n2", "stays"}})) << "at once, and with what was built on it";
  device.sync(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n2", "stays"}}));
  EXPECT_EQ(device.dead_letters().size(), 2u);
}

TEST_F(Push, ARefusedEditGivesBackExactlyWhatWasThere) {
  server.put("n1", "original");
  device.pull(server);
  server.remove("n1");
  device.edit("n1", "mine");
  device.edit("n1", "mine again");
  EXPECT_EQ(device.notes()["n1"], "mine again");
  device.push(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "original"}})) << "until the pull tells of the removal";
  device.sync(server);
  EXPECT_TRUE(device.notes().empty());
}

TEST_F(Push, ARefusalDoesNotWedgeTheQueueAndTakesItsDependentsAlong) {
  const std::string first = device.add("n1", "reject");
  auto request = device.store().next_push(1, 1 << 20);
  const std::string second = device.add("n2", "b", {.depends_on = {first}});
  device.add("n3", "c", {.depends_on = {second}});
  device.add("n4", "d");
  auto settled = device.store().settle_push(*request, server.push(*request));
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->rejected, 3u);
  EXPECT_TRUE(settled->send_again);
  const auto letters = device.dead_letters();
  ASSERT_EQ(letters.size(), 3u);
  EXPECT_EQ(letters[0].code, "refused_body");
  EXPECT_EQ(letters[1].code, "dependency_rejected");
  EXPECT_NE(letters[1].message.find(first), std::string::npos);
  EXPECT_EQ(letters[1].depends_on, std::vector<std::string>{first});
  EXPECT_NE(letters[2].message.find(second), std::string::npos);
  EXPECT_EQ(device.notes(), (NoteRows{{"n4", "d"}}));
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n4", "d"}}));
}

TEST_F(Push, ADependentThatWasSentIsRefusedByTheServerItself) {
  const std::string first = device.add("n1", "reject");
  device.add("n2", "b", {.depends_on = {first}});
  device.sync(server);
  const auto letters = device.dead_letters();
  ASSERT_EQ(letters.size(), 2u);
  EXPECT_EQ(letters[1].code, "dependency_rejected");
  EXPECT_TRUE(device.notes().empty());
}

TEST_F(Push, DeadLettersSurviveReopeningAndCanBeEditedAndRetriedWithTheirIdSeed) {
  const std::string first = device.add("n1", "reject");
  const std::string seed = device.sql_text("SELECT id_seed FROM nizhal_outbox");
  device.sync(server);
  device.reopen();
  const auto letters = device.dead_letters();
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(device.store().counts()->dead_letters, 1u);
  const auto ticket = device.store().retry(letters[0].id, R"({"id":"n1","body":"better"})");
  ASSERT_TRUE(ticket) << ticket.error().message;
  EXPECT_NE(ticket->client_mutation_id, first);
  EXPECT_EQ(device.sql_text("SELECT id_seed FROM nizhal_outbox"), seed);
  EXPECT_TRUE(device.dead_letters().empty());
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "better"}}));
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "better"}}));
}

TEST_F(Push, ARetriedDeadLettersDependentsFollowItUnderItsNewId) {
  const std::string first = device.add("n1", "reject");
  device.add("n2", "b", {.depends_on = {first}});
  device.sync(server);
  auto letters = device.dead_letters();
  ASSERT_EQ(letters.size(), 2u);
  const auto early = device.store().retry(letters[1].id, std::nullopt);
  ASSERT_FALSE(early) << "its reason is still there";
  EXPECT_EQ(early.error().code, ErrorCode::refused);
  ASSERT_TRUE(device.store().retry(letters[0].id, R"({"id":"n1","body":"fine"})"));
  ASSERT_TRUE(device.store().retry(letters[1].id, std::nullopt));
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "fine"}, {"n2", "b"}}));
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(Push, ADiscardedDeadLetterIsGoneAndAnUnknownOneIsNamed) {
  device.add("n1", "reject");
  device.sync(server);
  ASSERT_TRUE(device.store().discard(device.dead_letters()[0].id));
  EXPECT_TRUE(device.dead_letters().empty());
  const auto again = device.store().discard(7);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::not_found);
}

TEST_F(Push, TransientResultsKeepEverything) {
  device.add("n1", "a");
  for (const PushStatus status : {PushStatus::retry, PushStatus::not_tried}) {
    const auto request = device.store().next_push(100, 1 << 20);
    const auto settled = device.store().settle_push(*request, answer(*request, status));
    ASSERT_TRUE(settled);
    EXPECT_EQ(settled->retry_later, status == PushStatus::retry);
    EXPECT_EQ(device.outbox().size(), 1u);
  }
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "a"}}));
}

TEST_F(Trap, AnAbandonedEntryLeavesNoHoleInTheIds) {  // 26
  const std::string first = device.add("n1", "a");
  device.add("n2", "b", {.depends_on = {first}});
  device.add("n3", "c");
  ASSERT_TRUE(device.store().next_push(100, 1 << 20));  // ids are given, nothing arrives
  ASSERT_TRUE(device.store().dead_letter(first, "too_large", "the server cannot take it"));
  EXPECT_EQ(device.notes(), (NoteRows{{"n3", "c"}}));
  ASSERT_EQ(device.dead_letters().size(), 2u);
  EXPECT_EQ(device.dead_letters()[1].code, "dependency_rejected");
  EXPECT_EQ(device.outbox().size(), 1u) << "skips are not shown";
  device.reopen();
  const auto request = device.store().next_push(100, 1 << 20);
  ASSERT_EQ(request->mutations.size(), 3u);
  EXPECT_EQ(request->mutations[0].name, protocol::kSkip);
  EXPECT_EQ(request->mutations[0].client_mutation_id, first);
  EXPECT_EQ(number(*request->mutations[0].mutation_id), 1u);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n3", "c"}}));
  EXPECT_EQ(server.clients[device.store().client_id()].last, 3u);
}

TEST_F(Push, ASkipLearnsThatItsMutationHadBeenApplied) {
  const std::string first = device.add("n1", "a");
  device.push(server, Device::Reply::is_lost);
  ASSERT_TRUE(device.store().dead_letter(first, "bad_request", "the server cannot take it"));
  device.sync(server);
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_EQ(device.dead_letters()[0].code, "applied_after_all");
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "a"}})) << "the pull brought it";
}

TEST_F(Push, ASkipWhoseReplyIsLostSaysNothingOfTheMutation) {
  const std::string first = device.add("n1", "a");
  ASSERT_TRUE(device.store().next_push(100, 1 << 20));
  ASSERT_TRUE(device.store().dead_letter(first, "too_large", "the server cannot take it"));
  device.push(server, Device::Reply::is_lost);
  device.sync(server);
  EXPECT_EQ(device.dead_letters()[0].code, "too_large");
}

TEST_F(Push, AServerIdReplacesTheDevicesAndWhatFollowsIsResolved) {
  device.add("n1", "a");
  server.give_server_id = "server-1";
  auto request = device.store().next_push(100, 1 << 20);
  device.edit("n1", "edited");
  ASSERT_TRUE(device.store().settle_push(*request, server.push(*request)));
  EXPECT_EQ(device.notes(), (NoteRows{{"server-1", "edited"}})) << "at once, with what is pending";
  device.sync(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"server-1", "edited"}}));
  EXPECT_EQ(server.notes(), device.notes());
}

struct Copies : World {
  /// The device's file as a phone backup has it.
  void back_up() {
    device.close();
    std::filesystem::copy_file(folder.file("a.db"), folder.file("backup.db"));
    device.open();
  }
  std::unique_ptr<Device> restore() { return std::make_unique<Device>(folder.file("backup.db"), clock, 77); }
};
using Clone = Copies;

TEST_F(Clone, ARestoredPhoneKeepsItsUnsentWorkThoughTheServersLastIdIsHigher) {  // trap 25
  device.add("n1", "a");
  device.sync(server);
  device.add("n2", "only in the backup's outbox, later sent by the original too");
  back_up();
  device.sync(server);
  device.add("n3", "c");
  device.sync(server);
  auto copy = restore();
  copy->add("n4", "made after the restore");
  const std::string old_id = copy->store().client_id();
  const auto applied = copy->pull(server);
  EXPECT_TRUE(applied.identity_changed);
  EXPECT_NE(copy->store().client_id(), old_id);
  copy->sync(server);
  EXPECT_EQ(server.notes().size(), 4u);
  EXPECT_EQ(copy->notes(), server.notes());
  EXPECT_TRUE(copy->dead_letters().empty());
  EXPECT_EQ(server.runs.size(), 4u) << "nothing ran twice";
}

TEST_F(Clone, IsNoticedOnPushByTheOtherClientMutationId) {
  back_up();
  device.add("n1", "original");
  device.sync(server);
  auto copy = restore();
  copy->add("n2", "copy");
  copy->push(server);  // id 1 was used by the original
  EXPECT_TRUE(copy->last_settled.send_again);
  copy->sync(server);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "original"}, {"n2", "copy"}}));
  EXPECT_NE(copy->store().client_id(), device.store().client_id());
}

TEST_F(Clone, IsNoticedOnPullWhenTheIdsAreEqualButTheirMutationsAreNot) {
  device.add("n0", "before");
  device.sync(server);
  back_up();
  device.add("n1", "original");
  device.sync(server);
  auto copy = restore();
  copy->add("n2", "copy");
  ASSERT_TRUE(copy->store().next_push(100, 1 << 20));  // id 2 is given but never arrives
  const auto applied = copy->pull(server);
  EXPECT_TRUE(applied.identity_changed);
  copy->sync(server);
  EXPECT_EQ(server.notes().size(), 3u);
  EXPECT_EQ(server.runs.size(), 3u);
}

TEST_F(Clone, AClientIdOfAnotherActorIsGivenUp) {
  device.add("n1", "a");
  const std::string old_id = device.store().client_id();
  const auto request = device.store().next_push(100, 1 << 20);
  const auto settled = device.store().settle_push(*request, answer(*request, PushStatus::client_id_taken));
  ASSERT_TRUE(settled);
  EXPECT_TRUE(settled->send_again);
  EXPECT_NE(device.store().client_id(), old_id);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "a"}}));
}

TEST_F(Push, ARestoredServerIsNumberedAfterItsLast) {
  device.add("n1", "a");
  device.sync(server);
  auto& client = server.clients[device.store().client_id()];
  const auto saved = client;
  const auto saved_records = server.records;
  device.add("n2", "b");
  device.sync(server);
  device.add("n3", "c");
  // The server comes back from a backup that knows only the first.
  client = saved;
  server.records = saved_records;
  server.ids[device.store().client_id()].erase(2);
  server.remove("n2");
  device.push(server);
  EXPECT_TRUE(device.last_settled.send_again);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "a"}, {"n3", "c"}}));
  EXPECT_EQ(client.last, 2u);
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(Push, ARestoredServerIsNoticedOnPullAndWhatWasNotConfirmedIsSentAgain) {
  device.add("n1", "a");
  device.sync(server);
  const auto saved = server.clients;
  device.add("n2", "b");
  device.sync(server);
  device.add("n3", "c");
  device.push(server);  // outcome known, not covered
  server.clients = saved;
  server.records.clear();
  server.ids.clear();
  server.epoch = "epoch-2";
  server.remove("n2");
  server.remove("n3");
  device.pull(server);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "a"}, {"n3", "c"}}));
  EXPECT_EQ(device.notes(), server.notes());
}

TEST_F(Push, AnUnknownOutcomeOfWhatWasNeverSentBeforeIsSentUnderANewNumber) {
  device.add("n1", "a");
  server.clients[device.store().client_id()] = {5, "somebody's"};
  device.push(server);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "a"}}));
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(Push, AnUnknownOutcomeOfWhatHadBeenSentIsADeadLetter) {
  device.add("n1", "a");
  device.push(server, Device::Reply::is_lost);
  server.records.clear();
  server.ids.clear();
  device.push(server);
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_EQ(device.dead_letters()[0].code, "outcome_unknown");
  device.add("n2", "b");
  device.sync(server);
  EXPECT_EQ(server.notes().size(), 2u);
}

TEST_F(Trap, ADeviceClockThatIsFastLosesNothing) {  // 3
  ManualClock server_clock{testing::kStart};
  testing::FakeServer other(server_clock);
  clock.jump_wall(std::chrono::seconds(3600));
  device.add("n1", "a");
  device.add("n2", "b");
  // An hour before the network is back: the stamps are as old, and the clock as wrong, as before.
  clock.advance(std::chrono::seconds(1800));
  server_clock.advance(std::chrono::seconds(1800));
  // Only the first is sent; the second is stamped again when the skew is known.
  device.push(other, Device::Reply::arrives, 1);
  EXPECT_EQ(device.store().clock_offset_ms(), -3'600'000);
  const std::string stamp = device.sql_text("SELECT hlc FROM nizhal_outbox WHERE ordinal = 2");
  ASSERT_TRUE(parse_hlc(stamp));
  // The next millisecond: all of this one may have been issued before.
  EXPECT_EQ(parse_hlc(stamp)->milliseconds, server_clock.now().microseconds / 1000 + 1);
  device.sync(other);
  EXPECT_EQ(other.notes(), (NoteRows{{"n1", "a"}, {"n2", "b"}}));
  EXPECT_TRUE(device.dead_letters().empty());
  EXPECT_EQ(device.store().clock_offset_ms(), -3'600'000);
}

TEST_F(Trap, APullCorrectsTheClockBeforeAnythingIsSent) {  // 3
  ManualClock server_clock{testing::kStart};
  testing::FakeServer other(server_clock);
  clock.jump_wall(std::chrono::seconds(61));
  device.add("n1", "a");
  device.pull(other);
  EXPECT_EQ(device.store().clock_offset_ms(), -61'000);
  device.add("n2", "b");
  device.push(other);
  EXPECT_EQ(device.store().clock_offset_ms(), -61'000) << "no stamp was ahead any more";
  device.sync(other);
  EXPECT_EQ(other.notes().size(), 2u);
}

TEST_F(Push, RestampingKeepsTheOrderOfWhatIsPending) {
  clock.jump_wall(std::chrono::hours(2));
  for (int i = 0; i < 5; ++i) device.add("n" + std::to_string(i), "x");
  auto request = device.store().next_push(1, 1 << 20);
  protocol::PushReply reply = answer(*request, PushStatus::applied);
  reply.clock_skew_ms = 7'200'000;
  ASSERT_TRUE(device.store().settle_push(*request, reply));
  EXPECT_EQ(device.sql_text("SELECT group_concat(ordinal) FROM (SELECT ordinal FROM nizhal_outbox WHERE ordinal > 1 "
                            "ORDER BY hlc)"),
            "2,3,4,5");
  device.reopen();
  device.add("n9", "later");
  EXPECT_EQ(device.sql_text("SELECT max(hlc) = (SELECT hlc FROM nizhal_outbox ORDER BY ordinal DESC LIMIT 1) FROM "
                            "nizhal_outbox WHERE ordinal > 1"),
            "1");
}

}  // namespace
}  // namespace nizhal::client
