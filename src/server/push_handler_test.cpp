// Every row of the push table of docs/protocol.md, with and without `results`.
#include <gtest/gtest.h>

#include <string>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

Sent note(std::string cmid, std::string id, std::string client = {}, std::uint64_t mutation_id = 0) {
  return {.name = "addNote",
          .cmid = std::move(cmid),
          .id = std::move(id),
          .text = "hello",
          .client = std::move(client),
          .mutation_id = mutation_id};
}
Sent with_name(Sent sent, std::string name) {
  sent.name = std::move(name);
  return sent;
}

class Push : public ::testing::Test {
 protected:
  World world;
  std::string body_of(const std::string& id) { return world.read(note_table.def(), id, "body"); }
  /// The last mutation id that the server holds of a client, told by a pull.
  std::int64_t last_id(std::string_view user, const std::string& client) {
    return world.pull(user, R"({"deviceId":")" + client + R"("})").number_of("lastMutationId").value_or(-1);
  }
};

TEST_F(Push, AppliesInOrderAndTellsTheLastMutationId) {
  const Answer answer = world.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2)});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.statuses(), "applied applied");
  EXPECT_EQ(answer.number_of("lastMutationId"), 2);
  EXPECT_FALSE(answer.has("clockSkewMs"));
  EXPECT_EQ(body_of("a"), "\"hello\"");
  EXPECT_EQ(body_of("b"), "\"hello\"");
}

TEST_F(Push, WithoutResultsListsWhatWasApplied) {
  const Answer answer = world.push_plain("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2)});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.list("applied"), "m1 m2");
  EXPECT_EQ(answer.number_of("lastMutationId"), 2);
  EXPECT_FALSE(answer.has("results"));
}

TEST_F(Push, SeveralClientIdsGetTheirSequences) {
  const std::vector<Sent> both = {note("m1", "a", "c1", 1), note("m2", "b", "c2", 1), note("m3", "c", "c1", 2)};
  const Answer answer = world.push("u1", both);
  EXPECT_EQ(answer.statuses(), "applied applied applied");
  EXPECT_FALSE(answer.has("lastMutationId"));
  EXPECT_EQ(to_text(answer.body.at("clientSequences")), R"({"c1":2,"c2":1})");
  const Answer plain = world.push_plain("u1", both);
  EXPECT_EQ(plain.list("applied"), "m1 m2 m3");
  EXPECT_EQ(to_text(plain.body.at("clientSequences")), R"({"c1":2,"c2":1})");
}

TEST_F(Push, AnEmptyPushIsFine) {
  EXPECT_EQ(world.push("u1", {}).text, R"({"results":[]})");
  EXPECT_EQ(world.push_plain("u1", {}).text, R"({"applied":[]})");
}

TEST_F(Push, MoreMutationsThanAllowedAreABadRequest) {
  std::vector<Sent> many;
  for (int i = 0; i < 1001; ++i) many.push_back(note("m" + std::to_string(i), "n" + std::to_string(i)));
  const Answer answer = world.push("u1", many);
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.code(), "bad_request");
  EXPECT_EQ(body_of("n0"), "");
}

TEST_F(Push, MoreDependenciesThanAllowedAreABadRequest) {
  Sent sent = note("m1", "a");
  sent.depends_on.assign(10'001, "x");
  const Answer answer = world.push("u1", {sent});
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.string_of("error").find("dependsOn"), std::string::npos);
}

TEST_F(Push, ALongNameIsNotRepeatedInFull) {
  std::string name;
  for (int i = 0; i < 10'000; ++i) name += "ü";
  const Answer answer = world.push("u1", {with_name(note("m1", "a", "c1", 1), name)});
  EXPECT_EQ(answer.statuses(), "rejected:unknown_mutator");
  EXPECT_LT(answer.text.size(), 500U);
}

TEST_F(Push, HandledBeforeIsAnsweredFromTheRecord) {
  world.push("u1", {note("m1", "a", "c1", 1)});
  const std::string before = world.committed();
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c1", 1)}).statuses(), "duplicate");
  EXPECT_EQ(world.push_plain("u1", {note("m1", "a", "c1", 1)}).list("applied"), "m1");
  EXPECT_EQ(world.committed(), before) << "repeating must leave the database as it was";
}

TEST_F(Push, ARefusalStaysARefusalWhenItIsSentAgain) {
  world.run("u1", "addNote", "taken");
  const Sent refused = note("m1", "taken", "c1", 1);
  EXPECT_EQ(world.push("u1", {refused}).statuses(), "rejected:already_exists");
  world.run("u1", "removeNote", "taken");
  EXPECT_EQ(world.push("u1", {refused}).statuses(), "rejected:already_exists");
  const Answer plain = world.push_plain("u1", {refused});
  EXPECT_EQ(plain.status, 422);
  EXPECT_EQ(plain.code(), "already_exists");
  EXPECT_EQ(plain.string_of("clientMutationId"), "m1");
  EXPECT_EQ(plain.number_of("lastMutationId"), 1);
  EXPECT_EQ(body_of("taken"), "");
}

TEST_F(Push, ARecordedRefusalKeepsItsStatus) {
  world.push("u1", {with_name(note("m1", "a", "c1", 1), "noSuch")});
  EXPECT_EQ(world.push_plain("u1", {with_name(note("m1", "a", "c1", 1), "noSuch")}).status, 400);
  Sent foreign = with_name(note("m2", "b", "c1", 2), "addNoteFor");
  foreign.place = "o2";
  world.push("u1", {foreign});
  EXPECT_EQ(world.push_plain("u1", {foreign}).status, 403);
}

TEST_F(Push, AKnownClientMutationIdUnderTheNextIdBurnsItAndAnswersItsOutcome) {
  world.run("u1", "addNote", "taken");
  world.push("u1", {note("m1", "a", "c1", 1), note("m2", "taken", "c1", 2)});
  // The same mutations once more, renumbered by a device that lost its counter.
  const Answer answer = world.push("u1", {note("m1", "a", "c1", 3), note("m2", "taken", "c1", 4)});
  EXPECT_EQ(answer.statuses(), "duplicate rejected:already_exists");
  EXPECT_EQ(answer.number_of("lastMutationId"), 4);
  EXPECT_EQ(last_id("u1", "c1"), 4);
  // And told again, though the burned ids have no records of their own.
  const std::string before = world.committed();
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c1", 3), note("m2", "taken", "c1", 4)}).statuses(),
            "duplicate rejected:already_exists");
  EXPECT_EQ(world.committed(), before);
  EXPECT_EQ(world.push("u1", {note("m5", "e", "c1", 5)}).statuses(), "applied");
}

TEST_F(Push, BurningAKnownClientMutationIdWithoutResults) {
  world.push("u1", {note("m1", "a", "c1", 1)});
  const Answer plain = world.push_plain("u1", {note("m1", "a", "c1", 2)});
  EXPECT_EQ(plain.list("applied"), "m1");
  EXPECT_EQ(plain.number_of("lastMutationId"), 2);
}

TEST_F(Push, UnsequencedMutationsAreIdempotentByTheirClientMutationId) {
  EXPECT_EQ(world.push("u1", {note("m1", "a")}).statuses(), "applied");
  const std::string before = world.committed();
  EXPECT_EQ(world.push("u1", {note("m1", "a")}).statuses(), "duplicate");
  EXPECT_EQ(world.push("u1", {note("m1", "another")}).statuses(), "duplicate");
  EXPECT_EQ(world.committed(), before);
  EXPECT_EQ(body_of("another"), "");
  const Answer plain = world.push_plain("u1", {note("m1", "a")});
  EXPECT_EQ(plain.list("applied"), "m1");
  EXPECT_FALSE(plain.has("lastMutationId"));
}

TEST_F(Push, ClientMutationIdsAreUniquePerActorOnly) {
  EXPECT_EQ(world.push("u1", {note("m1", "a")}).statuses(), "applied");
  EXPECT_EQ(world.push("u2", {note("m1", "b")}).statuses(), "applied");
  EXPECT_EQ(body_of("b"), "\"hello\"");
}

TEST_F(Push, TheSameMutationTwiceInOneRequestRunsOnce) {
  EXPECT_EQ(world.push("u1", {note("m1", "a"), note("m1", "a")}).statuses(), "applied duplicate");
  EXPECT_EQ(world.push("u1", {note("m2", "b", "c1", 1), note("m2", "b", "c1", 1)}).statuses(), "applied duplicate");
}

TEST_F(Push, AnIdBeyondTheNextIsOutOfOrderAndNothingIsRecorded) {
  world.push("u1", {note("m1", "a", "c1", 1)});
  const std::string before = world.committed();
  const Answer answer = world.push("u1", {note("m3", "c", "c1", 3), note("m4", "d")});
  EXPECT_EQ(answer.statuses(), "out_of_order:out_of_order not_tried");
  EXPECT_EQ(answer.number_of("lastMutationId"), 1);
  const Answer plain = world.push_plain("u1", {note("m3", "c", "c1", 3)});
  EXPECT_EQ(plain.status, 409);
  EXPECT_EQ(plain.code(), "out_of_order");
  EXPECT_EQ(plain.number_of("lastMutationId"), 1);
  EXPECT_EQ(plain.string_of("clientMutationId"), "m3");
  EXPECT_EQ(world.committed(), before);
  EXPECT_EQ(world.push("u1", {note("m2", "b", "c1", 2), note("m3", "c", "c1", 3)}).statuses(), "applied applied");
}

TEST_F(Push, AClientThatTheServerNeverSawStartsAtOne) {
  const Answer plain = world.push_plain("u1", {note("m5", "a", "c9", 5)});
  EXPECT_EQ(plain.status, 409);
  EXPECT_EQ(plain.number_of("lastMutationId"), 0);
}

TEST_F(Push, AnotherMutationUnderAUsedIdIsACloneAndStopsTheRest) {
  world.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2)});
  const Answer answer = world.push("u1", {note("x2", "x", "c1", 2), note("x3", "y", "c1", 3)});
  EXPECT_EQ(answer.statuses(), "client_cloned:client_cloned not_tried");
  EXPECT_EQ(world.push("u1", {note("x1", "x", "c1", 1)}).statuses(), "client_cloned:client_cloned");
  const Answer plain = world.push_plain("u1", {note("x2", "x", "c1", 2)});
  EXPECT_EQ(plain.status, 409);
  EXPECT_EQ(plain.code(), "client_cloned");
  EXPECT_EQ(body_of("x"), "");
  EXPECT_EQ(last_id("u1", "c1"), 2);
}

TEST_F(Push, AnIdWhoseRecordIsGoneHasAnUnknownOutcome) {
  world.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2)});
  world.clock.advance(std::chrono::hours(24 * 31));
  ASSERT_TRUE(world.server->gc());
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c1", 1), note("m3", "c", "c1", 3)}).statuses(),
            "outcome_unknown:outcome_unknown applied");
  // The pair of the last id outlives its record: the same is unknown, another is a clone.
  EXPECT_EQ(world.push("u1", {note("m3", "c", "c1", 3)}).statuses(), "duplicate");
  world.clock.advance(std::chrono::hours(24 * 31));
  ASSERT_TRUE(world.server->gc());
  const Answer plain = world.push_plain("u1", {note("m3", "c", "c1", 3)});
  EXPECT_EQ(plain.status, 409);
  EXPECT_EQ(plain.code(), "outcome_unknown");
  EXPECT_EQ(world.push("u1", {note("x3", "x", "c1", 3)}).statuses(), "client_cloned:client_cloned");
  EXPECT_EQ(world.push("u1", {note("m4", "d", "c1", 4)}).statuses(), "applied");
}

TEST_F(Push, AClientIdBelongsToTheActorThatUsedItFirst) {
  world.push("u1", {note("m1", "a", "c1", 1)});
  const Answer answer = world.push("u2", {note("m2", "b", "c1", 2), note("m3", "c", "c2", 1)});
  EXPECT_EQ(answer.statuses(), "client_id_taken:client_id_taken not_tried");
  const Answer plain = world.push_plain("u2", {note("m2", "b", "c1", 2)});
  EXPECT_EQ(plain.status, 403);
  EXPECT_EQ(plain.code(), "client_id_taken");
  EXPECT_EQ(last_id("u1", "c1"), 1);
}

TEST_F(Push, OtherClaimsOfTheSamePrincipalMayChange) {
  world.push("u1", {note("m1", "a", "c1", 1)});
  const std::string token = make_jwt(kSecret, R"({"userId":"u1","ownerId":"o1","exp":9999999999,"role":"new"})");
  const Answer answer = world.request("POST", "/sync/push", token, World::push_body({note("m2", "b", "c1", 2)}, true));
  EXPECT_EQ(answer.statuses(), "applied");
}

struct Refusal {
  const char* name;
  Sent sent;
  int status;
  const char* code;
};

class RefusedPush : public Push, public ::testing::WithParamInterface<Refusal> {};

TEST_P(RefusedPush, IsRecordedBurnsItsIdAndLeavesNoRow) {
  const Refusal& refusal = GetParam();
  Sent sent = refusal.sent;
  sent.client = "c1";
  sent.mutation_id = 1;
  sent.cmid = "m1";
  if (sent.id.empty()) sent.id = "x";
  const std::uint64_t version = world.last_version();
  Sent after = note("m2", "after", "c1", 2);
  const Answer answer = world.push("u1", {sent, after});
  EXPECT_EQ(answer.statuses(), std::string("rejected:") + refusal.code + " applied");
  EXPECT_EQ(answer.number_of("lastMutationId"), 2);
  EXPECT_GT(world.last_version(), version);
  EXPECT_EQ(body_of("x"), "");
  // Told again without `results`, and a fresh one under another client.
  EXPECT_EQ(world.push_plain("u1", {sent}).status, refusal.status);
  sent.client = "c2";
  sent.cmid = "m3";
  const Answer plain = world.push_plain("u1", {sent, after});
  EXPECT_EQ(plain.status, refusal.status);
  EXPECT_EQ(plain.code(), refusal.code);
  EXPECT_FALSE(plain.string_of("error").empty());
  EXPECT_EQ(plain.string_of("clientMutationId"), "m3");
  EXPECT_EQ(plain.number_of("lastMutationId"), 1);
  EXPECT_EQ(body_of("x"), "");
}

INSTANTIATE_TEST_SUITE_P(
    Table, RefusedPush,
    ::testing::Values(
        Refusal{"UnknownMutator", {.name = "noSuchMutator"}, 400, "unknown_mutator"},
        Refusal{"InvalidArguments", {.name = "addNote", .text = std::string(101, 'x')}, 422, "invalid_args"},
        Refusal{"MutatorRefuses", {.name = "addThenRefuse"}, 422, "changed_my_mind"},
        Refusal{"MutatorThrows", {.name = "addThenThrow"}, 422, "internal"},
        Refusal{"WrongColumn", {.name = "wrongColumn"}, 422, "internal"},
        Refusal{"InvalidRow", {.name = "wrongText"}, 422, "invalid_row"},
        Refusal{"OutsideScope", {.name = "addNoteFor", .place = "o2"}, 403, "not_authorized"},
        Refusal{"AuthorizeRefuses", {.name = "createTeam", .place = "forbidden"}, 403, "not_authorized"},
        Refusal{"MalformedHlc", {.name = "addNote", .hlc = "yesterday"}, 422, "invalid_hlc"},
        Refusal{"HlcUpperCase",
                {.name = "addNote", .hlc = "2026-01-02T03:04:05.000Z-0000-ABCDEF00000000000000000000000000"},
                422,
                "invalid_hlc"},
        Refusal{"HlcNoSuchDay",
                {.name = "addNote", .hlc = "2026-02-30T03:04:05.000Z-0000-00000000000000000000000000000001"},
                422,
                "invalid_hlc"}),
    [](const auto& refusal) { return std::string(refusal.param.name); });

TEST_F(Push, NothingOfASqlErrorOrAnExceptionReachesTheAnswer) {
  const Answer thrown = world.push("u1", {with_name(note("m1", "a"), "addThenThrow")});
  EXPECT_EQ(thrown.text.find("SELECT"), std::string::npos) << thrown.text;
  const Answer usage = world.push("u1", {with_name(note("m2", "a"), "wrongColumn")});
  EXPECT_EQ(usage.text.find("no_such_column"), std::string::npos) << usage.text;
  std::string log;
  for (const auto& line : world.log_lines) log += line + "\n";
  EXPECT_NE(log.find("SELECT secret FROM somewhere"), std::string::npos) << "the log says why";
  EXPECT_NE(log.find("no_such_column"), std::string::npos);
}

TEST_F(Push, AConstraintOfTheDatabaseRefusesTheMutationAndTheRestGoesOn) {
  const auto& users = *world.backend;
  ASSERT_TRUE(
      world.storage->run_script("CREATE UNIQUE INDEX one_body ON notes (body); " +
                                users.refusing_trigger("no_shouting", "INSERT", "notes", "new.body = 'LOUD'") + "; " +
                                users.refusing_trigger("keep", "DELETE", "notes", "old.id = 'kept'", "FAIL") + "; " +
                                users.refusing_trigger("lengths", "UPDATE", "notes", "length(new.body) > 5")));
  const auto with_text = [](Sent sent, std::string text) {
    sent.text = std::move(text);
    return sent;
  };
  const Answer answer = world.push(
      "u1", {with_text(note("m1", "kept", "c1", 1), "secret"), with_text(note("m2", "b", "c1", 2), "secret"),
             with_text(note("m3", "c", "c1", 3), "LOUD"), with_name(note("m4", "kept", "c1", 4), "removeNote"),
             with_text(with_name(note("m5", "kept", "c1", 5), "setNote"), "longer"),
             with_text(note("m6", "d", "c1", 6), "fine")});
  EXPECT_EQ(answer.statuses(),
            "applied rejected:constraint_violated rejected:constraint_violated rejected:constraint_violated "
            "rejected:constraint_violated applied");
  EXPECT_EQ(answer.number_of("lastMutationId"), 6);
  EXPECT_NE(answer.text.find("notes"), std::string::npos);
  for (const char* inside : {"secret", "LOUD", "shouting", "unique", "UNIQUE", "body"})
    EXPECT_EQ(answer.text.find(inside), std::string::npos) << answer.text;
  EXPECT_EQ(body_of("kept"), "\"secret\"");
  EXPECT_EQ(body_of("b"), "");
  EXPECT_EQ(body_of("d"), "\"fine\"");
  // Recorded: told again, with and without `results`.
  const Sent again = with_text(note("m2", "b", "c1", 2), "secret");
  EXPECT_EQ(world.push("u1", {again}).statuses(), "rejected:constraint_violated");
  const Answer plain = world.push_plain("u1", {again});
  EXPECT_EQ(plain.status, 422);
  EXPECT_EQ(plain.code(), "constraint_violated");
}

TEST_F(Push, ATriggerThatRollsTheTransactionBackRefusesItsMutationOnly) {
  ASSERT_TRUE(world.storage->run_script(
      world.backend->refusing_trigger("never", "INSERT", "notes", "new.id LIKE 'never%'", "ROLLBACK")));
  const std::vector<Sent> sent = {note("m1", "a", "c1", 1), note("m2", "never-1", "c1", 2), note("m3", "b", "c1", 3),
                                  note("m4", "never-2", "c1", 4), note("m5", "c", "c1", 5)};
  const Answer answer = world.push("u1", sent);
  EXPECT_EQ(answer.statuses(), "applied rejected:constraint_violated applied rejected:constraint_violated applied");
  EXPECT_EQ(answer.number_of("lastMutationId"), 5);
  EXPECT_EQ(body_of("a"), "\"hello\"");
  EXPECT_EQ(body_of("c"), "\"hello\"");
  EXPECT_EQ(world.push("u1", sent).statuses(),
            "duplicate rejected:constraint_violated duplicate rejected:constraint_violated duplicate");
}

TEST_F(Push, WithoutResultsTheFirstFailureEndsTheRequestAndWhatCameBeforeStays) {
  const Answer plain = world.push_plain(
      "u1", {note("m1", "a", "c1", 1), with_name(note("m2", "b", "c1", 2), "addThenRefuse"), note("m3", "c", "c1", 3)});
  EXPECT_EQ(plain.status, 422);
  EXPECT_EQ(plain.string_of("clientMutationId"), "m2");
  EXPECT_EQ(plain.number_of("lastMutationId"), 2);
  EXPECT_EQ(body_of("a"), "\"hello\"");
  EXPECT_EQ(body_of("c"), "");
  EXPECT_EQ(last_id("u1", "c1"), 2);
}

TEST_F(Push, DependentsOfARefusalAreRefusedWithIt) {
  Sent second = note("m2", "b", "c1", 2), third = note("m3", "c", "c1", 3), fourth = note("m4", "d", "c1", 4);
  second.depends_on = {"m1"};
  third.depends_on = {"unheard-of", "m2"};
  const Answer answer = world.push("u1", {with_name(note("m1", "a", "c1", 1), "addThenRefuse"), second, third, fourth});
  EXPECT_EQ(answer.statuses(),
            "rejected:changed_my_mind rejected:dependency_rejected rejected:dependency_rejected applied");
  EXPECT_EQ(answer.number_of("lastMutationId"), 4);
  EXPECT_EQ(body_of("b"), "");
  Sent late = note("m5", "e", "c1", 5);
  late.depends_on = {"m3"};
  const Answer plain = world.push_plain("u1", {late});
  EXPECT_EQ(plain.status, 422);
  EXPECT_EQ(plain.code(), "dependency_rejected");
  Sent fine = note("m6", "f", "c1", 6);
  fine.depends_on = {"m4"};
  EXPECT_EQ(world.push("u1", {fine}).statuses(), "applied");
}

TEST_F(Push, DependenciesAreThoseOfTheSameActorOnly) {
  world.push("u2", {with_name(note("m1", "a"), "addThenRefuse")});
  Sent mine = note("m2", "b");
  mine.depends_on = {"m1"};
  EXPECT_EQ(world.push("u1", {mine}).statuses(), "applied");
}

TEST_F(Push, ASkipBurnsItsIdAndDoesNothing) {
  Sent skip = with_name(note("m1", "a", "c1", 1), "nizhal.skip");
  skip.hlc = "not looked at";
  EXPECT_EQ(world.push("u1", {skip}).statuses(), "applied");
  EXPECT_EQ(body_of("a"), "");
  EXPECT_EQ(last_id("u1", "c1"), 1);
  // The mutation that it stands for, arriving late, does not run.
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c1", 1)}).statuses(), "rejected:given_up");
  EXPECT_EQ(body_of("a"), "");
}

TEST_F(Push, ACopyOfTheDeviceThatGaveAMutationUpIsNotToldThatItRan) {
  world.push("u1", {with_name(note("m1", "a", "c1", 1), "nizhal.skip")});
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c2", 1)}).statuses(), "rejected:given_up");
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c2", 1)}).statuses(), "rejected:given_up") << "each time";
  EXPECT_EQ(world.push("u1", {note("m1", "a")}).statuses(), "rejected:given_up") << "without a sequence, too";
  EXPECT_EQ(body_of("a"), "");
  EXPECT_EQ(last_id("u1", "c2"), 1) << "its id is burned, so what comes next is taken";
  EXPECT_EQ(world.push("u1", {with_name(note("m1", "a", "c3", 1), "nizhal.skip")}).statuses(), "duplicate")
      << "who gives it up as well hears that it was handled";
  EXPECT_EQ(world.push("u1", {note("m2", "a", "c2", 2)}).statuses(), "applied");
  EXPECT_EQ(world.push_plain("u1", {note("m1", "a", "c2", 1)}).status, 422);
  Sent dependent = note("m3", "c", "c2", 3);
  dependent.depends_on = {"m1"};
  EXPECT_EQ(world.push("u1", {dependent}).statuses(), "rejected:dependency_rejected");
}

TEST_F(Push, ASkipOfWhatWasHandledTellsWhatBecameOfIt) {
  world.push("u1", {note("m1", "a", "c1", 1), with_name(note("m2", "b", "c1", 2), "addThenRefuse")});
  EXPECT_EQ(world
                .push("u1", {with_name(note("m1", "", "c1", 1), "nizhal.skip"),
                             with_name(note("m2", "", "c1", 2), "nizhal.skip")})
                .statuses(),
            "duplicate rejected:changed_my_mind");
  const Answer plain = world.push_plain("u1", {with_name(note("m1", "", "c1", 3), "nizhal.skip")});
  EXPECT_EQ(plain.list("applied"), "m1");
  EXPECT_EQ(plain.number_of("lastMutationId"), 3);
}

TEST_F(Push, IdsAndTimeAreThoseOfTheDevicesRun) {
  Sent sent = with_name(note("m1", "a", "c1", 1), "stampNote");
  sent.hlc = world.hlc_at(std::chrono::milliseconds(-90'000), "c1");
  sent.id_seed = "the-seed";
  world.push("u1", {sent});
  EXPECT_EQ(body_of("a"),
            "\"2026-01-02T03:02:35.000000Z " + derived_uuid("the-seed", 0) + " " + derived_uuid("the-seed", 1) + "\"");
  Sent plain = with_name(note("m2", "b"), "stampNote");
  world.push("u1", {plain});
  EXPECT_NE(body_of("b").find(derived_uuid("m2", 0)), std::string::npos);
}

TEST_F(Push, AnAuthorisationTakesNoIdsFromTheBody) {
  Sent sent = with_name(note("m1", "x"), "createTeam");
  sent.place = "t1";
  world.push("u1", {sent});
  EXPECT_EQ(world.read(member_table.def(), derived_uuid("m1", 0), "team_id"), "\"t1\"");
}

TEST_F(Push, ANewIdOfTheServerIsMappedForLaterMutationsOfTheSameClient) {
  world.run("u1", "createTeam", "x", "t1");
  Sent make = {.name = "addDocRenamed", .cmid = "m1", .id = "d1", .place = "t1", .client = "c1", .mutation_id = 1};
  Sent edit = {.name = "setDoc", .cmid = "m2", .id = "d1", .text = "edited", .client = "c1", .mutation_id = 2};
  const Answer answer = world.push("u1", {make, edit});
  EXPECT_EQ(answer.statuses(), "applied applied");
  EXPECT_EQ(string_member(answer.body.at("results").get_array()[0], "serverId"), "srv-d1");
  EXPECT_EQ(world.read(doc_table.def(), "srv-d1", "title"), "\"edited\"");
  // Told again with the record, and resolved in a later request as well.
  EXPECT_EQ(string_member(world.push("u1", {make}).body.at("results").get_array()[0], "serverId"), "srv-d1");
  Sent later = {.name = "setDoc", .cmid = "m3", .id = "d1", .text = "again", .client = "c1", .mutation_id = 3};
  EXPECT_EQ(world.push("u1", {later}).statuses(), "applied");
  EXPECT_EQ(world.read(doc_table.def(), "srv-d1", "title"), "\"again\"");
  // Another client's ids are its own.
  Sent other = {.name = "setDoc", .cmid = "m4", .id = "d1", .text = "other", .client = "c2", .mutation_id = 1};
  EXPECT_EQ(world.push("u1", {other}).statuses(), "rejected:unknown_doc");
}

TEST_F(Push, EveryHandledMutationIsAudited) {
  Limits limits;
  limits.admin_password = "let me in";
  World audited(limits);
  audited.push("u1", {note("m1", "a", "c1", 1), with_name(note("m2", "b", "c1", 2), "addThenRefuse"),
                      note("m1", "a", "c1", 3), with_name(note("m4", "s", "c1", 4), "addSecretUnscoped")});
  audited.push("u1", {note("m1", "a", "c1", 1)});  // handled before: no row
  const Answer answer = audited.request("GET", "/nizhal/audit", "let me in");
  const json::array& rows = answer.body.at("rows").get_array();
  ASSERT_EQ(rows.size(), 4U) << answer.text;
  EXPECT_EQ(string_member(rows[0], "outcome"), "applied");
  EXPECT_EQ(to_text(*member(rows[0], "buckets")), R"(["o1"])");
  EXPECT_EQ(to_text(*member(rows[0], "changes")), R"([{"table":"notes","key":"a","op":"insert"}])");
  EXPECT_EQ(string_member(rows[1], "outcome"), "changed_my_mind");
  EXPECT_EQ(to_text(*member(rows[1], "changes")), "[]");
  EXPECT_EQ(string_member(rows[2], "outcome"), "duplicate");
  EXPECT_EQ(to_text(*member(rows[2], "mutationID")), "3");
  EXPECT_EQ(to_text(*member(rows[3], "unscoped")), "true");
  EXPECT_EQ(to_text(*member(rows[0], "unscoped")), "false");
}

TEST_F(Push, ALargePushIsCommittedInBatches) {
  Limits limits;
  limits.batch_mutations = 10;
  World batched(limits);
  std::vector<Sent> many;
  for (std::uint64_t i = 1; i <= 35; ++i)
    many.push_back(note("m" + std::to_string(i), "n" + std::to_string(i), "c1", i));
  const Answer answer = batched.push("u1", many);
  EXPECT_EQ(answer.number_of("lastMutationId"), 35);
  EXPECT_EQ(batched.storage->writes, 4U);
  EXPECT_EQ(batched.executor.waiting(), 1U) << "what is committed before anybody is poked is poked together";
}

// Transient failures

TEST_F(Push, ABatchThatMetATransientFailureIsTriedAgainInsideTheRequest) {
  world.storage->plan = fail_call("commit", ErrorCode::busy, 3);
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2)}).statuses(), "applied applied");
  EXPECT_EQ(body_of("a"), "\"hello\"");
  EXPECT_EQ(last_id("u1", "c1"), 2);
}

TEST_F(Push, AFailureThatStaysIsBusyAndNothingIsRecorded) {
  for (const char* call : {"write", "client", "mutation", "savepoint", "insert", "grants", "put_mutation", "put_client",
                           "put_audit", "commit", "release_savepoint"}) {
    for (const ErrorCode code : {ErrorCode::busy, ErrorCode::disk_full}) {
      World fresh;
      fresh.storage->plan = fail_call(call, code, 1000);
      const Answer answer = fresh.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2)});
      EXPECT_EQ(answer.statuses(), "retry:busy not_tried") << call;
      EXPECT_EQ(answer.text.find("SELECT"), std::string::npos) << answer.text;
      const Answer plain = fresh.push_plain("u1", {note("m1", "a", "c1", 1)});
      EXPECT_EQ(plain.status, 503) << call;
      EXPECT_EQ(plain.code(), "busy");
      EXPECT_EQ(plain.headers.at("retry-after"), "1");
      EXPECT_EQ(plain.text.find("SELECT"), std::string::npos) << plain.text;
      EXPECT_EQ(plain.string_of("clientMutationId"), "m1");
      fresh.storage->plan = nullptr;
      EXPECT_EQ(fresh.read(note_table.def(), "a", "body"), "") << call;
      EXPECT_EQ(fresh.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2)}).statuses(), "applied applied")
          << call;
    }
  }
}

TEST_F(Push, EarlierMutationsStayAppliedWhenALaterOneCannotBeStored) {
  // The third insert of every attempt fails: alone, the first two go through.
  int inserts = 0;
  world.storage->plan = [&inserts](std::string_view call) -> std::optional<ErrorCode> {
    if (call == "write") inserts = 0;
    return call == "insert" && ++inserts == 3 ? std::optional(ErrorCode::disk_full) : std::nullopt;
  };
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2), note("m3", "c", "c1", 3)}).statuses(),
            "applied applied applied")
      << "a smaller batch gets through";
  // One mutation that fails however small the batch is.
  world.storage->plan = nullptr;
  const Sent poison = with_name(note("m5", "e", "c1", 5), "removeNote");
  world.storage->plan = fail_call("remove", ErrorCode::busy, 1000);
  Sent gone = poison;
  gone.id = "a";
  const Answer answer = world.push("u1", {note("m4", "d", "c1", 4), gone, note("m6", "f", "c1", 6)});
  EXPECT_EQ(answer.statuses(), "applied retry:busy not_tried");
  EXPECT_EQ(answer.number_of("lastMutationId"), 4);
  EXPECT_EQ(body_of("d"), "\"hello\"");
  const Answer plain = world.push_plain("u1", {note("m4", "d", "c1", 4), gone});
  EXPECT_EQ(plain.status, 503);
  EXPECT_EQ(plain.string_of("clientMutationId"), "m5");
}

TEST_F(Push, ADamagedDatabaseIsAnInternalErrorAndNoRefusal) {
  world.storage->plan = fail_call("insert", ErrorCode::corrupt, 1000);
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c1", 1)}).statuses(), "retry:internal");
  const Answer plain = world.push_plain("u1", {note("m1", "a", "c1", 1)});
  EXPECT_EQ(plain.status, 500);
  EXPECT_EQ(plain.code(), "internal");
  EXPECT_EQ(plain.text.find("SELECT"), std::string::npos) << plain.text;
}

TEST_F(Push, RetriesEndWhenTheirTimeIsUp) {
  world.storage->plan = [&](std::string_view call) -> std::optional<ErrorCode> {
    if (call != "write") return std::nullopt;
    world.clock.advance(std::chrono::seconds(5));  // a lock that was waited for in vain
    return ErrorCode::busy;
  };
  world.storage->writes = 0;
  EXPECT_EQ(world.push_plain("u1", {note("m1", "a", "c1", 1)}).status, 503);
  EXPECT_EQ(world.storage->writes, 1U);
}

// Modes of a write transaction

using storage::WriteMode;

Limits with_attempts(int attempts_max) {
  Limits limits;
  limits.attempts_max = attempts_max;
  return limits;
}

TEST_F(Push, ABatchIsTriedPipelinedAndTellsTheStorageWhatItWillAskFor) {
  Sent second = note("m2", "b", "c1", 2);
  second.depends_on = {"m0", "m1"};
  EXPECT_EQ(world.push("u1", {note("m1", "a", "c1", 1), second, note("m3", "c")}).statuses(),
            "applied applied applied");
  EXPECT_EQ(world.storage->modes, std::vector{WriteMode::pipelined});
  EXPECT_EQ(world.storage->intent.client_ids, std::vector<std::string>{"c1"});
  EXPECT_EQ(world.storage->intent.client_mutation_ids, (std::vector<std::string>{"m0", "m1", "m3"}));
  EXPECT_EQ(world.storage->intent.new_client_mutation_ids, std::vector<std::string>{"m2"});
  EXPECT_EQ(world.storage->intent.actor.user_id, "u1");
}

TEST_F(Push, AWriteThatWasSentAheadAndDidNotWorkRunsAgainWithCareAndCountsAsNoAttempt) {
  World one(with_attempts(1));
  for (const char* call : {"insert", "get", "commit"}) {
    one.storage->modes.clear();
    one.storage->retry_mode = WriteMode::careful;
    one.storage->plan = fail_call(call, ErrorCode::busy, 1);
    const std::string id = std::string("m-") + call;
    Sent sent = note(id, id);
    if (std::string_view(call) == "get") sent = with_name(std::move(sent), "putNoteFor"), sent.place = "o1";
    EXPECT_EQ(one.push("u1", {sent}).statuses(), "applied") << call;
    EXPECT_EQ(one.storage->modes, (std::vector{WriteMode::pipelined, WriteMode::careful})) << call;
  }
  // The next batch is pipelined again.
  one.storage->modes.clear();
  EXPECT_EQ(one.push("u1", {note("m9", "i")}).statuses(), "applied");
  EXPECT_EQ(one.storage->modes, std::vector{WriteMode::pipelined});
}

TEST_F(Push, AMutatorThatSearchesIsRememberedAndStartsSerializable) {
  world.run("u1", "createTeam", "x", "a");
  world.storage->retry_mode = WriteMode::serializable;
  world.storage->plan = fail_call("find", ErrorCode::busy, 1);
  const Sent look{.name = "lookAtDocs", .cmid = "m1", .id = "d1", .place = "a"};
  world.storage->modes.clear();
  EXPECT_EQ(world.push("u1", {look}).statuses(), "rejected:saw");
  EXPECT_EQ(world.storage->modes, (std::vector{WriteMode::pipelined, WriteMode::serializable}));
  world.storage->modes.clear();
  Sent again = look;
  again.cmid = "m2";
  EXPECT_EQ(world.push("u1", {note("m3", "n"), again}).statuses(), "applied rejected:saw");
  EXPECT_EQ(world.push("u1", {note("m4", "o")}).statuses(), "applied");
  EXPECT_EQ(world.storage->modes, (std::vector{WriteMode::serializable, WriteMode::pipelined}));
}

TEST_F(Push, ATransientFailureKeepsItsModeAndCountsAsAnAttempt) {
  World one(with_attempts(3));
  one.storage->plan = fail_call("commit", ErrorCode::busy, 1000);
  EXPECT_EQ(one.push("u1", {note("m1", "a")}).statuses(), "retry:busy");
  EXPECT_EQ(one.storage->modes, (std::vector{WriteMode::pipelined, WriteMode::pipelined, WriteMode::pipelined}));
}

TEST_F(Push, AConstraintThatIsJudgedAtTheCommitRefusesTheOneWhoBreaksIt) {
  // Whatever batch has the second insert of its transaction, or that of "b" alone, breaks it.
  world.storage->plan = [count = 0](std::string_view call) mutable -> std::optional<ErrorCode> {
    if (call == "write") ++count;
    return call == "commit" && (count == 1 || count == 3) ? std::optional(ErrorCode::constraint_violated)
                                                          : std::nullopt;
  };
  const Answer answer =
      world.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2), note("m3", "c", "c1", 3)});
  EXPECT_EQ(answer.statuses(), "applied rejected:constraint_violated applied");
  EXPECT_EQ(answer.text.find("SELECT"), std::string::npos) << answer.text;
  EXPECT_EQ(answer.number_of("lastMutationId"), 3);
  EXPECT_EQ(body_of("b"), "");
}

TEST_F(Push, AConstraintThatIsJudgedAtTheEndOfAMutationRefusesIt) {
  world.storage->plan = fail_call("release_savepoint", ErrorCode::constraint_violated, 1, 1);
  const Answer answer =
      world.push("u1", {note("m1", "a", "c1", 1), note("m2", "b", "c1", 2), note("m3", "c", "c1", 3)});
  EXPECT_EQ(answer.statuses(), "applied rejected:constraint_violated applied");
  EXPECT_EQ(answer.text.find("SELECT"), std::string::npos) << answer.text;
}

TEST_F(Push, AShutdownTakesNoMoreWritesAndGoesOnReading) {
  world.server->begin_shutdown();
  const Answer plain = world.push_plain("u1", {note("m1", "a", "c1", 1)});
  EXPECT_EQ(plain.status, 503);
  EXPECT_EQ(plain.code(), "busy");
  EXPECT_TRUE(plain.headers.contains("retry-after"));
  EXPECT_EQ(world.pull("u1").status, 200);
}

// Clocks (S20)

TEST_F(Push, AStampWithinTheDriftIsTakenAsItIs) {
  Sent sent = with_name(note("m1", "a", "c1", 1), "stampNote");
  sent.hlc = world.hlc_at(std::chrono::milliseconds(60'000), "c1");
  const Answer answer = world.push("u1", {sent});
  EXPECT_EQ(answer.statuses(), "applied");
  EXPECT_FALSE(answer.has("clockSkewMs"));
  EXPECT_TRUE(body_of("a").starts_with("\"2026-01-02T03:05:05.000000Z"));
}

TEST_F(Push, AbsentStampsAreTheServers) {
  world.push("u1", {with_name(note("m1", "a", "c1", 1), "stampNote")});
  EXPECT_TRUE(body_of("a").starts_with("\"2026-01-02T03:04:05.000000Z")) << body_of("a");
}

}  // namespace
}  // namespace nizhal::server::testing
