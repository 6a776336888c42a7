// `nizhal chaos` as people and scripts call it: what it answers, and that every scenario holds.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "tests/support/json_answer.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

constexpr std::chrono::minutes kPatienceForAll{20};

/// With an environment that reaches PostgreSQL when the caller's does.
Finished chaos(std::vector<std::string> arguments, std::chrono::milliseconds patience = kPatience) {
  arguments.insert(arguments.begin(), {NIZHAL_BIN, "chaos"});
  const auto finished = process::run_process(std::move(arguments), nizhal_environment(), {}, patience);
  if (!finished) {
    ADD_FAILURE() << finished.error().message;
    return {};
  }
  return *finished;
}

std::string text_of(const json::value& object, std::string_view name) {
  return std::string(string_member(object, name).value_or(""));
}

json::array array_of(const json::value& value) { return value.if_array() ? *value.if_array() : json::array(); }

struct Listed {
  std::string name;
  bool needs_postgres = false;
};
std::vector<Listed> listed() {
  std::vector<Listed> all;
  for (const json::value& scenario : array_of(answer_of(chaos({"--list", "--json"})))) {
    const json::value* needs = member(scenario, "needsPostgres");
    EXPECT_NE(text_of(scenario, "what"), "");
    all.push_back({text_of(scenario, "name"), needs && needs->is_bool() && needs->get_bool()});
  }
  return all;
}

/// Every scenario that the database allows has run, held, and says what was done and what held.
void expect_all_held(const json::value& answer, const std::string& domain, bool with_postgres) {
  std::set<std::string> expected, names;
  for (const Listed& scenario : listed())
    if (with_postgres || !scenario.needs_postgres) expected.insert(scenario.name);
  EXPECT_GE(expected.size(), 25U);
  std::size_t own = 0;
  for (const json::value& outcome : array_of(answer)) {
    const std::string name = text_of(outcome, "name");
    SCOPED_TRACE(name);
    names.insert(name);
    EXPECT_EQ(text_of(outcome, "status"), "held") << to_text(outcome);
    EXPECT_EQ(number_in(outcome, "seed"), 1);
    EXPECT_NE(text_of(outcome, "domain"), "");
    own += text_of(outcome, "domain") == domain;
    const json::value* steps = member(outcome, "steps");
    std::size_t did = 0, held = 0, looked = 0;
    for (const json::value& step : steps ? array_of(*steps) : json::array()) {
      did += !text_of(step, "did").empty();
      const std::string what = text_of(step, "held");
      held += !what.empty();
      looked += what.find("of the server's tables") != std::string::npos;
    }
    EXPECT_GE(did, 1U);
    EXPECT_GE(held, 2U);
    EXPECT_GE(looked, 1U) << "the devices were not held against the server";
  }
  EXPECT_EQ(names, expected);
  EXPECT_GE(own, 15U) << "these run on the domain that was given";
}

TEST(AllScenarios, HoldOnSqlite) {
  const Finished finished =
      chaos({"--domain", domain_library("ledger"), "--scenario", "all", "--json"}, kPatienceForAll);
  expect_all_held(answer_of(finished), "ledger", false);
  EXPECT_NE(finished.err.find("left out: rolling-restart needs PostgreSQL (--db)"), std::string::npos) << finished.err;
}

TEST(AllScenarios, HoldOnPostgres) {
  const char* url = std::getenv("NIZHAL_DB");
  ASSERT_NE(url, nullptr) << "run with tools/with_postgres.sh";
  const Finished finished =
      chaos({"--domain", domain_library("ledger"), "--scenario", "all", "--db", url, "--may-kill-postgres", "--json"},
            kPatienceForAll);
  expect_all_held(answer_of(finished), "ledger", true);
}

TEST(ChaosCommand, ScenariosFindBugsThatAreInTheEngineOnPurpose) {
  const struct {
    const char* bug;  // of base/planted.hpp
    const char* scenario;
    const char* domain;
    const char* says;
  } finds[] = {
      {"apply_twice", "counted-once", "stock", "are left"},
      {"drop_an_undo", "poison-mutation", "notes", "what they had shown is rolled back"},
      {"overlook_a_clone", "clone-of-a-device", "ledger", ""},
      {"skip_the_page_end", "interrupted-pull", "notes", "differs from the server"},
      {"forget_an_exit", "moved-out-of-reach", "notes", "what is in his team"},
      {"hide_a_revocation", "revoked-membership", "notes", "nothing of the team is left"},
      {"leak_in_a_refusal", "revoked-membership", "notes", "no byte of what was written"},
      {"prune_without_a_horizon", "tombstones-pruned-under-an-offline-fleet", "notes", ""},
      {"bury_without_a_letter", "poison-mutation", "notes", "are dead letters"},
      {"lose_a_crdt_update", "slow-reader", "docs", "differs from the server"},
      {"skip_the_horizon", "gained-membership-lost-reply", "notes", "bob has every note"},
  };
  for (const auto& find : finds) {
    SCOPED_TRACE(find.bug);
    SpawnOptions planted = nizhal_environment();
    const std::vector<std::string> arguments{NIZHAL_BIN "_planted_chaos", "chaos",      "--json",     "--domain",
                                             domain_library(find.domain), "--scenario", find.scenario};
    const auto healthy = process::run_process(arguments, planted, {}, kPatience);
    ASSERT_TRUE(healthy);
    EXPECT_EQ(healthy->status.code, 0) << "without the bug it holds: " << healthy->out << healthy->err;
    planted.environment.emplace_back("NIZHAL_PLANT", find.bug);
    const auto finished = process::run_process(arguments, planted, {}, kPatienceForAll);
    ASSERT_TRUE(finished);
    const json::value answer = answer_of(*finished, 1);
    EXPECT_NE(to_text(answer).find("\"failed\":\""), std::string::npos) << to_text(answer);
    EXPECT_NE(to_text(answer).find(find.says), std::string::npos) << to_text(answer);
  }
}

TEST(ChaosCommand, WrongUsageIsExitTwoAndSaysWhatToDo) {
  const std::string notes = domain_library("notes");
  struct Call {
    std::vector<std::string> arguments;
    int code;
    std::string says;
  };
  for (const Call& call : std::vector<Call>{
           {{"--scenario", "poison-mutatoin"}, 2, "did you mean \"poison-mutation\"?"},
           {{"--scenario", "nothing like it"}, 2, "there are: partition-during-push"},
           {{"--scenario", "rolling-restart"}, 2, "--db"},
           {{"--db", "sqlite:x"}, 2, "postgresql://"},
           {{"--may-kill-postgres"}, 2, "--db"},
           {{"--domain", "missing.so"}, 4, "missing.so"},
           {{"--seed", "one"}, 2, "--seed"},
           {{"--frobnicate"}, 2, "--frobnicate"},
           {{"--scenario", "poison-mutation", "--db", "postgresql://nobody@127.0.0.1:1/none"}, 4, "127.0.0.1"},
       }) {
    const Finished finished = chaos(call.arguments);
    EXPECT_EQ(finished.status.code, call.code) << call.arguments.back() << finished.err;
    EXPECT_NE(finished.err.find(call.says), std::string::npos) << call.arguments.back() << "\n" << finished.err;
  }
}

TEST(ChaosCommand, TheListNamesEachScenarioOnceAndWhatItNeeds) {
  std::set<std::string> names, on_postgres;
  for (const Listed& scenario : listed()) {
    EXPECT_TRUE(names.insert(scenario.name).second) << scenario.name;
    if (scenario.needs_postgres) on_postgres.insert(scenario.name);
  }
  EXPECT_EQ(on_postgres, (std::set<std::string>{"rolling-restart", "postgres-killed"}));
  const Finished shown = chaos({"--list"});
  EXPECT_NE(shown.out.find("needs --db"), std::string::npos);
  EXPECT_NE(shown.out.find("on notes"), std::string::npos);
}

TEST(ChaosCommand, ScenariosOfALibraryAreListedAndRunBesideTheBuiltInOnes) {
  const std::string tasks = domain_library("tasks");
  EXPECT_NE(chaos({"--domain", tasks, "--list"}).out.find("too-many-tasks"), std::string::npos);
  EXPECT_EQ(chaos({"--list"}).out.find("too-many-tasks"), std::string::npos);
  const json::value answer = answer_of(chaos({"--domain", tasks, "--scenario", "too-many-tasks", "--json"}));
  ASSERT_EQ(array_of(answer).size(), 1U);
  EXPECT_EQ(text_of(array_of(answer)[0], "status"), "held");
  EXPECT_EQ(text_of(array_of(answer)[0], "domain"), "tasks");
}

TEST(ChaosCommand, AScenarioThatFailsIsExitOneAndSaysHowToRepeatIt) {
  const std::string failing = domain_library("failing_chaos");
  const Finished finished = chaos({"--domain", failing, "--scenario", "wrong-count", "--seed", "7"});
  EXPECT_EQ(finished.status.code, 1);
  EXPECT_NE(finished.out.find("FAILED  there are two notes"), std::string::npos) << finished.out;
  EXPECT_NE(finished.out.find("--scenario wrong-count --seed 7"), std::string::npos) << finished.out;
  EXPECT_EQ(finished.out.find("never reached"), std::string::npos);
  const struct {
    const char* name;
    const char* says;
  } others[] = {{"throws", "the scenario threw: on purpose"},
                {"expects-nothing", "the scenario expected nothing"},
                {"lost-row", "differs from the server"},
                {"doubled", "applied more than once"},
                {"lost-mutation", "is lost"}};
  for (const auto& other : others) {
    const json::value answer = answer_of(chaos({"--domain", failing, "--scenario", other.name, "--json"}), 1);
    ASSERT_EQ(array_of(answer).size(), 1U);
    EXPECT_EQ(text_of(array_of(answer)[0], "status"), "failed");
    EXPECT_NE(to_text(answer).find(other.says), std::string::npos) << to_text(answer);
  }
}

TEST(ChaosCommand, AScenarioThatNeedsOtherTablesSaysOnWhichDomainItRuns) {
  const Finished finished = chaos({"--domain", domain_library("ledger"), "--scenario", "poison-mutation"});
  EXPECT_EQ(finished.status.code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("runs on the built-in domain \"notes\", whose tables it needs"), std::string::npos);
  EXPECT_NE(finished.out.find("1 held, 0 failed on SQLite"), std::string::npos) << finished.out;
}

}  // namespace
}  // namespace nizhal::testing
