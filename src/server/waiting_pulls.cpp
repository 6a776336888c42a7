#include "server/waiting_pulls.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/reached.hpp"

namespace nizhal::server {
namespace {

/// Pages that one thread makes in a row: some milliseconds.
constexpr std::size_t kTogether = 64;

// Nothing that is thrown here may leave the others waiting.

/// What failed is handled the usual way: whoever does that will say what is wrong.
template <class Try>
auto tried(Try attempt) noexcept -> decltype(attempt()) {
  try {
    return attempt();
  } catch (...) {
    return {};
  }
}

void hand_back(const WaitingPull& pull, std::optional<protocol::HttpResponse> response) noexcept {
  try {
    pull.answer(std::move(response));
  } catch (...) {
    // Out of memory: its connection answers by its own timeout.
  }
}

}  // namespace

bool WaitingPulls::try_add(WaitingPull pull) {
  const Time now = outside_.clock.monotonic();
  bool is_taken = true, must_run = false, must_arm = false;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= limits_.idle_pulls_waiting_max) {
      is_taken = false;
      must_run = !waiting_.empty() && begin_run();
    } else {
      const bool is_expected = expected_.take(pull.actor.user_id, now);
      if (waiting_.empty()) first_came_ = now;
      last_came_ = now;
      waiting_.push_back(std::move(pull));
      if (!is_expected || is_due_ || expected_.are_all_here() || is_time_over(now))
        must_run = begin_run();
      else
        must_arm = !std::exchange(is_armed_, true);
      if (!must_run && is_expected) reached(Mark::pulls_gathered);
    }
  }
  if (must_run) post_run();
  if (must_arm) arm(limits_.gather_quiet);
  return is_taken;
}

void WaitingPulls::expect(const PokedStreams& poked) {
  // Without the tail each of them reads the tables anyway.
  if (!outside_.timers || !tail_->is_on()) return;
  const Time now = outside_.clock.monotonic();
  const std::lock_guard lock(mutex_);
  if (!is_gathering_off_) expected_.expect(poked, now + limits_.gather_within);
}

void WaitingPulls::check() {
  const Time now = outside_.clock.monotonic();
  std::optional<Time> rest;
  {
    const std::lock_guard lock(mutex_);
    is_armed_ = false;
    if (waiting_.empty() || is_due_) return;
    const Time due = std::min(last_came_ + limits_.gather_quiet, first_came_ + limits_.gather_max);
    if (now < due) {
      rest = due - now;
      is_armed_ = true;
    } else {
      // The few who are left are not worth waiting for; of many, a part may be on a longer way.
      const bool is_quiet = now >= last_came_ + limits_.gather_quiet;
      if (is_quiet && expected_.to_come() < limits_.gather_streams_min) expected_.forget();
      if (!begin_run()) return;
    }
  }
  if (rest)
    arm(*rest);
  else
    post_run();
}

void WaitingPulls::stop_gathering() {
  {
    const std::lock_guard lock(mutex_);
    is_gathering_off_ = true;
    expected_.forget();
    if (waiting_.empty() || !begin_run()) return;
  }
  post_run();
}

bool WaitingPulls::is_time_over(Time now) const { return now >= first_came_ + limits_.gather_max; }

/// Under the lock. True: post_run() is to be called.
bool WaitingPulls::begin_run() {
  is_due_ = true;
  return !std::exchange(is_running_, true);
}

void WaitingPulls::post_run() {
  outside_.executor.post([weak = weak_from_this()] {
    if (const auto alive = weak.lock()) alive->run();
  });
}

void WaitingPulls::arm(Time delay) {
  outside_.timers->after(delay, [weak = weak_from_this()] {
    if (const auto alive = weak.lock()) alive->check();
  });
}

void WaitingPulls::answer_all(std::vector<WaitingPull> pulls) {
  const auto now = outside_.storage.position();
  if (!now) {
    tail_->begin_anew();
    for (const WaitingPull& pull : pulls) hand_back(pull, std::nullopt);
    return;
  }
  std::vector<WaitingPull> others;
  for (WaitingPull& pull : pulls) {
    Response response = tried([&] { return pull.question ? answers_.idle_answer(*now, pull) : std::nullopt; });
    // A pull without a question would not be here, were it not expected in the tail.
    if (response)
      hand_back(pull, std::move(response));
    else if (!pull.question || tried([&] { return answers_.may_be_in_tail(pull); }))
      others.push_back(std::move(pull));
    else
      hand_back(pull, std::nullopt);
  }
  if (others.empty()) return;
  const bool is_in_tail = tail_->bring_up_to(*now);
  // The first ones here, the rest side by side, while this thread looks for those that came meanwhile.
  for (std::size_t from = kTogether; from < others.size(); from += kTogether) {
    const auto part = std::make_shared<std::vector<WaitingPull>>();
    const auto begin = others.begin() + static_cast<std::ptrdiff_t>(from);
    const auto end = others.begin() + static_cast<std::ptrdiff_t>(std::min(from + kTogether, others.size()));
    part->assign(std::move_iterator(begin), std::move_iterator(end));
    outside_.executor.post([weak = weak_from_this(), at = *now, part, is_in_tail] {
      if (const auto alive = weak.lock()) alive->answer_from_tail(at, *part, is_in_tail);
    });
  }
  others.resize(std::min(kTogether, others.size()));
  answer_from_tail(*now, others, is_in_tail);
}

void WaitingPulls::answer_from_tail(const storage::Position& now, const std::vector<WaitingPull>& pulls,
                                    bool is_in_tail) {
  for (const WaitingPull& pull : pulls)
    hand_back(pull, tried([&] { return is_in_tail ? answers_.tail_answer(now, pull) : std::nullopt; }));
}

void WaitingPulls::run() {
  for (;;) {
    std::vector<WaitingPull> pulls;
    {
      const std::lock_guard lock(mutex_);
      if (!is_due_) {
        is_running_ = false;
        return;
      }
      pulls.swap(waiting_);
      is_due_ = false;
      expected_.released();
    }
    // Those that come from now on wait for the next look.
    answer_all(std::move(pulls));
  }
}

}  // namespace nizhal::server
