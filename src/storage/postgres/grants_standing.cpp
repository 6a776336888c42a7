#include "storage/postgres/grants_standing.hpp"

#include <algorithm>
#include <utility>

namespace nizhal::storage::pg {

void GrantsStanding::looked(Time began, std::uint64_t mark, Version settled, std::set<std::uint64_t> seen) {
  const std::lock_guard lock(mutex_);
  is_known_ = true;
  began_ = began;
  mark_ = mark;
  settled_ = settled;
  seen_ = std::move(seen);
}

void GrantsStanding::lost() {
  const std::lock_guard lock(mutex_);
  is_known_ = false;
}

std::optional<Version> GrantsStanding::unsettled_after() const {
  const std::lock_guard lock(mutex_);
  if (!is_known_) return std::nullopt;
  return settled_;
}

std::optional<std::uint64_t> GrantsStanding::mark(Time connected, const std::vector<Version>& versions) const {
  const std::lock_guard lock(mutex_);
  if (!is_known_ || connected >= began_) return std::nullopt;
  const bool were_there = std::all_of(versions.begin(), versions.end(), [this](Version version) {
    return version <= settled_ || seen_.contains(number(version));
  });
  if (!were_there) return std::nullopt;
  return mark_;
}

}  // namespace nizhal::storage::pg
