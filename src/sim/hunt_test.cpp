// Runs in processes of their own, hunts over many seeds, and what makes a run meaningless.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "sim/hunt.hpp"
#include "sim/run_codec.hpp"
#include "sim/test_notes_workload.hpp"

namespace nizhal::sim {
namespace {

class Hunting : public ::testing::Test {
 protected:
  std::shared_ptr<const CompiledDomain> domain_ = *CompiledDomain::compile(notes::domain());

  template <class SomeWorkload = testing::NotesWorkload>
  RunProcesses processes(std::size_t at_once = 1) {
    return RunProcesses({.domain = domain_,
                         .make_workload = [this](const Options&) { return std::make_unique<SomeWorkload>(domain_); },
                         .at_once = at_once});
  }
  /// Short ones.
  static HuntOptions few(std::uint64_t runs) {
    HuntOptions options;
    options.runs = runs;
    options.overrides.mutations = 20;
    return options;
  }
};

TEST_F(Hunting, ItsDigestDoesNotDependOnHowManyRunAtOnce) {
  std::vector<std::string> digests;
  for (const std::size_t at_once : {1U, 2U, 3U}) {
    RunProcesses runs = processes(at_once);
    const Hunt found = hunt(runs, *domain_, few(10), system_clock());
    ASSERT_FALSE(found.finding) << found.finding->result.violation->what;
    EXPECT_EQ(found.summary.runs, 10U);
    EXPECT_EQ(found.summary.runs_twice, 1U);
    EXPECT_GT(found.summary.virtual_time, std::chrono::minutes(10));
    digests.push_back(found.summary.digest);
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_EQ(digests[0], digests[2]);
  RunProcesses runs = processes();
  HuntOptions others = few(10);
  others.seed = 2;
  EXPECT_NE(hunt(runs, *domain_, others, system_clock()).summary.digest, digests[0]);
}

TEST_F(Hunting, ARunInAProcessGivesWhatItGivesHere) {
  const Options options = draw_options(4);
  const RunResult here =
      run_once(domain_, options, [this](const Options&) { return std::make_unique<testing::NotesWorkload>(domain_); });
  RunProcesses runs = processes();
  const RunResult there = runs.run(options);
  EXPECT_EQ(there.digest, here.digest);
  EXPECT_EQ(there.applied_by_mutator, here.applied_by_mutator);
  EXPECT_EQ(there.counts, here.counts);
  EXPECT_EQ(there.last_lines, here.last_lines);
  EXPECT_EQ(there.virtual_time, here.virtual_time);
  const RunResult whole = runs.run_with_all_lines(options);
  EXPECT_EQ(whole.digest, here.digest);
  EXPECT_GT(whole.last_lines.size(), here.last_lines.size());
}

class Aborting : public testing::NotesWorkload {
 public:
  using NotesWorkload::NotesWorkload;
  std::vector<std::string> membership_change(Scopes&, Random&) override { std::abort(); }
};

TEST_F(Hunting, ARunThatCrashesIsAFindingWithItsSeedAndItsLastLines) {
  RunProcesses runs = processes<Aborting>(2);
  HuntOptions options = few(50);
  options.overrides.faults = std::set<Fault>{Fault::membership_churn};
  const Hunt found = hunt(runs, *domain_, options, system_clock());
  ASSERT_TRUE(found.finding);
  EXPECT_EQ(found.finding->options.seed, 1U);
  ASSERT_TRUE(found.finding->result.violation);
  EXPECT_EQ(found.finding->result.violation->kind, Violation::Kind::crash);
  EXPECT_EQ(found.finding->result.violation->what, "it ended by signal 6 (Aborted)");
  EXPECT_FALSE(found.finding->result.last_lines.empty());
  EXPECT_TRUE(runs.is_empty());
}

class Throwing : public testing::NotesWorkload {
 public:
  using NotesWorkload::NotesWorkload;
  std::vector<std::string> seed_statements(Random&) override { throw std::runtime_error("no rows today"); }
};

TEST_F(Hunting, AnExceptionIsACrash) {
  RunProcesses runs = processes<Throwing>();
  const RunResult result = runs.run(draw_options(1));
  ASSERT_TRUE(result.violation);
  EXPECT_EQ(result.violation->kind, Violation::Kind::crash);
  EXPECT_EQ(result.violation->what, "an exception: no rows today");
}

/// Draws from the operating system, which no seed makes again.
class Fickle : public testing::NotesWorkload {
 public:
  using NotesWorkload::NotesWorkload;
  std::optional<Call> next(Device& device, Random&) override { return NotesWorkload::next(device, system_random()); }
};

TEST_F(Hunting, ARunThatIsNotTheSameTwiceIsFound) {
  RunProcesses runs = processes<Fickle>(2);
  HuntOptions options = few(10);
  options.twice_every = 4;
  options.overrides.faults = std::set<Fault>{};  // nobody knows what else such a run would find
  const Hunt found = hunt(runs, *domain_, options, system_clock());
  ASSERT_TRUE(found.finding);
  EXPECT_TRUE(found.finding->is_not_deterministic);
  EXPECT_EQ(found.finding->options.seed, 4U);
  EXPECT_EQ(found.finding->result.violation->oracle, "digest");
  // It tells where they part.
  const std::string& what = found.finding->result.violation->what;
  EXPECT_NE(what.find(": line "), std::string::npos) << what;
}

TEST_F(Hunting, NoRunBeginsAfterItsTimeIsUp) {
  RunProcesses runs = processes();
  HuntOptions options = few(1);
  options.runs.reset();
  options.time = std::chrono::seconds(0);
  EXPECT_EQ(hunt(runs, *domain_, options, system_clock()).summary.runs, 0U);
}

TEST_F(Hunting, ARunOfTwentyMutationsProvesTooLittleUnlessItWasAskedFor) {
  Options options = draw_options(1);
  options.mutations = 20;
  options.devices = 2;
  options.faults = {{Fault::power_cut, 1}};
  RunResult result;
  result.mutations_made = 20;
  result.applied = 9;
  result.silent_faults = {"power-cut"};
  for (const auto& mutator : domain_->domain().mutators()) result.applied_by_mutator[mutator->name] = 1;
  EXPECT_EQ(meaningless(*domain_, options, result),
            (std::vector<std::string>{"there are 2 devices, not 3", "9 mutations were applied, not 100",
                                      "9 of 20 mutations were applied, less than half",
                                      "the fault power-cut is on, and never happened"}));
  options.devices = 3;
  result.applied = result.mutations_made = 100;
  result.silent_faults.clear();
  EXPECT_TRUE(meaningless(*domain_, options, result).empty());
}

TEST_F(Hunting, AMutatorThatARunNeverAppliedIsNamed) {
  Options options = draw_options(1);
  options.devices = 3;
  options.faults = {};
  RunResult result;
  result.applied = result.mutations_made = 100;
  for (const auto& mutator : domain_->domain().mutators()) result.applied_by_mutator[mutator->name] = 1;
  EXPECT_TRUE(meaningless(*domain_, options, result).empty());
  result.applied_by_mutator.erase("moveTeamNote");
  EXPECT_EQ(meaningless(*domain_, options, result),
            std::vector<std::string>{"the mutator moveTeamNote was never applied"});
}

TEST_F(Hunting, AFaultThatNoneOfManyRunsHadIsNamed) {
  Summary summary;
  summary.runs = 100;
  for (std::size_t i = 0; i < kFaults; ++i) summary.runs_by_fault[to_string(static_cast<Fault>(i))] = 1;
  EXPECT_TRUE(meaningless(summary).empty());
  summary.runs_by_fault.erase("power-cut");
  EXPECT_EQ(meaningless(summary), std::vector<std::string>{"no run had the fault power-cut"});
  summary.runs = 99;
  EXPECT_TRUE(meaningless(summary).empty());
}

TEST(RunCodec, AResultComesBackAsItWas) {
  RunResult result;
  result.violation = Violation{Violation::Kind::liveness, "liveness", "device 1 has \"3\" pending\n", Micros(17)};
  result.digest = "ab";
  result.virtual_time = Micros(1'234'567);
  result.mutations_made = 5;
  result.applied = 3;
  result.refused = 2;
  result.applied_by_mutator = {{"addNote", 3}};
  result.counts = {{"complete pulls compared", 9}};
  result.silent_faults = {"power-cut"};
  const auto back = decode_result(encode_result(result));
  ASSERT_TRUE(back);
  EXPECT_EQ(encode_result(*back), encode_result(result));
  EXPECT_EQ(back->violation->what, result.violation->what);
  EXPECT_EQ(back->violation->kind, Violation::Kind::liveness);
  EXPECT_FALSE(decode_result("{"));
  EXPECT_TRUE(decode_result(encode_result(RunResult{})));
}

TEST(RunCodec, BytesThatAreNoTextStillComeThrough) {
  RunResult result;
  result.violation = Violation{Violation::Kind::safety, "protocol", "a page: \xff\xfe", Micros(0)};
  const auto back = decode_result(encode_result(result));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->violation->what, "a page: \uFFFD\uFFFD");
}

}  // namespace
}  // namespace nizhal::sim
