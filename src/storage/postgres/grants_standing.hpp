// Where the grants stood at the last look of the Watcher, so that a commit can tell from what comes back with it
// whether any has moved since.
//
// The fact that must not break: a mark that this tells is at least as new as what the commit has read. When in doubt it
// tells none; whoever asked then looks for himself.
//
// Threads: thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "base/ids.hpp"

namespace nizhal::storage::pg {

class GrantsStanding {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// A look that began at `began` and worked: ChangeMark::grants, and the versions at which grants have changed, of
  /// which it has seen all up to `settled`, and those above that are in `seen`.
  void looked(Time began, std::uint64_t mark, Version settled, std::set<std::uint64_t> seen);
  /// A look did not work: nothing is known until the next one.
  void lost();

  /// What a commit has to read: the versions of changes above this one. Nothing: it need not, for it would not be told
  /// a mark anyway.
  std::optional<Version> unsettled_after() const;
  /// ChangeMark::grants, given the versions above unsettled_after() that were read after the commit, on a connection
  /// that has been open since `connected`. Nothing: one of them was not there at the last look; or the database may
  /// have crashed since, and versions that it lost may have come again, which an older connection would not have
  /// outlived.
  std::optional<std::uint64_t> mark(Time connected, const std::vector<Version>& versions) const;

 private:
  mutable std::mutex mutex_;
  bool is_known_ = false;
  Time began_;
  std::uint64_t mark_ = 0;
  Version settled_{};
  std::set<std::uint64_t> seen_;
};

}  // namespace nizhal::storage::pg
