// `nizhal sim` as people and scripts call it: what it prints first and last, its exit codes, and that the command it
// prints makes the same run again.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "tests/support/json_answer.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

constexpr std::chrono::minutes kPatienceForRuns{20};

/// With `how` as what the fickle domain does.
Finished sim(std::vector<std::string> arguments, const std::string& how = "") {
  arguments.insert(arguments.begin(), {NIZHAL_BIN, "sim"});
  auto environment = nizhal_environment();
  environment.environment.emplace_back("NIZHAL_FICKLE", how);
  const auto finished = process::run_process(std::move(arguments), environment, {}, kPatienceForRuns);
  if (!finished) {
    ADD_FAILURE() << finished.error().message;
    return {};
  }
  return *finished;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string text_in(const json::value& object, std::string_view name) {
  return std::string(string_member(object, name).value_or(""));
}

/// The last line of a failure, as arguments.
std::vector<std::string> replay_of(const Finished& finished) {
  std::vector<std::string> words;
  const auto lines = lines_of(finished.out);
  if (lines.empty()) return words;
  std::istringstream stream(lines.back());
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.size() < 3 || words[0] != "nizhal" || words[1] != "sim") {
    ADD_FAILURE() << "not a command: " << lines.back();
    return {};
  }
  return {words.begin() + 2, words.end()};
}

TEST(SimCommand, TwoHuntsOfTheSameSeedsGiveTheSameDigestHoweverManyRunAtOnce) {
  const auto hunt = [](const std::string& jobs) {
    return answer_of(
        sim({"--domain", domain_library("notes"), "--seed", "3", "--runs", "10", "--jobs", jobs, "--json"}));
  };
  const json::value first = hunt("1"), second = hunt("3");
  EXPECT_EQ(text_in(first, "digest").size(), 64U);
  EXPECT_EQ(text_in(first, "digest"), text_in(second, "digest"));
  EXPECT_EQ(number_in(first, "runs"), 10);
  EXPECT_EQ(number_in(first, "runsTwice"), 1);
  EXPECT_GE(number_in(first, "applied"), 1'000);
  const json::value* violation = member(first, "violation");
  EXPECT_TRUE(violation && violation->is_null());
  const json::value* never = member(first, "neverReached");
  EXPECT_TRUE(never && never->is_array());
}

TEST(SimCommand, ASeedAndWhatItDrewArePrintedFirstAndASummaryLast) {
  const Finished finished = sim({"--domain", domain_library("ledger"), "--seed", "5"});
  EXPECT_EQ(finished.status.code, 0) << finished.out << finished.err;
  const auto lines = lines_of(finished.out);
  ASSERT_GE(lines.size(), 3U);
  EXPECT_EQ(lines[0], "nizhal sim: domain ledger 1.0.0, seed 5");
  EXPECT_EQ(lines[1].rfind("seed 5: ", 0), 0U) << lines[1];
  EXPECT_NE(lines[1].find("mutations"), std::string::npos);
  EXPECT_NE(lines[1].find("faults: "), std::string::npos);
  EXPECT_EQ(lines.back().rfind("1 run ", 0), 0U) << lines.back();
  EXPECT_NE(lines.back().find("virtual hours a minute"), std::string::npos);
  EXPECT_NE(lines.back().find("digest "), std::string::npos);
}

TEST(SimCommand, ADomainThatBehavesHolds) {
  const Finished finished = sim({"--domain", domain_library("fickle"), "--runs", "4"});
  EXPECT_EQ(finished.status.code, 0) << finished.out << finished.err;
}

TEST(SimCommand, AMutatorThatEndsTheProcessIsExitTenWithTheCommandThatDoesItAgain) {
  const Finished finished = sim({"--domain", domain_library("fickle"), "--runs", "4", "--no-shrink"}, "ends");
  EXPECT_EQ(finished.status.code, 10) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("signal 6"), std::string::npos) << finished.out;
  EXPECT_EQ(sim(replay_of(finished), "ends").status.code, 10);
}

TEST(SimCommand, ABrokenPromiseIsExitElevenIsMadeShortAndPrintedAsATest) {
  const Finished finished =
      sim({"--domain", domain_library("fickle"), "--seed", "1", "--runs", "5", "--scenario-test"}, "counts");
  EXPECT_EQ(finished.status.code, 11) << finished.out << finished.err;
  const std::vector<std::string> replay = replay_of(finished);
  EXPECT_NE(std::find(replay.begin(), replay.end(), "--only"), replay.end()) << "it was not made shorter";
  EXPECT_NE(finished.out.find("TEST(SimulatedScenario, Seed2Holds)"), std::string::npos) << finished.out;
  const Finished again = sim(replay, "counts");
  EXPECT_EQ(again.status.code, 11) << again.out;
  // The oracle that complained complains again.
  const auto oracle_of = [](const Finished& told) {
    const auto lines = lines_of(told.out);
    for (auto line = lines.rbegin(); line != lines.rend(); ++line)
      if (line->find(" (safety): ") != std::string::npos) return line->substr(0, line->find(' '));
    return std::string();
  };
  EXPECT_NE(oracle_of(finished), "");
  EXPECT_EQ(oracle_of(again), oracle_of(finished));
}

TEST(SimCommand, ARunThatIsAnotherOneEachTimeIsFoundOut) {
  // Whichever comes first: an oracle that looks at one run, or the same run twice.
  const Finished finished = sim({"--domain", domain_library("fickle"), "--runs", "20", "--no-shrink"}, "draws");
  EXPECT_TRUE(finished.status.code == 11 || finished.status.code == 13) << finished.out << finished.err;
}

TEST(SimCommand, ViolationsAreOneLineOfJsonToo) {
  const json::value answer =
      answer_of(sim({"--domain", domain_library("fickle"), "--seed", "2", "--no-shrink", "--json"}, "counts"), 11);
  const json::value* violation = member(answer, "violation");
  ASSERT_TRUE(violation && violation->is_object()) << to_text(answer);
  EXPECT_EQ(number_in(*violation, "seed"), 2);
  EXPECT_EQ(text_in(*violation, "kind"), "safety");
  EXPECT_NE(text_in(*violation, "what"), "");
  EXPECT_EQ(text_in(*violation, "replay").rfind("nizhal sim --domain", 0), 0U);
}

TEST(SimCommand, RunsThatProveTooLittleAreExitOne) {
  const Finished finished = sim({"--domain", domain_library("fickle"), "--may-miss", "none"});
  EXPECT_EQ(finished.status.code, 1) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("the branch crdt_update_applied was never reached"), std::string::npos) << finished.out;
  EXPECT_NE(lines_of(finished.out).back().find("meaningless"), std::string::npos) << finished.out;
}

TEST(SimCommand, WhoTellsHowMuchIsDoneIsNotAskedWhetherItIsEnough) {
  const Finished finished = sim({"--domain", domain_library("notes"), "--devices", "1", "--mutations", "5"});
  EXPECT_EQ(finished.status.code, 0) << finished.out << finished.err;
}

TEST(SimCommand, ATraceShowsEveryEvent) {
  const Finished finished = sim({"--domain", domain_library("notes"), "--mutations", "5", "--trace"});
  EXPECT_EQ(finished.status.code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find(" is made: "), std::string::npos) << finished.out;
  EXPECT_NE(finished.out.find("/sync/push → 200"), std::string::npos) << finished.out;
}

TEST(SimCommand, WrongUsageIsExitTwoAndSaysWhatToDo) {
  const std::string notes = domain_library("notes");
  struct Call {
    std::vector<std::string> arguments;
    int code;
    std::string says;
  };
  for (const Call& call : std::vector<Call>{
           {{}, 2, "--domain"},
           {{"--domain", notes, "--builtin", "notes"}, 2, "--builtin"},
           {{"--builtin", "nothing"}, 2, "--builtin"},
           {{"--domain", notes, "--seed", "one"}, 2, "--seed"},
           {{"--domain", notes, "--runs", "0"}, 2, "--runs"},
           {{"--domain", notes, "--jobs", "0"}, 2, "--jobs"},
           {{"--domain", notes, "--faults", "lost-reply,flood"}, 2, "there is no fault \"flood\""},
           {{"--domain", notes, "--only", "3,x"}, 2, "--only"},
           {{"--domain", notes, "--only", "9-3"}, 2, "--only"},
           {{"--domain", notes, "--may-miss", "nothing_like_it"}, 2, "--may-miss"},
           {{"--domain", notes, "--frobnicate"}, 2, "--frobnicate"},
           {{"--domain", "missing.so"}, 4, "missing.so"},
           {{"--domain", domain_library("leaky")}, 4, "everything"},
       }) {
    const Finished finished = sim(call.arguments);
    const std::string shown = call.arguments.empty() ? "" : call.arguments.back();
    EXPECT_EQ(finished.status.code, call.code) << shown << finished.err;
    EXPECT_NE(finished.err.find(call.says), std::string::npos) << shown << "\n" << finished.err;
  }
  const Finished help = sim({"--help"});
  EXPECT_EQ(help.status.code, 0);
  for (const char* option :
       {"--seed", "--runs", "--minutes", "--faults", "--only", "--scenario-test", "--may-miss", "Exit codes: 10"})
    EXPECT_NE(help.out.find(option), std::string::npos) << option;
}

}  // namespace
}  // namespace nizhal::testing
