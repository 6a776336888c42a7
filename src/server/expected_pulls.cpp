#include "server/expected_pulls.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace nizhal::server {

void ExpectedPulls::expect(const PokedStreams& poked, Time until) {
  until_ = std::max(until_, until);
  for (const auto& [user_id, streams] : poked) {
    Pulls& pulls = users_[user_id];
    // A device that is told of two commits before it pulls does that once.
    const std::size_t waiting = std::min(pulls.waiting, streams);
    pulls.again = std::max(pulls.again, waiting);
    const std::size_t to_come = std::max(pulls.to_come, streams - waiting);
    to_come_ += to_come - std::exchange(pulls.to_come, to_come);
  }
}

bool ExpectedPulls::take(const std::string& user_id, Time now) {
  if (users_.empty()) return false;
  if (now > until_) {
    forget();
    return false;
  }
  const auto it = users_.find(user_id);
  if (it == users_.end() || it->second.to_come == 0) return false;
  --it->second.to_come;
  --to_come_;
  ++it->second.waiting;
  return true;
}

void ExpectedPulls::released() {
  for (auto it = users_.begin(); it != users_.end();) {
    Pulls& pulls = it->second;
    pulls.waiting = 0;
    to_come_ += pulls.again;
    pulls.to_come += std::exchange(pulls.again, 0);
    it = pulls.to_come == 0 ? users_.erase(it) : std::next(it);
  }
}

void ExpectedPulls::forget() {
  users_.clear();
  to_come_ = 0;
}

}  // namespace nizhal::server
