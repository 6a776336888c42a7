#include "sim/hunt.hpp"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace nizhal::sim {

namespace {

struct Started {
  Options options;
  bool is_second = false;  // of a run that goes twice
};

/// Where the histories of two runs part, for a person who looks for the reason.
std::string first_difference(const RunResult& first, const RunResult& second) {
  const auto [one, other] = std::mismatch(first.last_lines.begin(), first.last_lines.end(), second.last_lines.begin(),
                                          second.last_lines.end());
  const auto text = [](const RunResult& run, auto at) -> std::string {
    return at == run.last_lines.end() ? "its end" : *at;
  };
  return fmt::format("line {} is \"{}\" and \"{}\"", one - first.last_lines.begin() + 1, text(first, one),
                     text(second, other));
}

class Hunting {
 public:
  Hunting(RunProcesses& processes, const CompiledDomain& domain, const HuntOptions& options, Clock& clock,
          const HuntWatcher& watcher)
      : processes_(processes),
        domain_(domain),
        options_(options),
        clock_(clock),
        watcher_(watcher),
        began_(clock.monotonic()) {}

  Hunt run() {
    while (!hunt_.finding) {
      while (processes_.has_room() && start_next()) {
      }
      if (processes_.is_empty()) break;
      take();
    }
    hunt_.summary.real_time = clock_.monotonic() - began_;
    while (!processes_.is_empty()) processes_.take();  // later seeds say nothing any more
    return std::move(hunt_);
  }

 private:
  bool start_next() {
    if (second_) {
      begin(*std::exchange(second_, std::nullopt), true, true);
      return true;
    }
    const std::uint64_t runs = options_.runs.value_or(options_.time ? UINT64_MAX : 1);
    if (next_ >= runs || (watcher_.is_interrupted && watcher_.is_interrupted())) return false;
    if (options_.time && clock_.monotonic() - began_ >= *options_.time) return false;
    Options drawn = draw_options(options_.seed + next_, options_.overrides);
    drawn.trace = options_.trace;
    ++next_;
    if (watcher_.on_start) watcher_.on_start(drawn);
    const bool goes_twice = options_.twice_every > 0 && next_ % options_.twice_every == 0;
    if (goes_twice) second_ = drawn;
    begin(std::move(drawn), false, goes_twice);
    return true;
  }
  void begin(Options drawn, bool is_second, bool goes_twice) {
    if (is_second) drawn.trace = false;
    processes_.start(drawn, goes_twice ? RunProcesses::Lines::all : RunProcesses::Lines::last);
    started_.push_back({std::move(drawn), is_second});
  }

  void take() {
    Started started = std::move(started_.front());
    started_.pop_front();
    RunResult result = processes_.take();
    if (started.is_second) {
      ++hunt_.summary.runs_twice;
      if (result.digest == last_.digest && !result.violation) return;
      RunResult differing = std::move(result);
      differing.violation =
          Violation{Violation::Kind::safety, "digest",
                    fmt::format("the same run twice came to {} and {}: {}", last_.digest.substr(0, 16),
                                differing.digest.substr(0, 16), first_difference(last_, differing)),
                    differing.virtual_time};
      hunt_.finding = Finding{std::move(started.options), std::move(differing), true};
      return;
    }
    last_ = result;
    hunt_.summary.add(started.options, result);
    hunt_.summary.real_time = clock_.monotonic() - began_;
    if (watcher_.on_run) watcher_.on_run(hunt_.summary);
    if (!result.violation && !options_.is_narrowed()) {
      std::string reasons;
      for (const std::string& reason : meaningless(domain_, started.options, result))
        reasons += (reasons.empty() ? "" : "; ") + reason;
      if (!reasons.empty())
        result.violation = Violation{Violation::Kind::meaningless, "meaning", std::move(reasons), result.virtual_time};
    }
    if (result.violation) hunt_.finding = Finding{std::move(started.options), std::move(result), false};
  }

  RunProcesses& processes_;
  const CompiledDomain& domain_;
  const HuntOptions& options_;
  Clock& clock_;
  const HuntWatcher& watcher_;
  const Micros began_;
  std::uint64_t next_ = 0;
  std::optional<Options> second_;
  std::deque<Started> started_;
  RunResult last_;
  Hunt hunt_;
};

}  // namespace

Hunt hunt(RunProcesses& processes, const CompiledDomain& domain, const HuntOptions& options, Clock& clock,
          const HuntWatcher& watcher) {
  Hunt hunt = Hunting(processes, domain, options, clock, watcher).run();
  if (!hunt.finding && !options.is_narrowed() && !options.overrides.faults)
    hunt.meaningless = meaningless(hunt.summary);
  return hunt;
}

}  // namespace nizhal::sim
