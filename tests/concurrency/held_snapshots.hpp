// A storage that keeps the snapshot of a thread's last page for a second look, and that can leave out one of the rules
// on which exactness rests, so that a test can show that it would notice.
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "server/test_storage.hpp"
#include "storage/forwarding.hpp"
#include "storage/postgres/snapshot.hpp"

namespace nizhal::testing {

enum class Fault {
  none,
  no_horizon,      // every version that was handed out counts as settled
  no_judgment,     // a removal is told although a covered bucket has the row
  no_second_look,  // what was committed late, under a version that the tail had passed, is not read by it
};

/// The snapshot that the calling thread's last pull was made from; nothing when none was taken.
inline std::unique_ptr<storage::Snapshot>& held_snapshot() {
  static thread_local std::unique_ptr<storage::Snapshot> held;
  return held;
}

/// A snapshot in which the tail was brought up to date.
struct RefreshSnapshot {
  std::unique_ptr<storage::Snapshot> snapshot;
  std::string name;             // for SET TRANSACTION SNAPSHOT
  std::uint64_t committed = 0;  // of the commits that went through the gate: all these are in it
};

/// Lets no commit come between the read of the recent changes and the snapshot that is taken beside it, so that both
/// show the same. Whatever commits passes it.
class CommitGate {
 public:
  /// Counted when it has worked.
  template <class Commit>
  bool commit(Commit commit) {
    { const std::lock_guard behind_who_closes(turn_); }
    const std::shared_lock lock(commits_);
    const bool has_worked = commit();
    if (has_worked) ++committed_;
    return has_worked;
  }
  std::unique_lock<std::shared_mutex> close() {
    const std::lock_guard first(turn_);
    return std::unique_lock(commits_);
  }
  std::uint64_t committed() const { return committed_; }

  /// Held by a refresh, and by whoever empties a table: the refresh waits for the end of that, which it would keep
  /// away.
  std::mutex refreshes;

 private:
  std::mutex turn_;
  std::shared_mutex commits_;
  std::atomic<std::uint64_t> committed_{0};
};

class GatedTransaction : public server::testing::FaultyTransaction {
 public:
  GatedTransaction(std::unique_ptr<storage::WriteTransaction> inner, CommitGate& gate, storage::WriteMode mode)
      : FaultyTransaction(std::move(inner), &no_faults_, mode, &no_mode_, &kTellsGrants), gate_(gate) {}
  Result<void> commit() override {
    Result<void> committed;
    gate_.commit([&] {
      committed = FaultyTransaction::commit();
      return committed.has_value();
    });
    return committed;
  }

 private:
  static constexpr bool kTellsGrants = true;
  CommitGate& gate_;
  server::testing::FaultPlan no_faults_;
  std::optional<storage::WriteMode> no_mode_;
};

class HeldSnapshot : public storage::ForwardingSnapshot {
 public:
  HeldSnapshot(std::unique_ptr<storage::Snapshot> inner, Fault fault)
      : storage::ForwardingSnapshot(std::move(inner)), fault_(fault) {}
  ~HeldSnapshot() override { held_snapshot() = std::move(inner_); }

  Result<std::vector<storage::Removal>> live_removals(const storage::LiveQuery& query) override {
    auto removals = inner_->live_removals(query);
    if (removals && fault_ == Fault::no_judgment)
      for (storage::Removal& removal : *removals) removal.covered_at.reset();
    return removals;
  }

 private:
  const Fault fault_;
};

class HeldSnapshots : public storage::ForwardingStorage {
 public:
  /// `with_tail`: the recent changes are read, too, and the snapshots in which they were are kept for a while.
  HeldSnapshots(std::unique_ptr<storage::Storage> inner, Fault fault, bool with_tail)
      : storage::ForwardingStorage(*inner), owned_(std::move(inner)), fault_(fault), with_tail_(with_tail) {}

  CommitGate& gate() { return gate_; }
  /// The latest ones, of those that have so many commits.
  std::vector<std::shared_ptr<const RefreshSnapshot>> refreshes_with(std::uint64_t committed) {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<const RefreshSnapshot>> found;
    for (const auto& refresh : refreshes_)
      if (refresh->committed >= committed) found.push_back(refresh);
    return found;
  }

  Result<storage::Position> position() override {
    auto position = inner_->position();
    if (position && fault_ == Fault::no_horizon) position->horizon = position->last;
    return position;
  }
  Result<std::unique_ptr<storage::Snapshot>> open_snapshot(const std::optional<storage::Position>& settled) override {
    held_snapshot().reset();
    auto opened = inner_->open_snapshot(settled);
    if (!opened) return opened;
    return std::make_unique<HeldSnapshot>(std::move(*opened), fault_);
  }
  Result<std::optional<storage::RecentChanges>> changes_since(const storage::Position& settled,
                                                              const storage::ChangesQuery& query) override {
    if (!with_tail_) return inner_->changes_since(settled, query);
    const std::lock_guard one_by_one(gate_.refreshes);
    const auto closed = gate_.close();
    storage::ChangesQuery asked = query;
    if (fault_ == Fault::no_second_look) asked.after = std::max(asked.after, std::exchange(last_, settled.last));
    auto changes = inner_->changes_since(settled, asked);
    if (!changes || !*changes) return changes;
    auto snapshot = inner_->open_snapshot(settled);  // what is settled is of no interest here
    if (!snapshot) return tl::unexpected(snapshot.error());
    auto name = storage::pg::export_snapshot(**snapshot);
    if (!name) return tl::unexpected(name.error());
    const std::lock_guard lock(mutex_);
    refreshes_.push_back(std::make_shared<const RefreshSnapshot>(
        RefreshSnapshot{std::move(*snapshot), *std::move(name), gate_.committed()}));
    if (refreshes_.size() > kRefreshesKept) refreshes_.pop_front();
    return changes;
  }
  Result<std::unique_ptr<storage::WriteTransaction>> begin_write(Timestamp now,
                                                                 const storage::WriteOptions& options) override {
    auto begun = inner_->begin_write(now, options);
    if (!begun) return begun;
    return std::make_unique<GatedTransaction>(std::move(*begun), gate_, options.mode);
  }

 private:
  static constexpr std::size_t kRefreshesKept = 4;  // each has a connection of the pool

  const std::unique_ptr<storage::Storage> owned_;
  const Fault fault_;
  const bool with_tail_;
  CommitGate gate_;
  Version last_{};
  std::mutex mutex_;
  std::deque<std::shared_ptr<const RefreshSnapshot>> refreshes_;
};

}  // namespace nizhal::testing
