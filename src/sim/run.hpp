// One run of the simulator, from its options to what it found.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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
  std::map<std::string, std::uint64_t> reached;  // marks of rare branches (base/reached.hpp), those that were
  std::vector<std::string> silent_faults;        // that are on, and never happened
  std::vector<std::string> last_lines;           // of the history
};

using MakeWorkload = std::function<std::unique_ptr<Workload>(const Options& options)>;

/// What a run may be given from outside.
struct RunPlace {
  std::string folder = {};  // empty, and emptied by whoever made it; "": the run makes its own, which goes with it
  std::function<void(std::string_view line)> on_line = {};  // of its history, as it comes
};
RunResult run_once(const std::shared_ptr<const CompiledDomain>& domain, const Options& options,
                   const MakeWorkload& make_workload, const RunPlace& place = {});

}  // namespace nizhal::sim
