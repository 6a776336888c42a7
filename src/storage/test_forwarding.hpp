// For tests only: a storage and a snapshot that pass every call on to another one. What stands in between for a test
// overrides the calls that it is about, and forgets none of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/storage.hpp"

namespace nizhal::storage {

class ForwardingSnapshot : public Snapshot {
 public:
  explicit ForwardingSnapshot(std::unique_ptr<Snapshot> inner) : inner_(std::move(inner)) {}

  Result<Position> position() override { return inner_->position(); }
  Result<std::vector<Grant>> grants(const Actor& actor) override { return inner_->grants(actor); }
  Result<std::vector<EncodedRow>> live_rows(const LiveQuery& query) override { return inner_->live_rows(query); }
  Result<std::vector<Removal>> live_removals(const LiveQuery& query) override { return inner_->live_removals(query); }
  Result<std::vector<EncodedRow>> backfill(const Bucket& bucket, std::size_t table,
                                           const std::optional<std::string>& after_key, std::size_t limit) override {
    return inner_->backfill(bucket, table, after_key, limit);
  }
  Result<std::uint64_t> count_rows(const Bucket& bucket, std::size_t table) override {
    return inner_->count_rows(bucket, table);
  }
  Result<std::optional<ClientRecord>> client(std::string_view client_id) override { return inner_->client(client_id); }
  Result<std::vector<AuditRow>> audit(Version since, Version until, std::size_t limit) override {
    return inner_->audit(since, until, limit);
  }

 protected:
  std::unique_ptr<Snapshot> inner_;
};

/// `inner` must outlive it.
class ForwardingStorage : public Storage {
 public:
  explicit ForwardingStorage(Storage& inner) : inner_(&inner) {}

  Result<ProvisionReport> provision() override { return inner_->provision(); }
  Result<Position> position() override { return inner_->position(); }
  Result<std::unique_ptr<Snapshot>> open_snapshot(const std::optional<Position>& settled) override {
    return inner_->open_snapshot(settled);
  }
  // Backfills come through open_snapshot() (the default), so that who overrides that sees them, too.
  Result<std::optional<RecentChanges>> changes_since(const Position& settled, const ChangesQuery& query) override {
    return inner_->changes_since(settled, query);
  }
  Result<std::unique_ptr<WriteTransaction>> begin_write(Timestamp now, const WriteOptions& options) override {
    return inner_->begin_write(now, options);
  }
  Result<ChangeMark> change_mark() override { return inner_->change_mark(); }
  Result<GcReport> gc(Timestamp before) override { return inner_->gc(before); }
  Result<std::string> rotate_epoch() override { return inner_->rotate_epoch(); }
  Result<void> run_script(std::string_view sql) override { return inner_->run_script(sql); }
  void interrupt() override { inner_->interrupt(); }
  std::string describe() const override { return inner_->describe(); }

 protected:
  Storage* inner_;
};

}  // namespace nizhal::storage
