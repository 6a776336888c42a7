#include "sim/run.hpp"

#include "sim/disk/simulation_folder.hpp"
#include "sim/system.hpp"

namespace nizhal::sim {

RunResult run_once(const std::shared_ptr<const CompiledDomain>& domain, const Options& options,
                   const MakeWorkload& make_workload) {
  RunResult result;
  const auto folder = SimulationFolder::make();
  if (!folder) {
    result.violation = Violation{Violation::Kind::crash, "start", folder.error().message, {}};
    return result;
  }
  const auto workload = make_workload(options);
  System system(domain, options, *workload, folder->path());
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
  result.silent_faults = system.silent_faults();
  result.last_lines.assign(history.last_lines().begin(), history.last_lines().end());
  return result;
}

}  // namespace nizhal::sim
