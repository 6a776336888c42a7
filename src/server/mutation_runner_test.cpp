// Deny by default (S21): what a mutator may read and write, and every way around it that we could think of.
#include <gtest/gtest.h>

#include <string>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

class Scope : public ::testing::Test {
 protected:
  void SetUp() override {
    world.run("u1", "createTeam", "x", "mine");
    world.run("u2", "createTeam", "x", "theirs");
    world.run("u2", "addDoc", "theirs-1", "theirs", "a secret title");
    world.run("u1", "addDoc", "mine-1", "mine", "my title");
  }
  std::string outcome(std::string_view user, Sent sent) {
    sent.cmid = "attack-" + std::to_string(++attempts);
    answer = world.push(user, {std::move(sent)});
    return answer.statuses();
  }
  std::string member_id(std::string_view user, const std::string& team) {
    const auto transaction = world.storage->write(world.clock.now(), {.mode = storage::WriteMode::serializable});
    const auto rows =
        (*transaction)
            ->find(from(member_table).where(eq("user_id", std::string(user))).where(eq("team_id", team)).spec(),
                   nullptr);
    return rows->empty() ? "" : std::get<std::string>((*rows)[0][0]);
  }
  World world;
  Answer answer;
  int attempts = 0;
};

TEST_F(Scope, InsertingIntoAnothersBucketIsNotAuthorized) {
  EXPECT_EQ(outcome("u1", {.name = "addDoc", .id = "d", .place = "theirs"}), "rejected:not_authorized");
  EXPECT_EQ(outcome("u1", {.name = "addNoteFor", .id = "n", .place = "o2"}), "rejected:not_authorized");
  EXPECT_EQ(world.read(doc_table.def(), "d", "title"), "");
}

TEST_F(Scope, AMutatorCannotHideAViolation) {
  EXPECT_EQ(outcome("u1", {.name = "swallowScope", .id = "n", .place = "o2"}), "rejected:not_authorized");
}

TEST_F(Scope, ChangingMovingOrRemovingAnothersRowIsNotAuthorized) {
  EXPECT_EQ(outcome("u1", {.name = "setDoc", .id = "theirs-1", .text = "mine now"}), "rejected:not_authorized");
  EXPECT_EQ(outcome("u1", {.name = "moveDoc", .id = "theirs-1", .place = "mine"}), "rejected:not_authorized");
  EXPECT_EQ(outcome("u1", {.name = "removeDoc", .id = "theirs-1"}), "rejected:not_authorized");
  EXPECT_EQ(world.read(doc_table.def(), "theirs-1", "title"), "\"a secret title\"");
}

TEST_F(Scope, ARowIsNotMovedToWhereTheActorIsNot) {
  EXPECT_EQ(outcome("u1", {.name = "moveDoc", .id = "mine-1", .place = "theirs"}), "rejected:not_authorized");
  EXPECT_EQ(world.read(doc_table.def(), "mine-1", "team_id"), "\"mine\"");
}

TEST_F(Scope, AnUpsertOverAnothersRowIsNotAuthorized) {
  world.run("u2", "addNote", "n1", "", "theirs");
  EXPECT_EQ(outcome("u1", {.name = "putNoteFor", .id = "n1", .place = "o1"}), "rejected:not_authorized");
  EXPECT_EQ(outcome("u1", {.name = "putNoteFor", .id = "n2", .place = "o2"}), "rejected:not_authorized");
  EXPECT_EQ(outcome("u1", {.name = "putNoteFor", .id = "n2", .place = "o1", .text = "one"}), "applied");
  EXPECT_EQ(outcome("u1", {.name = "putNoteFor", .id = "n2", .place = "o1", .text = "two"}), "applied");
  EXPECT_EQ(outcome("u1", {.name = "putNoteFor", .id = "n2", .place = "o2", .text = "three"}),
            "rejected:not_authorized");
  EXPECT_EQ(world.read(note_table.def(), "n2", "body"), "\"two\"");
  EXPECT_EQ(world.read(note_table.def(), "n1", "body"), "\"theirs\"");
}

TEST_F(Scope, ATakenKeyIsToldApartOnlyWhereItIsVisible) {
  EXPECT_EQ(outcome("u1", {.name = "addDoc", .id = "mine-1", .place = "mine"}), "rejected:already_exists");
  EXPECT_EQ(outcome("u1", {.name = "addDoc", .id = "theirs-1", .place = "mine"}), "rejected:not_authorized");
}

TEST_F(Scope, GetAndFindSeeTheActorsRowsOnly) {
  EXPECT_EQ(outcome("u1", {.name = "lookAtDocs", .id = "theirs-1", .place = "theirs"}), "rejected:saw");
  EXPECT_NE(answer.text.find("0 and nothing"), std::string::npos) << answer.text;
  EXPECT_EQ(answer.text.find("secret"), std::string::npos);
  outcome("u1", {.name = "lookAtDocs", .id = "mine-1", .place = "mine"});
  EXPECT_NE(answer.text.find("1 and my title"), std::string::npos) << answer.text;
  // Somebody with no bucket of that kind at all.
  outcome("u3", {.name = "lookAtDocs", .id = "mine-1", .place = "mine"});
  EXPECT_NE(answer.text.find("0 and nothing"), std::string::npos) << answer.text;
}

TEST_F(Scope, UnscopedSeesEverything) {
  outcome("u3", {.name = "lookAtMembersUnscoped", .id = "x"});
  EXPECT_NE(answer.text.find("\"2\""), std::string::npos) << answer.text;
}

TEST_F(Scope, AMembershipRowDoesNotVouchForItself) {
  EXPECT_EQ(outcome("u1", {.name = "addMember", .id = "m9", .place = "theirs", .text = "u1"}),
            "rejected:not_authorized");
  const std::string own = member_id("u1", "mine");
  EXPECT_EQ(outcome("u1", {.name = "moveMember", .id = own, .place = "theirs"}), "rejected:not_authorized");
  EXPECT_EQ(member_id("u1", "theirs"), "");
}

TEST_F(Scope, AMemberMayAddOthersToItsOwnTeam) {
  EXPECT_EQ(outcome("u1", {.name = "addMember", .id = "m9", .place = "mine", .text = "u3"}), "applied");
  EXPECT_EQ(outcome("u3", {.name = "addDoc", .id = "d3", .place = "mine"}), "applied");
}

TEST_F(Scope, LeavingIsAllowedAndEndsTheScopeAtOnce) {
  const std::string own = member_id("u1", "mine");
  EXPECT_EQ(outcome("u1", {.name = "removeMember", .id = own}), "applied");
  EXPECT_EQ(outcome("u1", {.name = "addDoc", .id = "d3", .place = "mine"}), "rejected:not_authorized");
}

TEST_F(Scope, OthersMembershipsAreOutOfReach) {
  EXPECT_EQ(outcome("u1", {.name = "removeMember", .id = member_id("u2", "theirs")}), "rejected:not_authorized");
}

TEST_F(Scope, AGrantWrittenByTheMutatorItselfCountsFromThere) {
  EXPECT_EQ(outcome("u3", {.name = "joinAndWrite", .id = "j1", .place = "mine", .text = "hello"}), "applied");
  EXPECT_EQ(world.read(doc_table.def(), "j1", "title"), "\"hello\"");
}

TEST_F(Scope, AGrantRemovedByTheMutatorItselfEndsThere) {
  EXPECT_EQ(outcome("u1", {.name = "leaveAndWrite", .id = "l1", .place = "mine"}), "rejected:not_authorized");
  EXPECT_NE(member_id("u1", "mine"), "") << "a refused mutation leaves nothing behind";
}

TEST_F(Scope, AGrantOfARefusedMutationIsGoneForTheNextOfTheSameTransaction) {
  const Answer both =
      world.push("u3", {{.name = "addMember", .cmid = "b1", .id = "m9", .place = "theirs", .text = "u3"},
                        {.name = "addDoc", .cmid = "b2", .id = "d9", .place = "theirs"}});
  EXPECT_EQ(both.statuses(), "rejected:not_authorized rejected:not_authorized");
}

TEST_F(Scope, AServerOnlyTableNeedsUnscoped) {
  EXPECT_EQ(outcome("u1", {.name = "addSecret", .id = "s1"}), "rejected:not_authorized");
  EXPECT_EQ(outcome("u1", {.name = "addSecretUnscoped", .id = "s1", .text = "x"}), "applied");
  EXPECT_EQ(outcome("u1", {.name = "addSecretUnscoped", .id = "s1", .text = "y"}), "rejected:already_exists");
}

TEST_F(Scope, AppendOnlyRowsAreNeverChanged) {
  world.run("u1", "addEvent", "x", "mine", "one");
  EXPECT_EQ(outcome("u1", {.name = "changeEvents", .id = "x", .place = "mine", .text = "two"}), "rejected:append_only");
  EXPECT_EQ(outcome("u1", {.name = "removeEvents", .id = "x", .place = "mine"}), "rejected:append_only");
  EXPECT_EQ(world.read(event_table.def(), std::int64_t{1}, "text"), "\"one\"");
}

TEST_F(Scope, NumbersAreTakenInOnesOwnBucketsOnly) {
  EXPECT_EQ(outcome("u1", {.name = "takeNumber", .id = "x", .place = "theirs"}), "rejected:not_authorized");
  EXPECT_EQ(outcome("u1", {.name = "takeNumber", .id = "x", .place = "mine"}), "applied");
}

TEST_F(Scope, ATokenOfAnotherOwnerReachesAnotherOwnersNotes) {
  world.run("u1", "addNote", "n1", "", "one");
  const std::string other = token_for("u1", "o9", Timestamp{world.clock_now() + 60'000'000});
  const Answer pulled = world.request("POST", "/sync/pull", other, "{}");
  EXPECT_EQ(pulled.text.find("\"one\""), std::string::npos);
  const Answer pushed =
      world.request("POST", "/sync/push", other,
                    World::push_body({{.name = "setNote", .cmid = "y1", .id = "n1", .text = "two"}}, true));
  EXPECT_EQ(pushed.statuses(), "rejected:not_authorized");
}

TEST_F(Scope, BucketKeysThatLookLikeAnothersGiveNothing) {
  world.run("u2", "addNote", "n2", "", "private");
  // Owner ids made to look like a team's key, like several values, or like nothing.
  for (const char* owner : {"team:mine", "team:theirs", "o2/x", "%", "o2\n", " o2", "O2"}) {
    const std::string token = token_for("u7", owner, Timestamp{world.clock_now() + 60'000'000});
    const Answer pulled = world.request("POST", "/sync/pull", token, "{}");
    EXPECT_EQ(pulled.status, 200);
    EXPECT_EQ(pulled.text.find("title"), std::string::npos) << owner << pulled.text;
    EXPECT_EQ(pulled.text.find("private"), std::string::npos) << owner << pulled.text;
  }
}

}  // namespace
}  // namespace nizhal::server::testing
