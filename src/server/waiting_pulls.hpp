// Pulls that wait together for one look at where the database stands, and for one refresh of the tail, instead of a
// thread and queries each. Place in the loop: before pull_handler, for pulls that can probably be answered from memory.
//
// After a poke of many streams their pulls are expected, and the look is held back until they have come: all of them,
// or until no more come, and never for longer than limits allow. A pull that nobody expects holds it back no more, so
// that few or single ones are answered at once.
//
// The fact that must not break: the look begins after the pull has come; what cannot be answered from memory goes the
// usual way.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <nizhal/actor.hpp>

#include "base/environment.hpp"
#include "base/timers.hpp"
#include "protocol/transport.hpp"
#include "server/expected_pulls.hpp"
#include "server/limits.hpp"
#include "server/pull_handler.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

struct WaitingPull {
  Actor actor;
  protocol::PullRequest request;
  std::optional<PullQuestion> question;  // where it may be told that nothing is new
  /// Called once, on a thread of the executor. Nothing: the pull is to be handled as any other.
  std::function<void(std::optional<protocol::HttpResponse>)> answer;
};

/// Makes the answers; nothing, where it takes more than what is in memory. Thread-safe.
class WaitingPullAnswers {
 public:
  virtual ~WaitingPullAnswers() = default;
  /// To a pull with a question that has come again, should nothing have happened.
  virtual std::optional<protocol::HttpResponse> idle_answer(const storage::Position& now, const WaitingPull& pull) = 0;
  /// Whether the tail may answer it; called before the tail is brought up to date.
  virtual bool may_be_in_tail(const WaitingPull& pull) = 0;
  virtual std::optional<protocol::HttpResponse> tail_answer(const storage::Position& now, const WaitingPull& pull) = 0;
};

struct WaitingPullsOutside {
  storage::Storage& storage;
  Clock& clock;
  Executor& executor;
  Timers* timers = nullptr;  // none: no pull waits for others to come
};

/// Thread-safe.
class WaitingPulls : public std::enable_shared_from_this<WaitingPulls> {
 public:
  /// `answers` must outlive what is posted to the executor.
  WaitingPulls(WaitingPullsOutside outside, std::shared_ptr<Tail> tail, const Limits& limits,
               WaitingPullAnswers& answers)
      : outside_(outside), tail_(std::move(tail)), limits_(limits), answers_(answers) {}

  /// False: too many wait, and nothing was taken.
  bool try_add(WaitingPull pull);

  /// These streams are about to be poked; their pulls wait for each other.
  void expect(const PokedStreams& poked);
  /// Those who have waited for others long enough wait no longer. Timers see to that; called now and then, no pull's
  /// answer depends on a timer.
  void check();
  /// From now on nobody waits for others.
  void stop_gathering();

 private:
  using Response = std::optional<protocol::HttpResponse>;
  using Time = std::chrono::microseconds;  // of Clock::monotonic
  bool is_time_over(Time now) const;
  bool begin_run();
  void post_run();
  void arm(Time delay);
  void run();
  void answer_all(std::vector<WaitingPull> pulls);
  void answer_from_tail(const storage::Position& now, const std::vector<WaitingPull>& pulls, bool is_in_tail);

  const WaitingPullsOutside outside_;
  const std::shared_ptr<Tail> tail_;
  const Limits limits_;
  WaitingPullAnswers& answers_;

  std::mutex mutex_;
  std::vector<WaitingPull> waiting_;
  bool is_running_ = false;  // or about to
  bool is_due_ = false;      // those who wait are to be answered; else they wait for others

  ExpectedPulls expected_;
  bool is_gathering_off_ = false;
  bool is_armed_ = false;            // a timer will check
  Time first_came_{}, last_came_{};  // of those who wait for others
};

}  // namespace nizhal::server
