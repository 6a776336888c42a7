// Virtual time: what is to happen, in order of its moment and then of its being asked for. Nothing else moves the time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "base/environment.hpp"
#include "base/timers.hpp"

namespace nizhal::sim {

using Micros = std::chrono::microseconds;

class EventQueue {
 public:
  Micros now() const { return now_; }
  void at(Micros when, std::function<void()> work) {
    waiting_.push({when < now_ ? now_ : when, ++asked_, std::move(work)});
  }
  void after(Micros delay, std::function<void()> work) { at(now_ + delay, std::move(work)); }
  std::optional<Micros> next() const { return waiting_.empty() ? std::nullopt : std::optional(waiting_.top().when); }
  /// False: nothing is waiting.
  bool run_next() {
    if (waiting_.empty()) return false;
    // priority_queue gives no way to move its top out; the entry goes with the pop.
    const Entry next = waiting_.top();
    waiting_.pop();
    now_ = next.when;
    next.work();
    return true;
  }
  /// Nothing is waiting before `moment`, and it is that late now.
  void pass(Micros moment) {
    if (moment > now_) now_ = moment;
  }
  std::uint64_t asked() const { return asked_; }

 private:
  struct Entry {
    Micros when;
    std::uint64_t number;
    std::function<void()> work;
    bool operator<(const Entry& other) const {  // the queue's top is the greatest
      return when != other.when ? when > other.when : number > other.number;
    }
  };
  std::priority_queue<Entry> waiting_;
  Micros now_{0};
  std::uint64_t asked_ = 0;
};

/// A machine's clock: the queue's time, with an offset and a drift of its own.
class VirtualClock : public Clock {
 public:
  VirtualClock(const EventQueue& queue, Timestamp start) : queue_(queue), start_(start) {}
  Timestamp now() override {
    const auto since = queue_.now() - drifts_since_;
    return Timestamp{start_.microseconds + queue_.now().count() + offset_.count() +
                     since.count() / 1'000'000 * drift_per_million_};
  }
  Micros monotonic() override { return queue_.now(); }
  void jump(Micros by) { offset_ += by; }
  /// What the drift came to so far stays.
  void set_drift(std::int64_t per_million) {
    offset_ += Micros((queue_.now() - drifts_since_).count() / 1'000'000 * drift_per_million_);
    drifts_since_ = queue_.now();
    drift_per_million_ = per_million;
  }
  void set_right() {
    offset_ = Micros(0);
    drift_per_million_ = 0;
  }

 private:
  const EventQueue& queue_;
  Timestamp start_;
  Micros offset_{0}, drifts_since_{0};
  std::int64_t drift_per_million_ = 0;
};

class VirtualTimers : public Timers {
 public:
  explicit VirtualTimers(EventQueue& queue) : queue_(queue) {}
  void after(Micros delay, std::function<void()> work) override { queue_.after(delay, std::move(work)); }

 private:
  EventQueue& queue_;
};

}  // namespace nizhal::sim
