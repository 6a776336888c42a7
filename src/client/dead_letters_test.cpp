// Dead letters and what depends on what: chains, retries in any order, discards, dependencies by id and by key.
#include "client/dead_letters.hpp"

#include "client/client_test_support.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::NoteRows;
using testing::World;

using Strings = std::vector<std::string>;

struct AddNote {
  std::string id, body;
};

/// The notes mutators again, each under the key of its note and depending on what is pending of that note.
Domain keyed_notes() {
  Domain d("notes");
  d.add(notes::notes).add(notes::team_members).add(notes::team_notes);
  const auto key = [](const AddNote& args) {
    if (args.body == "throw") throw 1;
    return "note:" + args.id;
  };
  d.mutator<AddNote>("addNote")
      .arg("id", &AddNote::id, new_id_of(notes::notes))
      .arg("body", &AddNote::body)
      .dependency_key(key)
      .run([](MutatorContext& ctx, const AddNote& args) -> Outcome {
        ctx.insert(notes::notes, {.id = args.id, .owner_id = "o1", .body = args.body});
        return done();
      });
  d.mutator<AddNote>("editNote")
      .arg("id", &AddNote::id, references(notes::notes))
      .arg("body", &AddNote::body)
      .dependency_key(key)
      .depends_on([key](const AddNote& args) { return Strings{key(args)}; })
      .run([](MutatorContext& ctx, const AddNote& args) -> Outcome {
        if (!ctx.update(notes::notes, args.id, {set("body", args.body)})) return reject("not_found", "no such note");
        return done();
      });
  d.rule("mine").parameter("ownerId", actor::owner_id).data(notes::notes, eq("owner_id", "ownerId"));
  return d;
}

struct DeadLetters : World {
  DeadLetter letter(std::size_t index) {
    const auto letters = device.dead_letters();
    EXPECT_LT(index, letters.size());
    return index < letters.size() ? letters[index] : DeadLetter{};
  }
  std::string retry(std::int64_t id, std::optional<std::string_view> args = {}) {
    const auto ticket = device.store().retry(id, args);
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().message);
    return ticket ? ticket->client_mutation_id : "";
  }
  Error refusal(const Result<Ticket>& ticket) {
    EXPECT_FALSE(ticket);
    return ticket ? Error{} : ticket.error();
  }
};

TEST_F(DeadLetters, ADependentSaysThroughWhichMutationsItWentAndWhatWasRefused) {
  const std::string first = device.add("n1", "reject");
  const std::string second = device.add("n2", "b", {.depends_on = {first}});
  const std::string third = device.add("n3", "c", {.depends_on = {second}});
  device.add("n4", "on its own");
  device.sync(server);
  ASSERT_EQ(device.dead_letters().size(), 3u);
  EXPECT_TRUE(letter(0).chain.empty()) << "it was refused itself";
  EXPECT_EQ(letter(1).chain, (Strings{first, second}));
  EXPECT_EQ(letter(2).chain, (Strings{first, second, third}));
  EXPECT_EQ(letter(1).code, "dependency_rejected");
  EXPECT_EQ(letter(1).message,
            "it depends on \"addNote\" " + first + ", which was refused (refused_body: refused by the model)");
  EXPECT_EQ(letter(2).message, "it depends on \"addNote\" " + second + ", which depends on \"addNote\" " + first +
                                   ", which was refused (refused_body: refused by the model)");
  EXPECT_EQ(device.notes(), (NoteRows{{"n4", "on its own"}}));
  EXPECT_EQ(server.notes(), device.notes());
}

TEST_F(DeadLetters, WhatWasSentAlreadyIsRefusedByTheServerAndTellsTheSameChain) {
  const std::string first = device.add("n1", "reject");
  const std::string second = device.add("n2", "b", {.depends_on = {first}});
  device.push(server, Device::Reply::is_lost);
  const std::string third = device.add("n3", "c", {.depends_on = {second}});
  device.sync(server);
  ASSERT_EQ(device.dead_letters().size(), 3u);
  std::map<std::string, Strings> chains;
  for (const DeadLetter& one : device.dead_letters()) chains[one.client_mutation_id] = one.chain;
  EXPECT_EQ(chains[second], (Strings{first, second}));
  EXPECT_EQ(chains[third], (Strings{first, second, third}));
}

TEST_F(DeadLetters, AreRetriedCauseFirstAndAWrongOrderIsNamed) {
  const std::string first = device.add("n1", "reject");
  const std::string second = device.add("n2", "b", {.depends_on = {first}});
  device.add("n3", "c", {.depends_on = {second}});
  device.sync(server);
  const auto letters = device.dead_letters();
  ASSERT_EQ(letters.size(), 3u);
  const Error early = refusal(device.store().retry(letters[2].id, std::nullopt));
  EXPECT_EQ(early.code, ErrorCode::refused);
  EXPECT_NE(early.message.find("dependency_rejected: it depends on dead letter " + std::to_string(letters[1].id)),
            std::string::npos)
      << early.message;
  const std::string first_again = retry(letters[0].id, R"({"id":"n1","body":"fine"})");
  const std::string second_again = retry(letters[1].id);
  retry(letters[2].id);
  const auto request = device.store().next_push(100, 1 << 20);
  ASSERT_EQ(request->mutations.size(), 3u);
  EXPECT_EQ(request->mutations[1].depends_on, Strings{first_again});
  EXPECT_EQ(request->mutations[2].depends_on, Strings{second_again});
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "fine"}, {"n2", "b"}, {"n3", "c"}}));
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(DeadLetters, ARetriedCauseThatIsRefusedAgainTakesItsRetriedDependentsAlong) {
  const std::string first = device.add("n1", "reject");
  device.add("n2", "b", {.depends_on = {first}});
  device.sync(server);
  retry(letter(0).id);
  retry(letter(0).id);
  EXPECT_TRUE(device.dead_letters().empty());
  device.sync(server);
  ASSERT_EQ(device.dead_letters().size(), 2u);
  EXPECT_EQ(letter(1).chain, (Strings{letter(0).client_mutation_id, letter(1).client_mutation_id}));
  EXPECT_TRUE(server.notes().empty());
}

TEST_F(DeadLetters, AMutationThatIsUnderwayFollowsACauseThatIsRetriedMeanwhile) {
  const std::string first = device.add("n1", "reject");
  const auto request = device.store().next_push(1, 1 << 20);
  const std::string second = device.add("n2", "b", {.depends_on = {first}});
  const auto both = device.store().next_push(100, 1 << 20);
  ASSERT_EQ(both->mutations.size(), 2u);
  ASSERT_TRUE(device.store().settle_push(*request, server.push(*request)));
  ASSERT_EQ(device.dead_letters().size(), 1u) << "the second was sent: the server decides about it";
  const std::string again = retry(letter(0).id, R"({"id":"n1","body":"fine"})");
  ASSERT_TRUE(device.store().settle_push(*both, server.push(*both)));
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_EQ(letter(0).client_mutation_id, second);
  EXPECT_EQ(letter(0).depends_on, (Strings{first, again}));
  retry(letter(0).id);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "fine"}, {"n2", "b"}}));
}

TEST_F(DeadLetters, DiscardingACauseKeepsItsDependentsWhichThenStandAlone) {
  const std::string first = device.add("n1", "reject");
  const std::string second = device.add("n2", "b", {.depends_on = {first}});
  device.add("n3", "c", {.depends_on = {second}});
  device.sync(server);
  ASSERT_TRUE(device.store().discard(letter(0).id));
  ASSERT_EQ(device.dead_letters().size(), 2u) << "nothing that the user did goes unasked";
  EXPECT_EQ(letter(0).chain, (Strings{first, second}));
  retry(letter(0).id);
  retry(letter(0).id);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n2", "b"}, {"n3", "c"}}));
}

TEST_F(DeadLetters, ACallThatDependsOnOneIsRefusedHereNamingIt) {
  const std::string first = device.add("n1", "reject");
  device.sync(server);
  const Error error = refusal(device.mutate("addNote", {"n2", "b"}, {.depends_on = {first}}));
  EXPECT_EQ(error.code, ErrorCode::refused);
  EXPECT_EQ(error.message,
            "dependency_rejected: it depends on dead letter 1, \"addNote\" (refused_body: refused by the model); retry "
            "that one first, or discard it to go on without it");
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_TRUE(device.notes().empty());
  ASSERT_TRUE(device.store().discard(1));
  device.add("n2", "b", {.depends_on = {first}});
}

struct Keys : DeadLetters {
  Keys() {
    device.close();
    device.options().path = folder.file("keyed.db");
    device.options().domain = testing::compile(keyed_notes());
    device.open();
  }
};

TEST_F(Keys, AMutationDependsOnWhatIsPendingUnderItsKeysAndNoMore) {
  const std::string first = device.add("n1", "a");
  device.add("n2", "another note");
  const std::string edit = device.edit("n1", "b");
  const std::string again = device.edit("n1", "c");
  device.reopen();
  const auto request = device.store().next_push(100, 1 << 20);
  ASSERT_EQ(request->mutations.size(), 4u);
  EXPECT_TRUE(request->mutations[1].depends_on.empty());
  EXPECT_EQ(request->mutations[2].depends_on, Strings{first});
  EXPECT_EQ(request->mutations[3].depends_on, Strings{edit}) << "on the first one through that";
  ASSERT_TRUE(device.store().settle_push(*request, server.push(*request)));
  const std::string later = device.edit("n1", "d");
  EXPECT_TRUE(device.store().next_push(100, 1 << 20)->mutations[0].depends_on.empty()) << "all of them were applied";
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "d"}, {"n2", "another note"}}));
}

TEST_F(Keys, ARefusalTakesThoseAlongThatDependOnItByKey) {
  const std::string first = device.add("n1", "reject");
  const std::string edit = device.edit("n1", "b");
  const std::string again = device.edit("n1", "c");
  device.add("n2", "another note");
  device.sync(server);
  ASSERT_EQ(device.dead_letters().size(), 3u);
  EXPECT_EQ(letter(2).chain, (Strings{first, edit, again}));
  EXPECT_EQ(device.notes(), (NoteRows{{"n2", "another note"}}));
  const Error error = refusal(device.mutate("editNote", {"n1", "d"}));
  EXPECT_NE(error.message.find("dependency_rejected: it depends on dead letter 1"), std::string::npos) << error.message;
  for (int i = 0; i < 3; ++i)
    retry(letter(0).id, i == 0 ? std::optional(R"({"id":"n1","body":"fine"})") : std::nullopt);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "c"}, {"n2", "another note"}}));
}

TEST_F(Keys, OfTheCallsOptionsAreAddedToTheMutatorsOwn) {
  const std::string first = device.add("n1", "a");
  const std::string second = device.add("n2", "b");
  device.edit("n2", "c", {.depends_on_keys = {"note:n1", "nobody has this", ""}});
  EXPECT_EQ(device.store().next_push(100, 1 << 20)->mutations[2].depends_on, (Strings{second, first}));
}

TEST_F(Keys, ARetryWithOtherArgumentsDependsByItsNewKeys) {
  device.add("n1", "reject");
  device.edit("n1", "b");
  device.sync(server);
  const std::string other = device.add("n2", "a");
  ASSERT_TRUE(device.store().discard(letter(0).id));
  retry(letter(0).id, R"({"id":"n2","body":"b"})");
  EXPECT_EQ(device.store().next_push(100, 1 << 20)->mutations[1].depends_on, Strings{other});
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n2", "b"}}));
}

TEST_F(Keys, WhatAnAppsFunctionThrowsIsARefusalAndNothingIsWritten) {
  const Error error = refusal(device.mutate("addNote", {"n1", "throw"}));
  EXPECT_EQ(error.code, ErrorCode::refused);
  EXPECT_EQ(error.message, "internal: dependency_key of mutator \"addNote\" failed");
  EXPECT_EQ(refusal(device.mutate("editNote", {"n1", "throw"})).message,
            "internal: depends_on of mutator \"editNote\" failed");
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_TRUE(device.notes().empty());
}

}  // namespace
}  // namespace nizhal::client
