// The tail: what changed lately, in memory, as one snapshot of the database. Place in the loop: commit ▶ (tail) ▶
// pull_handler and poker. Connected devices ask for little else, so that their pulls need no query of their own.
//
// The facts that must not break: rows, removals, grants and clients here are of one and the same snapshot; and an
// answer rests on a look at the database that began after its request came, shared by all who wait for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nizhal/actor.hpp>
#include <nizhal/result.hpp>

#include "base/ids.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "server/limits.hpp"
#include "server/tail_changes.hpp"
#include "server/tail_known.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

/// What has been committed since the tail was asked before, by anyone. A pair or a grant change above the horizon may
/// be told again.
struct TailNews {
  /// The tail cannot tell: anything may have changed, grants too. The lists then hold nothing.
  bool everything = false;
  /// Where the database stood: what is told from now on is above `position.horizon`, or is in a later `everything`.
  storage::Position position;
  /// A version and the key of a bucket in which it changed something; each pair once.
  std::set<std::pair<Version, std::string>> changes;
  std::vector<storage::RecentChanges::GrantChange> grant_changes;
};

struct TailFigures {
  bool is_on = false;
  std::uint64_t hits = 0, misses = 0;
  std::uint64_t refreshes = 0;
  std::size_t bytes = 0, rows = 0, removals = 0;
  Version start{};
};

/// Thread-safe.
class Tail {
 public:
  /// Begins when it is first asked for anything.
  Tail(std::shared_ptr<const CompiledDomain> domain, storage::Storage& storage, const Limits& limits, Log log);

  /// False: it was switched off, or the storage cannot tell what changed.
  bool is_on() const { return is_on_; }

  // For the poker.

  /// What changed until now, by a look that begins now. Blocks on storage; what failed is `everything`.
  TailNews look();
  /// The actor's buckets are kept in memory for as long as it has been kept more often than released.
  void keep(const Actor& actor);
  void release(const Actor& actor);

  // For pulls. In this order: expect(), then a position is read, then bring_up_to() and view() with it.

  /// Whether a pull of changes above `after` by this actor and device may be answered, as far as can be told without
  /// waiting; what is not known about them yet is read with the next refresh.
  bool expect(const Actor& actor, const std::optional<std::string>& device_id, Version after);
  /// Everything that was committed before `now` was read is in the tail from here on, and so is what expect() was told
  /// of before, as far as there is room. Blocks on storage, together with others. False: the tail is of no use now.
  bool bring_up_to(const storage::Position& now);
  /// The snapshot in memory, at `now` or later. Calls that it cannot answer fail. Nothing else of the tail may be
  /// called by this thread while it has it, and it must not have it for long. Nothing: the tail is of no use now.
  std::unique_ptr<storage::Snapshot> view(const storage::Position& now);
  /// False: there is nothing in it yet, or any more; bring_up_to() begins it.
  bool has_begun() const;
  /// The storage could not be asked; it may be another database when it can be.
  void begin_anew();

  /// How many threads are in bring_up_to() now and wait for another one's refresh.
  std::size_t waiting() const;

  void count_hit() { ++hits_; }
  void count_miss() { ++misses_; }
  TailFigures figures() const;

 private:
  struct Kept {
    Actor actor;
    std::size_t times = 0;
  };

  /// Where the next refresh goes on from; nothing: it begins anew.
  std::optional<storage::Position> standing(std::uint64_t& beginnings) const;
  bool is_at(const storage::Position& now) const;
  bool has_wanted() const;
  storage::ChangesQuery take_wanted();
  bool refresh(storage::Position settled);
  bool read_and_apply(const storage::Position& settled, storage::ChangesQuery& query,
                      std::vector<std::pair<std::string, Actor>>& forgotten);
  bool apply(const storage::RecentChanges& changes, const storage::ChangesQuery& query, bool is_anew,
             std::uint64_t beginnings, std::vector<std::pair<std::string, Actor>>& forgotten);
  void add_news(const storage::RecentChanges& changes, Version after);
  void add_everything_to_news();

  const std::shared_ptr<const CompiledDomain> domain_;
  storage::Storage& storage_;
  const std::size_t bytes_max_, rows_max_;
  const Log log_;
  std::atomic<bool> is_on_;
  std::atomic<std::uint64_t> hits_{0}, misses_{0}, refreshes_{0};

  // One refresh at a time. Whoever waits needs one that began after it came.
  mutable std::mutex turn_mutex_;
  std::condition_variable finished_one_;
  std::uint64_t begun_ = 0, finished_ = 0;
  bool is_refreshing_ = false;
  bool has_worked_ = false;  // the last one
  std::size_t waiting_ = 0;

  // Used by whoever has the turn.
  std::optional<std::pair<std::string, Version>> resting_;  // epoch and horizon at which too much lay above the horizon

  mutable std::mutex wanted_mutex_;
  std::map<std::string, Actor> wanted_actors_;  // by grants_name
  std::set<std::string> wanted_clients_;
  std::map<std::string, Kept> kept_;  // by grants_name
  TailNews news_;

  mutable std::shared_mutex mutex_;  // of what follows, which only a refresh changes; no other is taken under it
  bool is_begun_ = false;
  std::uint64_t beginnings_ = 0;  // how often everything was forgotten
  storage::Position position_;    // of the snapshot
  TailChanges changes_;
  TailKnown known_;
};

}  // namespace nizhal::server
