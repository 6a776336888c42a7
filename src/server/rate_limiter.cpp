#include "server/rate_limiter.hpp"

#include <algorithm>
#include <cmath>

namespace nizhal::server {

RateLimiter::RateLimiter(Clock& clock, double requests_per_second, double burst, std::size_t actors_max)
    : clock_(clock),
      requests_per_second_(requests_per_second),
      burst_(burst >= 1 ? burst : std::max(1.0, requests_per_second)),
      actors_max_(std::max<std::size_t>(1, actors_max)) {}

void RateLimiter::refill(TokenBucket& bucket, std::chrono::microseconds now) const {
  const double seconds = std::chrono::duration<double>(now - bucket.filled_at).count();
  bucket.tokens = std::min(burst_, bucket.tokens + std::max(0.0, seconds) * requests_per_second_);
  bucket.filled_at = now;
}

void RateLimiter::make_room(std::chrono::microseconds now) {
  for (auto it = buckets_.begin(); it != buckets_.end();) {
    refill(it->second, now);
    it = it->second.tokens >= burst_ ? buckets_.erase(it) : std::next(it);
  }
  // Everybody is busy: forgetting some lets them send a burst more, which is better than growing. A tenth at a time,
  // so that the sweep above is not repeated for each newcomer.
  const std::size_t keep = actors_max_ - std::max<std::size_t>(1, actors_max_ / 10);
  while (buckets_.size() > keep) buckets_.erase(buckets_.begin());
}

std::optional<std::chrono::seconds> RateLimiter::admit(const Actor& actor) {
  if (!(requests_per_second_ > 0)) return std::nullopt;
  // The length keeps "a" + "bc" apart from "ab" + "c".
  std::string name = std::to_string(actor.user_id.size()) + ':' + actor.user_id + actor.owner_id;
  const auto now = clock_.monotonic();
  const std::lock_guard lock(mutex_);
  auto it = buckets_.find(name);
  if (it == buckets_.end()) {
    if (buckets_.size() >= actors_max_) make_room(now);
    it = buckets_.emplace(std::move(name), TokenBucket{burst_, now}).first;
  }
  refill(it->second, now);
  if (it->second.tokens >= 1) {
    it->second.tokens -= 1;
    return std::nullopt;
  }
  const double wait = std::ceil((1 - it->second.tokens) / requests_per_second_);
  return std::chrono::seconds(static_cast<std::int64_t>(std::clamp(wait, 1.0, 3600.0)));
}

std::size_t RateLimiter::size() const {
  const std::lock_guard lock(mutex_);
  return buckets_.size();
}

}  // namespace nizhal::server
