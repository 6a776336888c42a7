// Server-authoritative mutations in the file: enqueued without effects, shown when the server applied them.
#include "client/client_test_support.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::NoteRows;
using testing::World;

struct Authoritative : World {
  static MutateOptions asking(std::chrono::milliseconds timeout = std::chrono::seconds(15)) {
    return {.mode = SyncMode::server_authoritative, .timeout = timeout};
  }
  Standing standing(const std::string& id) {
    const auto standing = device.store().standing(id);
    EXPECT_TRUE(standing);
    return standing ? *standing : Standing{};
  }
  const Outcome unreachable = reject("unreachable", "nobody there");
};

TEST_F(Authoritative, NothingIsShownBeforeTheServerAppliedItAndEverythingWithItsAnswer) {
  const std::string id = device.add("n1", "asked", asking());
  EXPECT_EQ(device.notes(), NoteRows{});
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_undo"), "0");
  EXPECT_EQ(device.outbox().size(), 1u);
  device.push(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "asked"}})) << "with the reply, before any pull";
  device.pull(server);
  EXPECT_EQ(device.notes(), server.notes());
  EXPECT_TRUE(device.outbox().empty());
}

TEST_F(Authoritative, ALocalRefusalIsToldAtOnceAndKeepsNothing) {
  const auto refused = device.mutate("editNote", {"none", "x"}, asking());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::refused);
  EXPECT_TRUE(device.outbox().empty());
}

TEST_F(Authoritative, ARefusalLeavesNothingForTheCallerHasIt) {
  device.add("n1", "mine");
  const std::string id = device.add("n2", "reject", asking());
  device.push(server);
  EXPECT_TRUE(device.dead_letters().empty());
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "mine"}}));
  EXPECT_EQ(standing(id).outcome.code, "refused_body");
  device.sync(server);
  EXPECT_EQ(device.notes(), server.notes());
}

TEST_F(Authoritative, WhatWaitsBeforeItInTheOutboxGoesFirst) {
  const std::string first = device.add("n1", "mine");
  const std::string asked = device.edit("n1", "asked", asking());
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "mine"}}));
  const std::string last = device.add("n2", "mine too");
  device.push(server, Device::Reply::arrives, 2);
  EXPECT_EQ(server.runs, (std::vector<std::string>{first, asked}));
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "asked"}, {"n2", "mine too"}}));
  device.sync(server);
  EXPECT_EQ(server.runs, (std::vector<std::string>{first, asked, last}));
  EXPECT_EQ(device.notes(), server.notes());
}

TEST_F(Authoritative, APullBeforeTheReplyShowsTheRowsAndTheReplyChangesNothing) {
  device.add("n1", "asked", asking());
  device.push(server, Device::Reply::is_lost);
  EXPECT_EQ(device.notes(), NoteRows{});
  device.pull(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "asked"}}));
  device.push(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "asked"}}));
  EXPECT_TRUE(device.outbox().empty());
}

TEST_F(Authoritative, OneThatNeverLeftIsWithdrawnWithoutATrace) {
  const std::string id = device.add("n1", "asked", asking());
  EXPECT_EQ(*device.store().withdraw(id, unreachable), true);
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_TRUE(standing(id).is_dropped);
  device.sync(server);
  EXPECT_EQ(server.notes(), NoteRows{});
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(Authoritative, OneThatMayHaveArrivedCannotBeWithdrawnAndIsSettledLater) {
  const std::string applied = device.add("n1", "asked", asking());
  const std::string refused = device.add("n2", "reject", asking());
  device.push(server, Device::Reply::is_lost);
  for (const std::string& id : {applied, refused}) {
    EXPECT_EQ(*device.store().withdraw(id, unreachable), false);
    EXPECT_EQ(standing(id).tier, Tier::on_device);
  }
  EXPECT_EQ(device.outbox().size(), 2u);
  device.sync(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "asked"}}));
  ASSERT_EQ(device.dead_letters().size(), 1u) << "its caller went away without an answer";
  EXPECT_EQ(device.dead_letters()[0].client_mutation_id, refused);
}

TEST_F(Authoritative, OneThatTheServerSurelyDidNotHandleIsWithdrawnAndItsMutationIdIsBurned) {
  const std::string before = device.add("n1", "mine");
  const std::string id = device.add("n2", "asked", asking());
  device.add("n3", "mine too");
  const auto sent = device.store().next_push(10, 1 << 20);
  ASSERT_TRUE(sent);
  ASSERT_TRUE(device.store().note_not_handled(*sent));
  EXPECT_EQ(*device.store().withdraw_awaited(unreachable), 1u);
  EXPECT_EQ(device.outbox().size(), 2u);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "mine"}, {"n3", "mine too"}})) << "no hole, and nothing of it";
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(Authoritative, KilledWhileItWaitedItIsSentWithinItsTimeAndNotAfter) {
  device.add("n1", "in time", asking(std::chrono::seconds(60)));
  device.add("n2", "too late", asking(std::chrono::seconds(10)));
  device.reopen();
  EXPECT_EQ(device.outbox().size(), 2u);
  EXPECT_EQ(device.notes(), NoteRows{});
  clock.advance(std::chrono::seconds(30));
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "in time"}}));
  EXPECT_EQ(device.notes(), server.notes());
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(Authoritative, KilledAfterItWasSentItIsSettledHoweverLate) {
  device.add("n1", "asked", asking());
  device.add("n2", "reject", asking());
  device.push(server, Device::Reply::is_lost);
  device.reopen();
  clock.advance(std::chrono::hours(1));
  EXPECT_EQ(device.notes(), NoteRows{});
  device.sync(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "asked"}}));
  ASSERT_EQ(device.dead_letters().size(), 1u) << "nobody was told";
  EXPECT_EQ(device.dead_letters()[0].code, "refused_body");
}

TEST_F(Authoritative, ARefusalThatAnotherProcessLearnedIsTakenOverByTheOneThatWaits) {
  Device other(folder.file("a.db"), clock, 7);
  const std::string id = device.add("n1", "reject", asking());
  other.push(server);
  EXPECT_EQ(other.dead_letters().size(), 1u) << "that process cannot know that somebody waits";
  EXPECT_EQ(standing(id).outcome.code, "refused_body");
  ASSERT_TRUE(device.store().take_ending(id));
  EXPECT_TRUE(other.dead_letters().empty());
  EXPECT_EQ(standing(id).outcome.code, "refused_body");
}

TEST_F(Authoritative, TheModeOfAStoreHoldsForMutationsThatDoNotSayAnother) {
  device.close();
  device.options().mode = SyncMode::server_authoritative;
  device.open();
  device.add("n1", "asked");
  device.add("n2", "shown", {.mode = SyncMode::local_first});
  EXPECT_EQ(device.notes(), (NoteRows{{"n2", "shown"}}));
  device.sync(server);
  EXPECT_EQ(device.notes().size(), 2u);
}

}  // namespace
}  // namespace nizhal::client
