// The outside that every engine part is given and never reaches for: time, randomness, a place to run work.
// The native runtime hands in the real ones, tests and the simulator their own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>

#include <nizhal/value.hpp>

namespace nizhal {

class Clock {
 public:
  virtual ~Clock() = default;
  /// Wall time, UTC. May jump either way.
  virtual Timestamp now() = 0;
  /// Never goes back; only differences mean something.
  virtual std::chrono::microseconds monotonic() = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::uint8_t> bytes) = 0;
  std::uint64_t next();
  /// Uniform in [0, bound); 0 when bound is 0.
  std::uint64_t below(std::uint64_t bound);
};

/// Runs posted work, later or on other threads; in order of posting only where an implementation says so.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void post(std::function<void()> work) = 0;
};

/// The operating system's clock and generator. Thread-safe.
Clock& system_clock();
Random& system_random();

/// Time that moves only when told to, and a seeded generator (SplitMix64). Not thread-safe.
class ManualClock : public Clock {
 public:
  explicit ManualClock(Timestamp start) : now_(start) {}
  Timestamp now() override { return now_; }
  std::chrono::microseconds monotonic() override { return monotonic_; }
  void advance(std::chrono::microseconds by) {
    now_.microseconds += by.count();
    monotonic_ += by;
  }
  void jump_wall(std::chrono::microseconds by) { now_.microseconds += by.count(); }

 private:
  Timestamp now_;
  std::chrono::microseconds monotonic_{0};
};
class SeededRandom : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void fill(std::span<std::uint8_t> bytes) override;

 private:
  std::uint64_t state_;
};

}  // namespace nizhal
