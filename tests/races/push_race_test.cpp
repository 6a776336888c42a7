// Pushes at once on PostgreSQL, beside each other and beside other programs: exactly once (S19), all or nothing (S18),
// within the actor's buckets at the moment of the commit (S21), and nothing lost between readers and writers.
#include <fmt/core.h>

#include "tests/races/push_world.hpp"

namespace nizhal::testing {
namespace {

using Sent = PushWorld::Sent;

// A membership that is removed while its owner pushes (S21)

TEST(Revocation, APushThatWasFirstCommitsBeforeTheRevocation) {
  PushWorld world;
  world.gate.close();
  auto pushed = world.start_push("u1", {{.cmid = "a"}, {.cmid = "b"}});
  world.gate.await();
  auto revoked = std::async(std::launch::async, [&] { world.other->run("DELETE FROM members WHERE id = 'm1'"); });
  world.await_blocked();
  world.gate.open();
  EXPECT_EQ(pushed.get(), "applied applied");
  revoked.get();
  Session session(world.url);
  EXPECT_EQ(session.run("SELECT count(*) FROM docs"), "2");
  EXPECT_EQ(session.run("SELECT count(*) FROM nizhal.bucket_grant WHERE subject = 'u1'"), "0");
  EXPECT_EQ(world.push("u1", {{.cmid = "c"}}), "rejected:not_authorized");
}

TEST(Revocation, APushThatComesSecondWaitsAndIsRefusedAsAWhole) {
  for (const bool commits : {true, false}) {
    PushWorld world;
    world.value("INSERT INTO docs VALUES ('old', 't1', 'x')");
    world.other->run("BEGIN");
    world.other->run("DELETE FROM members WHERE id = 'm1'");
    auto pushed = world.start_push(
        "u1", {{.name = "editDoc", .cmid = "a", .id = "old", .text = "y"}, {.name = "addTwoDocs", .cmid = "b"}});
    world.await_blocked();
    world.other->run(commits ? "COMMIT" : "ROLLBACK");
    EXPECT_EQ(pushed.get(), commits ? "rejected:not_authorized rejected:not_authorized" : "applied applied")
        << "the revocation " << (commits ? "committed" : "was rolled back");
    EXPECT_EQ(world.value("SELECT count(*) FROM docs"), commits ? "1" : "3");
    EXPECT_EQ(world.value("SELECT title FROM docs WHERE id = 'old'"), commits ? "x" : "y");
  }
}

TEST(Revocation, AnUpdateThatMovesTheMembershipIsARevocationToo) {
  PushWorld world;
  world.other->run("BEGIN");
  world.other->run("UPDATE members SET team_id = 't2' WHERE id = 'm1'");
  auto pushed = world.start_push("u1", {{.cmid = "a"}, {.cmid = "b", .team = "t2"}});
  world.await_blocked();
  world.other->run("COMMIT");
  EXPECT_EQ(pushed.get(), "rejected:not_authorized applied");
}

// Exactly once (S19) and all or nothing (S18)

TEST(ExactlyOnce, TwoRequestsWithOneClientMutationIdAtOnceTakeEffectOnce) {
  // With a client id that is known, with one that is not, and without any.
  for (const std::string client : {"known", "new", ""}) {
    PushWorld world;
    if (client == "known") {
      ASSERT_EQ(world.push("u1", {{.cmid = "first", .client = client, .mutation_id = 1}}), "applied");
    }
    const Sent sent{.cmid = "a", .client = client, .mutation_id = client == "known" ? 2u : 1u};
    world.gate.close();
    auto one = world.start_push("u1", {sent});
    world.gate.await();
    auto two = world.start_push("u1", {sent});
    // The second stands in the mutator, too, or already waits for the first one's client.
    client == "known" ? world.await_blocked() : world.gate.await(2);
    world.gate.open();
    std::string answers = one.get() + " " + two.get();
    EXPECT_TRUE(answers == "applied duplicate" || answers == "duplicate applied") << client << ": " << answers;
    EXPECT_EQ(world.value("SELECT count(*) FROM docs WHERE id = 'a'"), "1");
    EXPECT_EQ(world.value("SELECT count(*) FROM nizhal.mutation WHERE client_mutation_id = 'a'"), "1");
    EXPECT_EQ(world.value("SELECT count(*) FROM nizhal.audit WHERE client_mutation_id = 'a'"), "1");
  }
}

TEST(ExactlyOnce, AKnownClientMutationIdUnderAnotherClientsNextIdAnswersItsOutcome) {
  // As after a store was cloned: what was pending is sent again under a new client id.
  PushWorld world;
  ASSERT_EQ(world.push("u1", {{.cmid = "a", .client = "c1", .mutation_id = 1},
                              {.name = "editDoc", .cmid = "b", .id = "none", .client = "c1", .mutation_id = 2}}),
            "applied rejected:unknown_doc");
  const std::vector<Sent> again = {{.cmid = "a", .client = "c2", .mutation_id = 1},
                                   {.name = "editDoc", .cmid = "b", .id = "none", .client = "c2", .mutation_id = 2},
                                   {.cmid = "c", .client = "c2", .mutation_id = 3}};
  EXPECT_EQ(world.push("u1", again), "duplicate rejected:unknown_doc applied");
  EXPECT_EQ(world.value("SELECT string_agg(id, '' ORDER BY id) FROM docs"), "ac");
  EXPECT_EQ(world.value("SELECT last_mutation_id FROM nizhal.client WHERE client_id = 'c2'"), "3");
  EXPECT_EQ(world.push("u1", again), "duplicate rejected:unknown_doc duplicate") << "a lost reply";
  // What an earlier request has refused takes its dependents with it.
  protocol::PushRequest request;
  request.results = true;
  request.mutations.push_back(
      PushWorld::mutation({.name = "editDoc", .cmid = "b", .id = "none", .client = "c2", .mutation_id = 2}));
  request.mutations.push_back(PushWorld::mutation({.cmid = "d", .client = "c2", .mutation_id = 4}));
  request.mutations.back().depends_on = {"b"};
  EXPECT_NE(world.handler->handle(PushWorld::actor("u1"), request).body.find("dependency_rejected"), std::string::npos);
}

TEST(ExactlyOnce, TwoMutationsUnderOneMutationIdAtOnceAreOneAndAClone) {
  PushWorld world;
  world.gate.close();
  auto one = world.start_push("u1", {{.cmid = "a", .client = "c1", .mutation_id = 1}});
  auto two = world.start_push("u1", {{.cmid = "b", .client = "c1", .mutation_id = 1}});
  world.gate.await(2);
  world.gate.open();
  const std::string answers = one.get() + " " + two.get();
  EXPECT_TRUE(answers == "applied client_cloned:client_cloned" || answers == "client_cloned:client_cloned applied")
      << answers;
  EXPECT_EQ(world.value("SELECT count(*) FROM docs"), "1");
  EXPECT_EQ(world.value("SELECT last_mutation_id FROM nizhal.client WHERE client_id = 'c1'"), "1");
}

TEST(ExactlyOnce, ManyRequestsOfOneClientAtOnceKeepItsIdsInOrder) {
  PushWorld world;
  std::vector<std::thread> threads;
  constexpr std::uint64_t kMutations = 20;
  // Each thread is the whole device: what one sends again another has just sent.
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&world] {
      for (std::uint64_t i = 1; i <= kMutations; ++i) {
        const Sent sent{.cmid = "m" + std::to_string(i), .client = "c1", .mutation_id = i};
        const std::string answer = world.push_until_decided("u1", sent);
        EXPECT_TRUE(answer == "applied" || answer == "duplicate") << answer;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(world.value("SELECT count(*) FROM docs"), std::to_string(kMutations));
  EXPECT_EQ(world.value("SELECT count(*) FROM nizhal.mutation"), std::to_string(kMutations));
  EXPECT_EQ(world.value("SELECT last_mutation_id FROM nizhal.client"), std::to_string(kMutations));
}

TEST(ExactlyOnce, AMutationAndAllOfItsRecordsShareOneTransaction) {
  PushWorld world;
  ASSERT_EQ(world.push("u1", {{.name = "addTwoDocs", .cmid = "a", .client = "c1", .mutation_id = 1},
                              {.name = "editDoc", .cmid = "b", .id = "nothing", .client = "c1", .mutation_id = 2}}),
            "applied rejected:unknown_doc");
  // Rows, both records and both audit rows have one transaction id; so has the client.
  EXPECT_EQ(world.value("SELECT count(DISTINCT x) FROM (SELECT xmin::text AS x FROM docs UNION ALL SELECT xmin::text "
                        "FROM nizhal.mutation UNION ALL SELECT xmin::text FROM nizhal.audit UNION ALL SELECT "
                        "xmin::text FROM nizhal.client) AS all_of_them"),
            "1");
  EXPECT_EQ(world.value("SELECT count(DISTINCT version) FROM (SELECT nizhal_version AS version FROM docs UNION ALL "
                        "SELECT version FROM nizhal.mutation UNION ALL SELECT version FROM nizhal.audit) AS v"),
            "1");
  EXPECT_EQ(world.value("SELECT count(*) FROM nizhal.mutation"), "2");
  EXPECT_EQ(world.value("SELECT count(*) FROM nizhal.audit"), "2");
}

TEST(ExactlyOnce, AConnectionThatEndsInAMutatorCostsNothingButAnotherTry) {
  PushWorld world;
  world.gate.close();
  auto pushed = world.start_push("u1", {{.name = "readTwiceAndAdd", .cmid = "a", .client = "c1", .mutation_id = 1}});
  world.gate.await();
  world.terminate_writers();
  world.gate.open();
  EXPECT_EQ(pushed.get(), "applied");
  EXPECT_GE(world.runs, 2);
  EXPECT_EQ(world.value("SELECT count(*) FROM docs"), "1");
  EXPECT_EQ(world.value("SELECT count(*) FROM nizhal.mutation"), "1");
  world.expect_nothing_leaked();
}

TEST(ExactlyOnce, ACommitWhoseAnswerIsLostIsToldOnce) {
  // The commit waits for a standby that is not there, after it has happened; then the connection ends.
  PostgresServer server;
  PushWorld world({.server = &server});
  world.other->run("SET synchronous_commit = local");
  world.other->run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  world.other->run("SELECT pg_reload_conf()");
  // A commit before the setting is in force does not wait: another mutation, then.
  std::string waiting;
  Sent sent;
  std::future<std::string> pushed;
  while (waiting.empty()) {
    sent = {.cmid = fmt::format("m{}", sent.mutation_id + 1), .client = "c1", .mutation_id = sent.mutation_id + 1};
    pushed = world.start_push("u1", {sent});
    while (waiting.empty() && pushed.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
      waiting = world.value("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
  }
  // It is gone before the setting is: a wait that ended well before the signal is seen would still send its answer.
  world.other->run("SELECT pg_terminate_backend(" + waiting + ")");
  while (world.value("SELECT count(*) FROM pg_stat_activity WHERE pid = " + waiting) != "0") std::this_thread::yield();
  world.other->run("ALTER SYSTEM RESET synchronous_standby_names");
  world.other->run("SELECT pg_reload_conf()");
  EXPECT_EQ(pushed.get(), "duplicate") << "it had been applied";
  EXPECT_EQ(world.push("u1", {sent}), "duplicate");
  EXPECT_EQ(world.value("SELECT count(*) FROM docs"), std::to_string(sent.mutation_id));
  EXPECT_EQ(world.value("SELECT count(*) FROM nizhal.mutation"), std::to_string(sent.mutation_id));
}

// What the database says no to

TEST(Constraint, OneOfABatchIsRefusedAndTheOthersGoOn) {
  PushWorld world;
  world.other->run("ALTER TABLE docs ADD CHECK (title <> 'secret')");
  const std::vector<Sent> sent = {{.cmid = "a", .client = "c1", .mutation_id = 1},
                                  {.cmid = "b", .text = "secret", .client = "c1", .mutation_id = 2},
                                  {.cmid = "c", .client = "c1", .mutation_id = 3},
                                  {.cmid = "d", .id = "a", .client = "c1", .mutation_id = 4},
                                  {.cmid = "e", .client = "c1", .mutation_id = 5}};
  EXPECT_EQ(world.push("u1", sent), "applied rejected:constraint_violated applied rejected:already_exists applied");
  EXPECT_EQ(world.value("SELECT string_agg(id, '' ORDER BY id) FROM docs"), "ace");
  EXPECT_EQ(world.push("u1", sent),
            "duplicate rejected:constraint_violated duplicate rejected:already_exists duplicate");
  world.expect_nothing_leaked();
}

TEST(Constraint, ATriggerOfTheOwnerRefuses) {
  PushWorld world;
  world.other->run(
      "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.title = 'no' THEN RAISE EXCEPTION "
      "'secret of %', NEW.id; END IF; RETURN NEW; END $$; CREATE TRIGGER no BEFORE INSERT ON docs FOR EACH ROW "
      "EXECUTE FUNCTION no()");
  EXPECT_EQ(world.push("u1", {{.cmid = "a"}, {.name = "addTwoDocs", .cmid = "b", .text = "no"}, {.cmid = "c"}}),
            "applied rejected:constraint_violated applied");
  EXPECT_EQ(world.value("SELECT string_agg(id, '' ORDER BY id) FROM docs"), "ac");
  world.expect_nothing_leaked();
}

TEST(Constraint, ADeferredOneRefusesTheMutationThatBreaksItAndNoOther) {
  PushWorld world;
  world.other->run(
      "ALTER TABLE docs ADD COLUMN parent text GENERATED ALWAYS AS (nullif(title, 'x')) STORED, ADD FOREIGN KEY "
      "(parent) REFERENCES docs DEFERRABLE INITIALLY DEFERRED");
  // What is mended before the mutation ends is no breach: the first document's parent is the second.
  EXPECT_EQ(world.push("u1", {{.cmid = "a"},
                              {.cmid = "b", .text = "nobody"},
                              {.name = "addTwoDocs", .cmid = "c", .text = "c-2"},
                              {.cmid = "d", .text = "a"}}),
            "applied rejected:constraint_violated applied applied");
  EXPECT_EQ(world.value("SELECT string_agg(id, ' ' ORDER BY id) FROM docs"), "a c-1 c-2 d");
  world.expect_nothing_leaked();
}

// What passes is never told as a refusal (trap 8)

TEST(Transient, WhatThePostgresRaisesForAWhileIsTriedAgain) {
  for (const char* state : {"40001", "40P01", "55P03", "57014", "53200"}) {
    PushWorld world;
    world.other->run(
        "CREATE SEQUENCE tries; CREATE FUNCTION not_yet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('tries') < 4 THEN RAISE EXCEPTION 'secret' USING ERRCODE = '" +
        std::string(state) +
        "'; END IF; RETURN NEW; END $$; CREATE TRIGGER not_yet BEFORE INSERT ON docs FOR EACH ROW "
        "EXECUTE FUNCTION not_yet()");
    EXPECT_EQ(world.push("u1", {{.name = "readTwiceAndAdd", .cmid = "a"}, {.cmid = "b"}}), "applied applied") << state;
    EXPECT_EQ(world.value("SELECT count(*) FROM docs"), "2");
  }
}

TEST(Transient, ALockThatIsNotHadInTimeIsBusyAndLeaksNothing) {
  PushWorld world({.lock_timeout = std::chrono::milliseconds(50)});
  world.other->run("INSERT INTO docs VALUES ('a', 't1', 'secret')");
  world.other->run("BEGIN");
  world.other->run("SELECT * FROM docs FOR UPDATE");
  const Sent edit{.name = "editDoc", .cmid = "m", .id = "a", .text = "y", .client = "c1", .mutation_id = 2};
  EXPECT_EQ(world.push("u1", {{.cmid = "first", .client = "c1", .mutation_id = 1}, edit}), "applied retry:busy");
  world.other->run("COMMIT");
  EXPECT_EQ(world.push("u1", {edit}), "applied");
  world.expect_nothing_leaked();
}

TEST(Transient, ADeadlockOfTwoPushesIsSettledInside) {
  PushWorld world;
  world.other->run("INSERT INTO docs VALUES ('a', 't1', 'x'), ('b', 't1', 'x')");
  // Each holds one row and then wants the other's.
  const auto both = [](const std::string& first, const std::string& second, const std::string& name) {
    return std::vector<Sent>{{.name = "editDoc", .cmid = name + "1", .id = first, .text = name},
                             {.name = "readTwiceAndAdd", .cmid = name + "2", .text = "nothing"},
                             {.name = "editDoc", .cmid = name + "3", .id = second, .text = name}};
  };
  world.gate.close();
  auto one = world.start_push("u1", both("a", "b", "one"));
  auto two = world.start_push("u2", both("b", "a", "two"));
  world.gate.await(2);
  world.gate.open();
  EXPECT_EQ(one.get(), "applied applied applied");
  EXPECT_EQ(two.get(), "applied applied applied");
  // Mutations of one push may share a transaction and need not: who was last may differ from row to row.
  EXPECT_EQ(world.value("SELECT count(*) FROM docs WHERE id IN ('a', 'b') AND title IN ('one', 'two')"), "2");
  EXPECT_EQ(world.value("SELECT count(*) FROM nizhal.mutation WHERE applied"), "6");
  EXPECT_EQ(world.value("SELECT count(*) FROM docs WHERE title = 'nothing'"), "2") << "each ran once";
}

// What mutators have read holds until they commit

/// Runs `work(thread)` on so many threads at once.
void on_threads(int count, const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) threads.emplace_back(work, t);
  for (auto& thread : threads) thread.join();
}

TEST(Isolation, NoUpdateIsLostBetweenGetAndUpdate) {
  PushWorld world;
  world.other->run("INSERT INTO accounts VALUES ('a', 't1', 0)");
  on_threads(8, [&world](int t) {
    for (int i = 0; i < 10; ++i)
      EXPECT_EQ(world.push_until_decided(
                    "u1", {.name = "increment", .cmid = std::to_string(t) + "/" + std::to_string(i), .id = "a"}),
                "applied");
  });
  EXPECT_EQ(world.value("SELECT count FROM accounts"), "80");
}

TEST(Isolation, ASumThatWasSearchedNeverGoesBelowZero) {
  PushWorld world;
  world.other->run("INSERT INTO entries VALUES ('all', 't1', 20)");
  std::atomic<int> spent{0}, refused{0};
  on_threads(8, [&](int t) {
    for (int i = 0; i < 5; ++i) {
      const std::string answer =
          world.push_until_decided("u1", {.name = "spend", .cmid = std::to_string(t) + "/" + std::to_string(i)});
      ++(answer == "applied" ? spent : refused);
      EXPECT_TRUE(answer == "applied" || answer == "rejected:no_money") << answer;
    }
  });
  EXPECT_EQ(world.value("SELECT sum(amount) FROM entries"), "0");
  EXPECT_EQ(spent, 20);
  EXPECT_EQ(refused, 20);
}

TEST(Isolation, WhatOneSearchedForAnotherDoesNotWriteBehindItsBack) {
  // closeTeam looks for entries and closes; bookIfOpen looks whether it is closed and makes an entry, without any
  // search. Whichever commits first, the other must see it.
  PushWorld world;
  world.push("u1", {{.name = "closeTeam", .cmid = "warm"}});
  world.other->run("DELETE FROM docs");
  world.gate.close();
  world.second_gate.close();
  auto close = world.start_push("u1", {{.name = "closeTeam", .cmid = "closed"}});
  auto book = world.start_push("u2", {{.name = "bookIfOpen", .cmid = "entry", .text = "closed"}});
  world.gate.await();
  world.second_gate.await();
  world.gate.open();
  world.second_gate.open();
  const std::string closed = close.get(), booked = book.get();
  EXPECT_TRUE((closed == "applied" && booked == "rejected:closed") ||
              (closed == "rejected:not_empty" && booked == "applied"))
      << closed << ", " << booked;
}

TEST(Isolation, NumbersAreGivenOnceAndWithoutHoles) {
  PushWorld world;
  world.other->run("INSERT INTO invoices VALUES ('old', 't1', 7)");
  on_threads(8, [&world](int t) {
    for (int i = 0; i < 15; ++i)
      EXPECT_EQ(
          world.push_until_decided("u1", {.name = "addInvoice", .cmid = std::to_string(t) + "/" + std::to_string(i)}),
          "applied");
  });
  EXPECT_EQ(world.value("SELECT count(DISTINCT number) || ' ' || min(number) || ' ' || max(number) FROM invoices"),
            "121 7 127");
  // Rows of other programs count, also after the horizon has passed the earlier ones.
  world.other->run("INSERT INTO invoices VALUES ('theirs', 't1', 500)");
  ASSERT_EQ(world.push("u1", {{.name = "addInvoice", .cmid = "next"}}), "applied");
  EXPECT_EQ(world.value("SELECT number FROM invoices WHERE id = 'next'"), "501");
  EXPECT_NE(world.value("SELECT through FROM nizhal.counter"), "-1") << "later looks are short";
  world.other->run("DELETE FROM invoices WHERE id = 'next'");
  ASSERT_EQ(world.push("u1", {{.name = "addInvoice", .cmid = "after"}}), "applied");
  EXPECT_EQ(world.value("SELECT number FROM invoices WHERE id = 'after'"), "502") << "never given twice";
}

TEST(Isolation, ANumberInAnotherProgramsOpenTransactionIsNeitherSkippedForEverNorForgotten) {
  PushWorld world;
  // Committed late, with a version that lies below those that the looks have passed meanwhile.
  world.other->run("BEGIN");
  world.other->run("INSERT INTO invoices VALUES ('late', 't1', 1000)");
  std::vector<Sent> many;
  for (int i = 0; i < 150; ++i) many.push_back({.name = "addInvoice", .cmid = "m" + std::to_string(i)});
  ASSERT_EQ(world.push("u1", many).find("retry"), std::string::npos);
  ASSERT_EQ(world.push("u1", {{.name = "addInvoice", .cmid = "before"}}), "applied");
  world.other->run("COMMIT");
  ASSERT_EQ(world.push("u1", {{.name = "addInvoice", .cmid = "next"}}), "applied");
  EXPECT_EQ(world.value("SELECT number FROM invoices WHERE id = 'before'"), "151");
  EXPECT_EQ(world.value("SELECT number FROM invoices WHERE id = 'next'"), "1001");
}

}  // namespace
}  // namespace nizhal::testing
