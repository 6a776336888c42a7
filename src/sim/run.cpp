#include "sim/run.hpp"

#include <array>

#include "base/reached.hpp"
#include "sim/disk/simulation_folder.hpp"
#include "sim/system.hpp"

namespace nizhal::sim {

RunResult run_once(const std::shared_ptr<const CompiledDomain>& domain, const Options& options,
                   const MakeWorkload& make_workload, const RunPlace& place) {
  if (place.folder.empty()) {
    const auto folder = SimulationFolder::make();
    if (folder) return run_once(domain, options, make_workload, {.folder = folder->path(), .on_line = place.on_line});
    RunResult failed;
    failed.violation = Violation{Violation::Kind::crash, "start", folder.error().message, {}};
    return failed;
  }
  // The process may have made other runs before.
  std::array<std::uint64_t, kMarks> before{};
  for (std::size_t i = 0; i < kMarks; ++i) before[i] = reached_count(static_cast<Mark>(i));
  RunResult result;
  const auto workload = make_workload(options);
  System system(domain, options, *workload, place.folder);
  system.tell_history_to(place.on_line);
  system.run();
  const History& history = system.history();
  result.violation = history.violation();
  result.digest = history.digest();
  result.virtual_time = system.virtual_time();
  result.mutations_made = history.counted("mutations made");
  result.applied = system.oracles().applied();
  result.refused = system.oracles().refused();
  result.applied_by_mutator = system.oracles().applied_by_mutator();
  result.counts = history.counts();
  for (std::size_t i = 0; i < kMarks; ++i)
    if (const auto times = reached_count(static_cast<Mark>(i)) - before[i])
      result.reached[std::string(to_string(static_cast<Mark>(i)))] = times;
  result.silent_faults = system.silent_faults();
  result.last_lines.assign(history.last_lines().begin(), history.last_lines().end());
  return result;
}

}  // namespace nizhal::sim
