// What many runs came to: sums, whether they meant something, and how it is told.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "sim/options.hpp"
#include "sim/run.hpp"

namespace nizhal::sim {

struct Summary {
  std::uint64_t runs = 0, runs_twice = 0;
  Micros virtual_time{0};
  Micros real_time{0};
  std::uint64_t mutations_made = 0, applied = 0, refused = 0;
  std::map<std::string, std::uint64_t> applied_by_mutator;
  std::map<std::string, std::uint64_t> counts;
  std::map<std::string, std::uint64_t> runs_by_fault;  // that had it on
  std::map<std::string, std::uint64_t> reached;        // marks of rare branches
  std::string digest;                                  // over the runs' digests, in their order

  void add(const Options& options, const RunResult& result);
  double runs_per_minute() const;
  double virtual_hours_per_minute() const;
  /// The marks of base/reached.hpp that no run came by.
  std::vector<std::string> never_reached() const;
};

inline constexpr std::size_t kDevicesMin = 3;
inline constexpr std::uint64_t kAppliedMin = 100;

/// So many runs have every fault in one of them.
inline constexpr std::uint64_t kRunsOfAllFaults = 100;

/// Why a run proves little, one sentence each: too few devices, too little applied, too much refused, a mutator that
/// was never applied, a fault that is on and never happened.
std::vector<std::string> meaningless(const CompiledDomain& domain, const Options& options, const RunResult& result);
/// The same of all runs together: a fault that none of many runs had.
std::vector<std::string> meaningless(const Summary& summary);

/// One line: "100 runs, 41.2 virtual hours, 310 runs per minute, …, digest 5f…".
std::string summary_line(const Summary& summary);
/// The members of a JSON object, without its braces.
std::string summary_json(const Summary& summary);

/// The source of a test that makes the run again. `domain_header` and `domain_function` are what it includes and calls:
/// "examples/notes/notes.hpp" and "notes::domain()".
struct ScenarioTest {
  std::string domain_header, domain_function;
};
std::string scenario_test(const ScenarioTest& names, const Options& options, const Violation& violation);

}  // namespace nizhal::sim
