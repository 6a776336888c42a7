// Runs of one seed after the other, until one violates something or there were enough.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/environment.hpp"
#include "sim/report.hpp"
#include "sim/run_processes.hpp"

namespace nizhal::sim {

struct HuntOptions {
  std::uint64_t seed = 1;
  std::optional<std::uint64_t> runs;         // neither this nor `time`: one
  std::optional<std::chrono::seconds> time;  // real time, after which no further run begins
  std::uint64_t twice_every = 10;            // one of so many runs goes twice and must come to the same; 0: none
  Overrides overrides;
  bool trace = false;
  /// Whoever told how many devices, mutations or actions there are does not ask whether they are enough.
  bool is_narrowed() const { return overrides.devices || overrides.mutations || overrides.only; }
};

struct Finding {
  Options options;
  RunResult result;
  bool is_not_deterministic = false;
};
struct Hunt {
  Summary summary;
  std::optional<Finding> finding;        // what ended it
  std::vector<std::string> meaningless;  // of all runs together
};

struct HuntWatcher {
  std::function<void(const Options&)> on_start = {};
  std::function<void(const Summary& so_far)> on_run = {};
  std::function<bool()> is_interrupted = {};
};

/// Results count in the order of their seeds, however many run at once: the same seeds come to the same digest, and the
/// first violation is that of the lowest seed.
Hunt hunt(RunProcesses& processes, const CompiledDomain& domain, const HuntOptions& options, Clock& clock,
          const HuntWatcher& watcher = {});

}  // namespace nizhal::sim
