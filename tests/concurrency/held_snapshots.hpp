// A storage that keeps the snapshot of a thread's last page for a second look, and that can leave out one of the rules
// on which exactness rests, so that a test can show that it would notice.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/test_forwarding.hpp"

namespace nizhal::testing {

enum class Fault {
  none,
  no_horizon,   // every version that was handed out counts as settled
  no_judgment,  // a removal is told although a covered bucket has the row
};

/// The snapshot that the calling thread's last pull was made from; nothing when none was taken.
inline std::unique_ptr<storage::Snapshot>& held_snapshot() {
  static thread_local std::unique_ptr<storage::Snapshot> held;
  return held;
}

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
  HeldSnapshots(std::unique_ptr<storage::Storage> inner, Fault fault)
      : storage::ForwardingStorage(*inner), owned_(std::move(inner)), fault_(fault) {}

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

 private:
  const std::unique_ptr<storage::Storage> owned_;
  const Fault fault_;
};

}  // namespace nizhal::testing
