// Runs in processes of their own, some at once: a run that crashes or never ends takes nobody with it, none finds what
// an earlier one left, and how many run at once changes nothing about what they find.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>

#include "domain/compiled_domain.hpp"
#include "sim/run.hpp"

namespace nizhal::sim {

/// Single-threaded, and the program has no other threads while it is used: a forked child has only its own.
class RunProcesses {
 public:
  struct Setup {
    std::shared_ptr<const CompiledDomain> domain;
    MakeWorkload make_workload;
    std::size_t at_once = 1;
    std::chrono::seconds patience{600};  // real time, for a run that hangs
  };
  explicit RunProcesses(Setup setup);
  /// Waits for what still runs.
  ~RunProcesses();
  RunProcesses(const RunProcesses&) = delete;
  RunProcesses& operator=(const RunProcesses&) = delete;

  bool has_room() const { return children_.size() < setup_.at_once; }
  bool is_empty() const { return children_.empty(); }
  enum class Lines { last, all };  // of the history, in the result
  /// With `options.trace` every line of the history goes to standard output as it comes.
  void start(const Options& options, Lines lines = Lines::last);
  /// The result of the run that was started first; something was. A process that ended otherwise than with a result is
  /// a violation of the kind crash, with the history's lines until then.
  RunResult take();
  RunResult run(const Options& options) {
    start(options);
    return take();
  }
  RunResult run_with_all_lines(const Options& options) {
    start(options, Lines::all);
    return take();
  }

 private:
  struct Child;
  void read(bool waits);
  Setup setup_;
  std::deque<std::unique_ptr<Child>> children_;
};

}  // namespace nizhal::sim
