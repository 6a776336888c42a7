// The shrinker: what is left fails in the same way and nothing of it can go, within its number of runs; and a run that
// really fails comes down to the few mutations that make it fail.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "sim/report.hpp"
#include "sim/shrink.hpp"
#include "sim/test_notes_workload.hpp"

namespace nizhal::sim {
namespace {

using Items = std::vector<std::size_t>;

Items first(std::size_t count) {
  Items items(count);
  std::iota(items.begin(), items.end(), std::size_t{0});
  return items;
}
bool has_all(const Items& items, const Items& wanted) {
  return std::includes(items.begin(), items.end(), wanted.begin(), wanted.end());
}

TEST(Minimise, LeavesJustWhatFails) {
  for (const Items& culprits : {Items{0}, Items{99}, Items{3, 17}, Items{0, 50, 99}, Items{40, 41, 42, 43}}) {
    std::size_t asked = 0;
    const Items left = minimise(first(100), [&](const Items& items) {
      ++asked;
      return has_all(items, culprits);
    });
    EXPECT_EQ(left, culprits);
    EXPECT_LT(asked, 150U);
  }
}

TEST(Minimise, LeavesNothingWhereNothingIsNeeded) {
  EXPECT_TRUE(minimise(first(10), [](const Items&) { return true; }).empty());
  EXPECT_EQ(minimise(first(3), [](const Items&) { return false; }), first(3));
}

TEST(Minimise, AsksOfEachSingleItemWhetherItCanGo) {
  // Fails with an odd number of items, of which none can go alone once one is left.
  const Items left = minimise(first(9), [](const Items& items) { return items.size() % 2 == 1; });
  EXPECT_EQ(left.size(), 1U);
}

TEST(Translation, AnActionKeepsItsPlaceWhenOthersGo) {
  Options before = draw_options(5);
  before.faults = {{Fault::partition, 4}, {Fault::device_kill, 5}, {Fault::clock_jump, 3}};
  Options after = before;
  after.faults.erase(Fault::device_kill);
  std::set<std::size_t> kept;
  for (const Action& action : draw_plan(before).actions)
    if (action.fault != Fault::device_kill) kept.insert(action.number);
  const auto there = translate(kept, before, after);
  EXPECT_EQ(there.size(), draw_plan(after).actions.size());
  EXPECT_EQ(translate(there, after, before), kept);
}

RunResult violated(const char* oracle) {
  RunResult result;
  result.violation = Violation{Violation::Kind::safety, oracle, "it is", Micros(INT64_MAX)};
  return result;
}

TEST(Shrink, TurnsOffFaultsAndTakesAwayDevicesAndActionsAsLongAsTheSameOracleComplains) {
  Options options = draw_options(7);
  options.devices = 5;
  options.faults = {{Fault::lost_reply, 50}, {Fault::partition, 3}, {Fault::server_kill, 2}};
  const auto plan = draw_plan(options).actions;
  std::vector<std::uint64_t> culprits;  // by the stream of numbers that each has
  for (const Action& action : plan)
    if (!action.fault && culprits.size() < 2 && action.number > 20) culprits.push_back(action.seed);
  std::size_t asked = 0;
  const auto run = [&](const Options& tried) {
    ++asked;
    std::size_t found = 0;
    for (const Action& action : draw_plan(tried).actions)
      if (!tried.only || tried.only->contains(action.number))
        found += static_cast<std::size_t>(std::count(culprits.begin(), culprits.end(), action.seed));
    if (tried.devices < 2 || found < 2) return RunResult{};
    return violated(tried.faults.contains(Fault::lost_reply) ? "fold" : "another");
  };
  const Shrunk shrunk = shrink(options, violated("fold"), run);
  EXPECT_EQ(shrunk.runs, asked);
  EXPECT_LT(shrunk.runs, 100U);
  EXPECT_EQ(shrunk.options.devices, 2U);
  EXPECT_EQ(shrunk.options.faults, (std::map<Fault, std::uint64_t>{{Fault::lost_reply, 50}}));
  ASSERT_TRUE(shrunk.options.only);
  EXPECT_EQ(shrunk.options.only->size(), 2U);
  ASSERT_TRUE(shrunk.result.violation);
  EXPECT_EQ(shrunk.result.violation->oracle, "fold");
}

TEST(Shrink, StopsAfterItsNumberOfRuns) {
  std::size_t asked = 0;
  const Shrunk shrunk = shrink(draw_options(7), violated("fold"),
                               [&](const Options& tried) {
                                 ++asked;
                                 return tried.only && tried.only->size() < 30 ? RunResult{} : violated("fold");
                               },
                               {.runs_max = 20});
  EXPECT_EQ(asked, 20U);
  EXPECT_EQ(shrunk.runs, 20U);
  ASSERT_TRUE(shrunk.result.violation);
}

/// Says that a rule of the app is broken once two certain mutators were applied.
class Complaining : public testing::NotesWorkload {
 public:
  using NotesWorkload::NotesWorkload;
  void settled(const Call& call, bool is_applied) override {
    if (is_applied) applied_.insert(call.mutator);
  }
  std::vector<std::string> violations(Scopes&, bool) override {
    if (applied_.contains("addNote") && applied_.contains("moveTeamNote")) return {"a note was added, another moved"};
    return {};
  }

 private:
  std::set<std::string> applied_;
};

TEST(Shrink, ARealRunComesDownToTheTwoMutationsThatMatter) {
  const auto domain = *CompiledDomain::compile(notes::domain());
  const auto run = [&](const Options& options) {
    return run_once(domain, options, [&](const Options&) { return std::make_unique<Complaining>(domain); });
  };
  const Options options = draw_options(3);
  const RunResult result = run(options);
  ASSERT_TRUE(result.violation);
  ASSERT_EQ(result.violation->oracle, "invariant");
  const Shrunk shrunk = shrink(options, result, run);
  ASSERT_TRUE(shrunk.options.only);
  EXPECT_EQ(shrunk.options.only->size(), 2U);
  EXPECT_TRUE(shrunk.options.faults.empty());
  EXPECT_LE(shrunk.options.devices, options.devices);
  EXPECT_EQ(shrunk.result.violation->what, "a note was added, another moved");
  // Whoever makes it again from the arguments finds the same.
  Overrides overrides;
  overrides.devices = shrunk.options.devices;
  overrides.mutations = shrunk.options.mutations;
  overrides.faults = std::set<Fault>{};
  overrides.only = shrunk.options.only;
  EXPECT_EQ(run(draw_options(3, overrides)).digest, shrunk.result.digest);
  const std::string source =
      scenario_test({"examples/notes/notes.hpp", "notes::domain()"}, shrunk.options, *shrunk.result.violation);
  EXPECT_NE(source.find(fmt::format("overrides.only = std::set<std::size_t>{{{}, {}}};", *shrunk.options.only->begin(),
                                    *shrunk.options.only->rbegin())),
            std::string::npos)
      << source;
}

}  // namespace
}  // namespace nizhal::sim
