#include "server/waiting_pulls.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

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
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= waiting_max_) return false;
    waiting_.push_back(std::move(pull));
    if (is_running_) return true;
    is_running_ = true;
  }
  executor_.post([weak = weak_from_this()] {
    if (const auto alive = weak.lock()) alive->run();
  });
  return true;
}

void WaitingPulls::answer_all(std::vector<WaitingPull> pulls) {
  const auto now = storage_.position();
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
    executor_.post([weak = weak_from_this(), at = *now, part, is_in_tail] {
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
      if (waiting_.empty()) {
        is_running_ = false;
        return;
      }
      pulls.swap(waiting_);
    }
    // Those that come from now on wait for the next look.
    answer_all(std::move(pulls));
  }
}

}  // namespace nizhal::server
