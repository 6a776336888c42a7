// Storage that fails on demand: every call of the real one can be told to fail, once, some times or for ever.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/forwarding.hpp"

namespace nizhal::server::testing {

/// What FaultyStorage lets fail: asked before each call with its name; an error makes the call fail.
using FaultPlan = std::function<std::optional<ErrorCode>(std::string_view call)>;

inline Error planned_error(ErrorCode code) {
  return Error{code, "SELECT body FROM notes WHERE id = 'n1': planned failure"};
}

class FaultyTransaction : public storage::WriteTransaction {
 public:
  FaultyTransaction(std::unique_ptr<storage::WriteTransaction> inner, FaultPlan* plan, storage::WriteMode mode,
                    std::optional<storage::WriteMode>* retry_mode, const bool* tells_grants)
      : inner_(std::move(inner)), plan_(plan), mode_(mode), retry_mode_(retry_mode), tells_grants_(tells_grants) {}
  Version version() const override { return inner_->version(); }
  storage::WriteMode retry_mode() const override {
    return std::max(inner_->retry_mode(), retry_mode_->value_or(mode_));
  }
  Result<void> savepoint() override {
    return call<void>("savepoint", [&] { return inner_->savepoint(); });
  }
  Result<void> release_savepoint() override {
    return call<void>("release_savepoint", [&] { return inner_->release_savepoint(); });
  }
  Result<void> rollback_to_savepoint() override {
    return call<void>("rollback_to_savepoint", [&] { return inner_->rollback_to_savepoint(); });
  }
  Result<std::optional<Row>> get(const TableDef& table, const Value& key) override {
    return call<std::optional<Row>>("get", [&] { return inner_->get(table, key); });
  }
  Result<std::vector<Row>> find(const QuerySpec& query, const storage::ScopeFilter* scope) override {
    return call<std::vector<Row>>("find", [&] { return inner_->find(query, scope); });
  }
  Result<bool> insert(const TableDef& table, const Row& row) override {
    return call<bool>("insert", [&] { return inner_->insert(table, row); });
  }
  Result<bool> update(const TableDef& table, const Value& key,
                      const std::vector<std::pair<std::size_t, Value>>& changes) override {
    return call<bool>("update", [&] { return inner_->update(table, key, changes); });
  }
  Result<bool> remove(const TableDef& table, const Value& key) override {
    return call<bool>("remove", [&] { return inner_->remove(table, key); });
  }
  // Of a table that merges they are its get(), insert() and update().
  Result<std::optional<storage::MergeRow>> get_to_merge(const TableDef& table, const Value& key) override {
    return call<std::optional<storage::MergeRow>>("get", [&] { return inner_->get_to_merge(table, key); });
  }
  Result<bool> insert_merged(const TableDef& table, const Row& row, const storage::MergeState& merge) override {
    return call<bool>("insert", [&] { return inner_->insert_merged(table, row, merge); });
  }
  Result<bool> update_merged(const TableDef& table, const Value& key,
                             const std::vector<std::pair<std::size_t, Value>>& changes,
                             const storage::MergeState& merge) override {
    return call<bool>("update", [&] { return inner_->update_merged(table, key, changes, merge); });
  }
  Result<std::int64_t> next_number(const TableDef& table, std::string_view number_column,
                                   std::string_view bucket_column, const Value& value) override {
    return call<std::int64_t>("next_number",
                              [&] { return inner_->next_number(table, number_column, bucket_column, value); });
  }
  Result<std::vector<storage::Grant>> grants(const Actor& actor) override {
    return call<std::vector<storage::Grant>>("grants", [&] { return inner_->grants(actor); });
  }
  Result<std::optional<storage::ClientRecord>> client(std::string_view client_id) override {
    return call<std::optional<storage::ClientRecord>>("client", [&] { return inner_->client(client_id); });
  }
  Result<void> put_client(const storage::ClientRecord& client) override {
    return call<void>("put_client", [&] { return inner_->put_client(client); });
  }
  Result<std::optional<storage::MutationRecord>> mutation(std::string_view client_id, MutationId id) override {
    return call<std::optional<storage::MutationRecord>>("mutation", [&] { return inner_->mutation(client_id, id); });
  }
  Result<std::optional<storage::MutationRecord>> mutation(const Actor& actor,
                                                          std::string_view client_mutation_id) override {
    return call<std::optional<storage::MutationRecord>>("mutation",
                                                        [&] { return inner_->mutation(actor, client_mutation_id); });
  }
  Result<std::optional<storage::MutationRecord>> likely_new_mutation(const Actor& actor,
                                                                     std::string_view client_mutation_id) override {
    return call<std::optional<storage::MutationRecord>>(
        "mutation", [&] { return inner_->likely_new_mutation(actor, client_mutation_id); });
  }
  Result<void> put_mutation(const storage::MutationRecord& record) override {
    return call<void>("put_mutation", [&] { return inner_->put_mutation(record); });
  }
  Result<void> put_audit(const storage::AuditRow& row) override {
    return call<void>("put_audit", [&] { return inner_->put_audit(row); });
  }
  Result<std::optional<std::string>> server_id(std::string_view client_id, std::string_view table,
                                               std::string_view id) override {
    return call<std::optional<std::string>>("server_id", [&] { return inner_->server_id(client_id, table, id); });
  }
  Result<void> put_server_id(std::string_view client_id, std::string_view table, std::string_view id,
                             std::string_view server_id) override {
    return call<void>("put_server_id", [&] { return inner_->put_server_id(client_id, table, id, server_id); });
  }
  Result<void> commit() override {
    return call<void>("commit", [&] { return inner_->commit(); });
  }
  std::optional<std::uint64_t> grants_mark() const override {
    return *tells_grants_ ? inner_->grants_mark() : std::nullopt;
  }

 private:
  template <class T, class Call>
  Result<T> call(std::string_view name, Call run) {
    if (*plan_) {
      if (const auto code = (*plan_)(name)) return tl::unexpected(planned_error(*code));
    }
    return run();
  }
  std::unique_ptr<storage::WriteTransaction> inner_;
  FaultPlan* plan_;
  storage::WriteMode mode_;
  std::optional<storage::WriteMode>* retry_mode_;
  const bool* tells_grants_;
};

class FaultyStorage : public storage::ForwardingStorage {
 public:
  explicit FaultyStorage(std::unique_ptr<storage::Storage> inner)
      : storage::ForwardingStorage(*inner), owned_(std::move(inner)) {}
  FaultPlan plan;
  std::function<void(storage::ChangeMark&)> alter_mark;  // what another storage would have told
  std::size_t writes = 0, snapshots = 0, positions = 0, changes = 0, marks = 0;
  std::vector<storage::WriteMode> modes;         // of the writes
  storage::PushIntent intent;                    // of the last write
  std::optional<storage::WriteMode> retry_mode;  // what a transaction asks for after a failure
  bool commits_tell_grants = true;               // where the storage does; else pokes are made on a thread of their own

  Result<storage::Position> position() override {
    ++positions;
    if (const auto code = ask("position")) return tl::unexpected(planned_error(*code));
    return inner_->position();
  }
  Result<std::unique_ptr<storage::Snapshot>> open_snapshot(const std::optional<storage::Position>& settled) override {
    ++snapshots;
    if (const auto code = ask("snapshot")) return tl::unexpected(planned_error(*code));
    return inner_->open_snapshot(settled);
  }
  Result<std::optional<storage::RecentChanges>> changes_since(const storage::Position& settled,
                                                              const storage::ChangesQuery& query) override {
    ++changes;
    if (const auto code = ask("changes_since")) return tl::unexpected(planned_error(*code));
    return inner_->changes_since(settled, query);
  }
  Result<std::unique_ptr<storage::WriteTransaction>> begin_write(Timestamp now,
                                                                 const storage::WriteOptions& options) override {
    ++writes;
    modes.push_back(options.mode);
    intent = options.intent ? *options.intent : storage::PushIntent{};
    if (const auto code = ask("write")) return tl::unexpected(planned_error(*code));
    auto opened = inner_->begin_write(now, options);
    if (!opened) return tl::unexpected(opened.error());
    return std::make_unique<FaultyTransaction>(std::move(*opened), &plan, options.mode, &retry_mode,
                                               &commits_tell_grants);
  }
  Result<storage::ChangeMark> change_mark() override {
    ++marks;
    if (const auto code = ask("change_mark")) return tl::unexpected(planned_error(*code));
    auto mark = inner_->change_mark();
    if (mark && alter_mark) alter_mark(*mark);
    return mark;
  }

 private:
  std::optional<ErrorCode> ask(std::string_view call) { return plan ? plan(call) : std::nullopt; }
  std::unique_ptr<storage::Storage> owned_;
};

/// Fails the given call with `code`, `times` times in a row, after letting `after` of them through.
inline FaultPlan fail_call(std::string name, ErrorCode code, int times = 1, int after = 0) {
  return [name = std::move(name), code, times, after](std::string_view call) mutable -> std::optional<ErrorCode> {
    if (call != name) return std::nullopt;
    if (after-- > 0) return std::nullopt;
    if (times-- > 0) return code;
    return std::nullopt;
  };
}

}  // namespace nizhal::server::testing
