// A storage that keeps the snapshot of a thread's last page for a second look, and that can leave out one of the rules
// on which exactness rests, so that a test can show that it would notice.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/storage.hpp"

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

class HeldSnapshot : public storage::Snapshot {
 public:
  HeldSnapshot(std::unique_ptr<storage::Snapshot> inner, Fault fault) : inner_(std::move(inner)), fault_(fault) {}
  ~HeldSnapshot() override { held_snapshot() = std::move(inner_); }

  Result<storage::Position> position() override { return inner_->position(); }
  Result<std::vector<storage::Grant>> grants(const Actor& actor) override { return inner_->grants(actor); }
  Result<std::vector<storage::EncodedRow>> live_rows(const storage::LiveQuery& query) override {
    return inner_->live_rows(query);
  }
  Result<std::vector<storage::Removal>> live_removals(const storage::LiveQuery& query) override {
    auto removals = inner_->live_removals(query);
    if (removals && fault_ == Fault::no_judgment)
      for (storage::Removal& removal : *removals) removal.covered_at.reset();
    return removals;
  }
  Result<std::vector<storage::EncodedRow>> backfill(const Bucket& bucket, std::size_t table,
                                                    const std::optional<std::string>& after_key,
                                                    std::size_t limit) override {
    return inner_->backfill(bucket, table, after_key, limit);
  }
  Result<std::uint64_t> count_rows(const Bucket& bucket, std::size_t table) override {
    return inner_->count_rows(bucket, table);
  }
  Result<std::optional<storage::ClientRecord>> client(std::string_view client_id) override {
    return inner_->client(client_id);
  }
  Result<std::vector<storage::AuditRow>> audit(Version since, Version until, std::size_t limit) override {
    return inner_->audit(since, until, limit);
  }

 private:
  std::unique_ptr<storage::Snapshot> inner_;
  const Fault fault_;
};

class HeldSnapshots : public storage::Storage {
 public:
  HeldSnapshots(std::unique_ptr<storage::Storage> inner, Fault fault) : inner_(std::move(inner)), fault_(fault) {}

  Result<storage::ProvisionReport> provision() override { return inner_->provision(); }
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
  Result<std::unique_ptr<storage::WriteTransaction>> begin_write(Timestamp now,
                                                                 const storage::WriteOptions& options) override {
    return inner_->begin_write(now, options);
  }
  Result<storage::ChangeMark> change_mark() override { return inner_->change_mark(); }
  Result<storage::GcReport> gc(Timestamp before) override { return inner_->gc(before); }
  Result<std::string> rotate_epoch() override { return inner_->rotate_epoch(); }
  Result<void> run_script(std::string_view sql) override { return inner_->run_script(sql); }
  void interrupt() override { inner_->interrupt(); }
  std::string describe() const override { return inner_->describe(); }

 private:
  std::unique_ptr<storage::Storage> inner_;
  const Fault fault_;
};

}  // namespace nizhal::testing
