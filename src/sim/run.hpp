// One run of the simulator, from its options to what it found.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "sim/history.hpp"
#include "sim/options.hpp"
#include "sim/workload.hpp"

namespace nizhal::sim {

struct RunResult {
  std::optional<Violation> violation;
  std::string digest;
  Micros virtual_time{0};
  std::uint64_t mutations_made = 0, applied = 0, refused = 0;
  std::map<std::string, std::uint64_t> applied_by_mutator;
  std::map<std::string, std::uint64_t> counts;
  std::vector<std::string> silent_faults;  // that are on, and never happened
  std::vector<std::string> last_lines;     // of the history
};

using MakeWorkload = std::function<std::unique_ptr<Workload>(const Options& options)>;

/// Everything a run touches is in a folder of its own that goes with it.
RunResult run_once(const std::shared_ptr<const CompiledDomain>& domain, const Options& options,
                   const MakeWorkload& make_workload);

}  // namespace nizhal::sim
