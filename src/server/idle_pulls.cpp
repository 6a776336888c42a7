#include "server/idle_pulls.hpp"

#include <utility>

namespace nizhal::server {

bool IdlePulls::try_add(IdlePull pull) {
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

/// Nothing that is thrown here may leave the others waiting.
void IdlePulls::answer(const Result<storage::Position>& now, const IdlePull& pull) noexcept {
  std::optional<protocol::HttpResponse> response;
  try {
    response = respond_(now, pull);
  } catch (...) {
    response.reset();  // whoever handles it will say what is wrong
  }
  try {
    pull.answer(std::move(response));
  } catch (...) {
    // Out of memory: its connection answers by its own timeout.
  }
}

void IdlePulls::run() {
  for (;;) {
    std::vector<IdlePull> pulls;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) {
        is_running_ = false;
        return;
      }
      pulls.swap(waiting_);
    }
    // Those that come from now on wait for the next one.
    const auto now = storage_.position();
    for (const IdlePull& pull : pulls) answer(now, pull);
  }
}

}  // namespace nizhal::server
