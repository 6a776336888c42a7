#include "sim/report.hpp"

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "base/reached.hpp"

namespace nizhal::sim {

namespace {

double minutes(Micros time) { return std::chrono::duration<double, std::ratio<60>>(time).count(); }
double hours(Micros time) { return std::chrono::duration<double, std::ratio<3600>>(time).count(); }

std::string numbers_json(const std::map<std::string, std::uint64_t>& values) {
  std::string text = "{";
  for (const auto& [name, value] : values) {
    if (text.size() > 1) text += ',';
    append_json_string(text, name);
    text += fmt::format(":{}", value);
  }
  return text + "}";
}

std::string names_json(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const std::string& name : names) {
    if (text.size() > 1) text += ',';
    append_json_string(text, name);
  }
  return text + "]";
}

/// Of the enumeration's constant: "lost-reply" → "lost_reply".
std::string constant_name(Fault fault) {
  std::string name = to_string(fault);
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}

}  // namespace

void Summary::add(const Options& options, const RunResult& result) {
  ++runs;
  virtual_time += result.virtual_time;
  mutations_made += result.mutations_made;
  applied += result.applied;
  refused += result.refused;
  for (const auto& [mutator, times] : result.applied_by_mutator) applied_by_mutator[mutator] += times;
  for (const auto& [what, times] : result.counts) counts[what] += times;
  for (const auto& [fault, rate] : options.faults) ++runs_by_fault[to_string(fault)];
  for (const auto& [mark, times] : result.reached) reached[mark] += times;
  digest = to_hex(sha256(as_bytes(digest + result.digest)));
}

double Summary::runs_per_minute() const {
  return real_time.count() == 0 ? 0 : static_cast<double>(runs) / minutes(real_time);
}
double Summary::virtual_hours_per_minute() const {
  return real_time.count() == 0 ? 0 : hours(virtual_time) / minutes(real_time);
}

std::vector<std::string> Summary::never_reached() const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kMarks; ++i) {
    const std::string name(to_string(static_cast<Mark>(i)));
    if (!reached.contains(name)) names.push_back(name);
  }
  return names;
}

std::vector<std::string> meaningless(const CompiledDomain& domain, const Options& options, const RunResult& result) {
  std::vector<std::string> reasons;
  if (options.devices < kDevicesMin)
    reasons.push_back(fmt::format("there are {} devices, not {}", options.devices, kDevicesMin));
  if (result.applied < kAppliedMin)
    reasons.push_back(fmt::format("{} mutations were applied, not {}", result.applied, kAppliedMin));
  if (result.applied * 2 < result.mutations_made)
    reasons.push_back(
        fmt::format("{} of {} mutations were applied, less than half", result.applied, result.mutations_made));
  for (const auto& mutator : domain.domain().mutators())
    if (!result.applied_by_mutator.contains(mutator->name))
      reasons.push_back(fmt::format("the mutator {} was never applied", mutator->name));
  for (const std::string& fault : result.silent_faults)
    reasons.push_back(fmt::format("the fault {} is on, and never happened", fault));
  return reasons;
}

std::vector<std::string> meaningless(const Summary& summary) {
  std::vector<std::string> reasons;
  for (std::size_t i = 0; i < kFaults && summary.runs >= kRunsOfAllFaults; ++i) {
    const char* fault = to_string(static_cast<Fault>(i));
    if (!summary.runs_by_fault.contains(fault)) reasons.push_back(fmt::format("no run had the fault {}", fault));
  }
  return reasons;
}

std::string summary_line(const Summary& summary) {
  return fmt::format(
      "{} run{} ({} of them twice), {:.1f} virtual hours; {:.0f} runs and {:.1f} virtual hours a minute; mutations: {} "
      "made, {} applied, {} refused; {} kinds of faults; digest {}",
      summary.runs, summary.runs == 1 ? "" : "s", summary.runs_twice, hours(summary.virtual_time),
      summary.runs_per_minute(), summary.virtual_hours_per_minute(), summary.mutations_made, summary.applied,
      summary.refused, summary.runs_by_fault.size(), summary.digest.substr(0, 16));
}

std::string summary_json(const Summary& summary) {
  return fmt::format(
      R"("runs":{},"runsTwice":{},"virtualHours":{:.3f},"seconds":{:.3f},"runsPerMinute":{:.1f},)"
      R"("virtualHoursPerMinute":{:.2f},"made":{},"applied":{},"refused":{},"appliedByMutator":{},"runsByFault":{},)"
      R"("counts":{},"reached":{},"neverReached":{},"digest":"{}")",
      summary.runs, summary.runs_twice, hours(summary.virtual_time), minutes(summary.real_time) * 60,
      summary.runs_per_minute(), summary.virtual_hours_per_minute(), summary.mutations_made, summary.applied,
      summary.refused, numbers_json(summary.applied_by_mutator), numbers_json(summary.runs_by_fault),
      numbers_json(summary.counts), numbers_json(summary.reached), names_json(summary.never_reached()), summary.digest);
}

std::string scenario_test(const ScenarioTest& names, const Options& options, const Violation& violation) {
  std::string faults;
  for (const auto& [fault, rate] : options.faults)
    faults += fmt::format("{}Fault::{}", faults.empty() ? "" : ", ", constant_name(fault));
  std::string only;
  if (options.only)
    for (const std::size_t number : *options.only) only += fmt::format("{}{}", only.empty() ? "" : ", ", number);
  return fmt::format(R"(// Found by the simulator: {0}, {1}.
#include <gtest/gtest.h>

#include "{2}"
#include "sim/generated_workload.hpp"
#include "sim/run.hpp"

namespace nizhal::sim {{
namespace {{

TEST(SimulatedScenario, Seed{3}Holds) {{
  const auto domain = *CompiledDomain::compile({4});
  Overrides overrides;
  overrides.devices = {5};
  overrides.mutations = {6};
  overrides.faults = std::set<Fault>{{{7}}};
{8}  const RunResult result = run_once(domain, draw_options({3}, overrides), generated_workload(domain));
  ASSERT_FALSE(result.violation) << result.violation->oracle << ": " << result.violation->what;
}}

}}  // namespace
}}  // namespace nizhal::sim
)",
                     violation.oracle, describe(options), names.domain_header, options.seed, names.domain_function,
                     options.devices, options.mutations, faults,
                     options.only ? fmt::format("  overrides.only = std::set<std::size_t>{{{}}};\n", only) : "");
}

}  // namespace nizhal::sim
