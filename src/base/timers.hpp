// Work that is to run later: part of the outside that an engine part is given (base/environment.hpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "base/environment.hpp"

namespace nizhal {

class Timers {
 public:
  virtual ~Timers() = default;
  /// Calls `work` once, `delay` later or some time after that, on a thread that it must not keep; never before this
  /// returns. What is not due when the host ends is dropped. Thread-safe; never blocks.
  virtual void after(std::chrono::microseconds delay, std::function<void()> work) = 0;
};

/// Fires when told to, by a clock that moves when told to. Not thread-safe.
class ManualTimers : public Timers {
 public:
  explicit ManualTimers(ManualClock& clock) : clock_(clock) {}
  void after(std::chrono::microseconds delay, std::function<void()> work) override {
    waiting_.emplace(clock_.monotonic() + delay, std::move(work));
  }
  /// When the next one is due.
  std::optional<std::chrono::microseconds> next() const {
    return waiting_.empty() ? std::nullopt : std::optional(waiting_.begin()->first);
  }
  void fire_due() {
    while (!waiting_.empty() && waiting_.begin()->first <= clock_.monotonic()) {
      const auto work = std::move(waiting_.extract(waiting_.begin()).mapped());
      work();
    }
  }
  /// Moves the clock to the next one, if any is due by then, and fires it; else moves the clock by all of `by`.
  void advance(std::chrono::microseconds by) {
    const auto end = clock_.monotonic() + by;
    for (auto due = next(); due && *due <= end; due = next()) {
      clock_.advance(std::max(*due - clock_.monotonic(), std::chrono::microseconds(0)));
      fire_due();
    }
    clock_.advance(end - clock_.monotonic());
  }
  std::size_t waiting() const { return waiting_.size(); }

 private:
  ManualClock& clock_;
  std::multimap<std::chrono::microseconds, std::function<void()>> waiting_;
};

}  // namespace nizhal
