// Which commits the open streams were told of already, by commit and bucket. News of one commit comes up to three ways
// (its own instance says so, here or over the bus, and the database shows it), in any order.
//
// The fact that must not break: of one commit a bucket is told once, whichever way comes first, as long as the commit
// is remembered. A forgotten one is told again, which costs an idle pull.
//
// Threads: belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>

#include "base/ids.hpp"

namespace nizhal::server {

class ToldCommits {
 public:
  using Keys = std::set<std::string>;

  /// The commit's own instance says what it changed: that is all there is to tell of it. Returns what was not told yet.
  Keys announced(Version version, const Keys& keys);
  /// The database shows what it changed. Returns what was not told yet; nothing of a commit that was announced.
  Keys seen(Version version, const Keys& keys);
  /// The database is not asked for commits up to here any more. Of them some are still remembered: what another
  /// instance says of them may be under way.
  void settle(Version through);
  void clear() {
    commits_.clear();
    settled_ = {};
  }
  std::size_t size() const { return commits_.size(); }

  static constexpr std::size_t kSettledKept = 4'096;
  static constexpr std::size_t kMax = 65'536;  // however long a writer keeps the horizon back

 private:
  struct Told {
    bool announced = false;
    Keys keys;
  };
  Keys tell(Told& told, const Keys& keys);
  std::map<Version, Told> commits_;
  Version settled_{};
};

}  // namespace nizhal::server
