// The simulator's core on the notes domain: it runs, twice the same, and finds nothing in a healthy engine.
#include <gtest/gtest.h>

#include <cstdlib>

#include <fmt/format.h>

#include "base/test_seed.hpp"
#include "sim/run.hpp"
#include "sim/test_notes_workload.hpp"

namespace nizhal::sim {
namespace {

class Simulation : public ::testing::Test {
 protected:
  std::shared_ptr<const CompiledDomain> domain_ = *CompiledDomain::compile(notes::domain());
  RunResult run(const Options& options) {
    return run_once(domain_, options,
                    [this](const Options&) { return std::make_unique<testing::NotesWorkload>(domain_); });
  }
  static std::string told(const Options& options, const RunResult& result) {
    std::string text = fmt::format("{}\n{}\n", replay_arguments(options, true), describe(options));
    for (const std::string& line : result.last_lines) text += line + "\n";
    if (result.violation) text += result.violation->oracle + ": " + result.violation->what;
    return text;
  }
};

TEST_F(Simulation, HoldsWhateverFails) {
  const std::uint64_t seed = ::nizhal::test_seed("simulation", 1);
  const char* runs = std::getenv("NIZHAL_RUNS");
  for (std::uint64_t i = 0; i < (runs ? std::strtoull(runs, nullptr, 10) : 20); ++i) {
    const Options options = draw_options(seed + i);
    const RunResult result = run(options);
    ASSERT_FALSE(result.violation) << told(options, result);
    EXPECT_GT(result.applied, 5U) << told(options, result);
    EXPECT_GT(result.counts.at("complete pulls compared"), 5U) << told(options, result);
  }
}

TEST_F(Simulation, EachFaultAloneHappensAndNothingBreaks) {
  const std::uint64_t seed = ::nizhal::test_seed("simulation of single faults", 1);
  for (std::size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    bool has_happened = false;
    for (std::uint64_t run = 0; run < 8 && !has_happened; ++run) {
      Overrides overrides;
      overrides.faults = {fault};
      overrides.mutations = 60;
      const Options options = draw_options(seed + run, overrides);
      const RunResult result = this->run(options);
      ASSERT_FALSE(result.violation) << told(options, result);
      has_happened = result.silent_faults.empty();
    }
    EXPECT_TRUE(has_happened) << to_string(fault) << " never happened, from seed " << seed;
  }
}

TEST_F(Simulation, PeopleRetryDiscardUndoAndChooseTheirBuckets) {
  const std::uint64_t seed = ::nizhal::test_seed("simulated people", 1);
  std::map<std::string, std::uint64_t> counts;
  for (std::uint64_t i = 0; i < 12; ++i) {
    const Options options = draw_options(seed + i);
    const RunResult result = run(options);
    ASSERT_FALSE(result.violation) << told(options, result);
    for (const auto& [what, times] : result.counts) counts[what] += times;
  }
  for (const char* what :
       {"letters retried", "letters discarded", "mutations undone", "buckets chosen", "buckets given up"})
    EXPECT_GT(counts[what], 0U) << what << ", from seed " << seed;
}

TEST_F(Simulation, OneSeedTwiceGivesOneDigest) {
  const std::uint64_t seed = ::nizhal::test_seed("simulation twice", 100);
  for (std::uint64_t i = 0; i < 5; ++i) {
    const Options options = draw_options(seed + i);
    EXPECT_EQ(run(options).digest, run(options).digest) << "seed " << options.seed;
  }
  EXPECT_NE(run(draw_options(seed)).digest, run(draw_options(seed + 1)).digest);
}

}  // namespace
}  // namespace nizhal::sim
