// A storage, a snapshot and a write transaction that pass every call on to another one. What stands in between
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

class ForwardingWriteTransaction : public WriteTransaction {
 public:
  explicit ForwardingWriteTransaction(std::unique_ptr<WriteTransaction> inner) : inner_(std::move(inner)) {}

  Version version() const override { return inner_->version(); }
  WriteMode retry_mode() const override { return inner_->retry_mode(); }
  Result<void> savepoint() override { return inner_->savepoint(); }
  Result<void> release_savepoint() override { return inner_->release_savepoint(); }
  Result<void> rollback_to_savepoint() override { return inner_->rollback_to_savepoint(); }

  Result<std::optional<Row>> get(const TableDef& table, const Value& key) override { return inner_->get(table, key); }
  Result<std::vector<Row>> find(const QuerySpec& query, const ScopeFilter* scope) override {
    return inner_->find(query, scope);
  }
  Result<bool> insert(const TableDef& table, const Row& row) override { return inner_->insert(table, row); }
  Result<bool> update(const TableDef& table, const Value& key,
                      const std::vector<std::pair<std::size_t, Value>>& changes) override {
    return inner_->update(table, key, changes);
  }
  Result<bool> remove(const TableDef& table, const Value& key) override { return inner_->remove(table, key); }
  Result<std::optional<MergeRow>> get_to_merge(const TableDef& table, const Value& key) override {
    return inner_->get_to_merge(table, key);
  }
  Result<bool> insert_merged(const TableDef& table, const Row& row, const MergeState& merge) override {
    return inner_->insert_merged(table, row, merge);
  }
  Result<bool> update_merged(const TableDef& table, const Value& key,
                             const std::vector<std::pair<std::size_t, Value>>& changes,
                             const MergeState& merge) override {
    return inner_->update_merged(table, key, changes, merge);
  }
  Result<std::int64_t> next_number(const TableDef& table, std::string_view number_column,
                                   std::string_view bucket_column, const Value& bucket) override {
    return inner_->next_number(table, number_column, bucket_column, bucket);
  }

  Result<std::vector<Grant>> grants(const Actor& actor) override { return inner_->grants(actor); }
  Result<std::optional<ClientRecord>> client(std::string_view client_id) override { return inner_->client(client_id); }
  Result<void> put_client(const ClientRecord& client) override { return inner_->put_client(client); }
  Result<std::optional<MutationRecord>> mutation(std::string_view client_id, MutationId mutation_id) override {
    return inner_->mutation(client_id, mutation_id);
  }
  Result<std::optional<MutationRecord>> mutation(const Actor& actor, std::string_view client_mutation_id) override {
    return inner_->mutation(actor, client_mutation_id);
  }
  Result<std::optional<MutationRecord>> likely_new_mutation(const Actor& actor,
                                                            std::string_view client_mutation_id) override {
    return inner_->likely_new_mutation(actor, client_mutation_id);
  }
  Result<void> put_mutation(const MutationRecord& record) override { return inner_->put_mutation(record); }
  Result<void> put_audit(const AuditRow& row) override { return inner_->put_audit(row); }
  Result<std::optional<std::string>> server_id(std::string_view client_id, std::string_view table,
                                               std::string_view id) override {
    return inner_->server_id(client_id, table, id);
  }
  Result<void> put_server_id(std::string_view client_id, std::string_view table, std::string_view id,
                             std::string_view server_id) override {
    return inner_->put_server_id(client_id, table, id, server_id);
  }
  Result<void> commit() override { return inner_->commit(); }
  std::optional<std::uint64_t> grants_mark() const override { return inner_->grants_mark(); }

 protected:
  std::unique_ptr<WriteTransaction> inner_;
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
