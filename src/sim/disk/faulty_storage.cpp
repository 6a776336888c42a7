#include "sim/disk/faulty_storage.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "sqlite/error.hpp"

namespace nizhal::sim {

using storage::WriteTransaction;

namespace {

bool can_befall(StorageFault fault, StorageCall call) {
  if (fault != StorageFault::disk_full) return fault != StorageFault::none;
  switch (call) {
    case StorageCall::provision:
    case StorageCall::put_row:
    case StorageCall::put_record:
    case StorageCall::commit:
    case StorageCall::gc:
    case StorageCall::rotate_epoch:
    case StorageCall::run_script:
      return true;
    default:
      return false;
  }
}

/// As the SQLite storage would say it.
Error error_of(StorageFault fault, StorageCall call) {
  switch (fault) {
    case StorageFault::busy:
      return sqlite::make_error(SQLITE_BUSY, to_string(call), sqlite3_errstr(SQLITE_BUSY));
    case StorageFault::disk_full:
      return sqlite::make_error(SQLITE_FULL, to_string(call), sqlite3_errstr(SQLITE_FULL));
    default:
      return sqlite::make_error(SQLITE_IOERR, to_string(call), sqlite3_errstr(SQLITE_IOERR));
  }
}

/// The call commits something by itself when it goes well.
bool commits(StorageCall call) {
  switch (call) {
    case StorageCall::provision:
    case StorageCall::commit:
    case StorageCall::gc:
    case StorageCall::rotate_epoch:
    case StorageCall::run_script:
      return true;
    default:
      return false;
  }
}

}  // namespace

const char* to_string(StorageCall call) {
  constexpr const char* kNames[kStorageCalls] = {"provision",
                                                 "position",
                                                 "opening a snapshot",
                                                 "reading a snapshot",
                                                 "changes since",
                                                 "change mark",
                                                 "begin",
                                                 "savepoint",
                                                 "reading",
                                                 "writing a row",
                                                 "writing a record",
                                                 "commit",
                                                 "pruning",
                                                 "a new epoch",
                                                 "a script"};
  return kNames[static_cast<std::size_t>(call)];
}

const char* to_string(StorageFault fault) {
  constexpr const char* kNames[kStorageFaults] = {"none",      "crash",     "crash after", "busy",
                                                  "I/O error", "disk full", "lost answer"};
  return kNames[static_cast<std::size_t>(fault)];
}

/// From the opening of a storage to its end, shared with what it hands out.
struct StorageFaults::Life {
  explicit Life(StorageFaults& of) : faults(of) {}
  StorageFaults& faults;
  bool is_dead = false;

  Error killed() const { return Error{ErrorCode::io_error, "the process of this storage was killed"}; }

  template <class T, class Run>
  Result<T> call(StorageCall kind, Version version, Run run) {
    if (is_dead) return tl::unexpected(killed());
    if (faults.on_call) faults.on_call(kind);
    if (is_dead) return tl::unexpected(killed());
    const StorageFault fault = faults.judge(kind);
    if (fault == StorageFault::crash) {
      is_dead = true;
      return tl::unexpected(killed());
    }
    const bool is_done =
        fault == StorageFault::none || fault == StorageFault::crash_after || fault == StorageFault::lost_answer;
    if (!is_done) return tl::unexpected(error_of(fault, kind));
    Result<T> result = run();
    if (result && commits(kind) && faults.on_commit) faults.on_commit(kind, version);
    if (fault == StorageFault::crash_after) {
      is_dead = true;
      return tl::unexpected(killed());
    }
    if (fault == StorageFault::lost_answer) return tl::unexpected(error_of(fault, kind));
    return result;
  }
  template <class T, class Run>
  Result<T> call(StorageCall kind, Run run) {
    return call<T>(kind, Version{}, std::move(run));
  }
};

StorageFaults::StorageFaults() = default;
StorageFaults::~StorageFaults() = default;

void StorageFaults::arm(StoragePlan plan) { plans_.push_back({std::move(plan)}); }

void StorageFaults::lift() { plans_.clear(); }

void StorageFaults::lift(StorageFault fault) {
  std::erase_if(plans_, [fault](const Armed& armed) { return armed.plan.fault == fault; });
}

void StorageFaults::kill() {
  if (life_) life_->is_dead = true;
}

bool StorageFaults::is_dead() const { return life_ && life_->is_dead; }

std::uint64_t StorageFaults::all_calls() const {
  return std::accumulate(calls_.begin(), calls_.end(), std::uint64_t{0});
}

std::shared_ptr<StorageFaults::Life> StorageFaults::begin_life() { return life_ = std::make_shared<Life>(*this); }

StorageFault StorageFaults::judge(StorageCall call) {
  ++calls_[static_cast<std::size_t>(call)];
  StorageFault fault = StorageFault::none;
  for (Armed& armed : plans_) {  // all of them count the call
    const StoragePlan& plan = armed.plan;
    if (plan.call.value_or(call) != call || !can_befall(plan.fault, call)) continue;
    ++armed.seen;
    bool strikes = plan.one_in > 0 ? plan.draw(plan.one_in) == 0 : armed.seen == plan.nth;
    strikes = strikes || (plan.persists && (plan.one_in > 0 ? armed.struck > 0 : armed.seen > plan.nth));
    if (!strikes) continue;
    ++armed.struck;
    if (fault == StorageFault::none) fault = plan.fault;
  }
  if (fault != StorageFault::none) ++struck_[static_cast<std::size_t>(fault)];
  return fault;
}

namespace {

using Life = std::shared_ptr<StorageFaults::Life>;

class FaultySnapshot : public storage::ForwardingSnapshot {
 public:
  FaultySnapshot(std::unique_ptr<storage::Snapshot> inner, Life life)
      : ForwardingSnapshot(std::move(inner)), life_(std::move(life)) {}

  Result<storage::Position> position() override {
    return read<storage::Position>([&] { return inner_->position(); });
  }
  Result<std::vector<storage::Grant>> grants(const Actor& actor) override {
    return read<std::vector<storage::Grant>>([&] { return inner_->grants(actor); });
  }
  Result<std::vector<storage::EncodedRow>> live_rows(const storage::LiveQuery& query) override {
    return read<std::vector<storage::EncodedRow>>([&] { return inner_->live_rows(query); });
  }
  Result<std::vector<storage::Removal>> live_removals(const storage::LiveQuery& query) override {
    return read<std::vector<storage::Removal>>([&] { return inner_->live_removals(query); });
  }
  Result<std::vector<storage::EncodedRow>> backfill(const Bucket& bucket, std::size_t table,
                                                    const std::optional<std::string>& after_key,
                                                    std::size_t limit) override {
    return read<std::vector<storage::EncodedRow>>([&] { return inner_->backfill(bucket, table, after_key, limit); });
  }
  Result<std::uint64_t> count_rows(const Bucket& bucket, std::size_t table) override {
    return read<std::uint64_t>([&] { return inner_->count_rows(bucket, table); });
  }
  Result<std::optional<storage::ClientRecord>> client(std::string_view client_id) override {
    return read<std::optional<storage::ClientRecord>>([&] { return inner_->client(client_id); });
  }
  Result<std::vector<storage::AuditRow>> audit(Version since, Version until, std::size_t limit) override {
    return read<std::vector<storage::AuditRow>>([&] { return inner_->audit(since, until, limit); });
  }

 private:
  template <class T, class Run>
  Result<T> read(Run run) {
    return life_->call<T>(StorageCall::snapshot_read, std::move(run));
  }
  const Life life_;
};

class FaultyTransaction : public storage::ForwardingWriteTransaction {
 public:
  FaultyTransaction(std::unique_ptr<WriteTransaction> inner, Life life)
      : ForwardingWriteTransaction(std::move(inner)), life_(std::move(life)) {}

  Result<void> savepoint() override {
    return call<void>(StorageCall::savepoint, [&] { return inner_->savepoint(); });
  }
  Result<void> release_savepoint() override {
    return call<void>(StorageCall::savepoint, [&] { return inner_->release_savepoint(); });
  }
  Result<void> rollback_to_savepoint() override {
    return call<void>(StorageCall::savepoint, [&] { return inner_->rollback_to_savepoint(); });
  }

  Result<std::optional<Row>> get(const TableDef& table, const Value& key) override {
    return call<std::optional<Row>>(StorageCall::read, [&] { return inner_->get(table, key); });
  }
  Result<std::vector<Row>> find(const QuerySpec& query, const storage::ScopeFilter* scope) override {
    return call<std::vector<Row>>(StorageCall::read, [&] { return inner_->find(query, scope); });
  }
  Result<bool> insert(const TableDef& table, const Row& row) override {
    return call<bool>(StorageCall::put_row, [&] { return inner_->insert(table, row); });
  }
  Result<bool> update(const TableDef& table, const Value& key,
                      const std::vector<std::pair<std::size_t, Value>>& changes) override {
    return call<bool>(StorageCall::put_row, [&] { return inner_->update(table, key, changes); });
  }
  Result<bool> remove(const TableDef& table, const Value& key) override {
    return call<bool>(StorageCall::put_row, [&] { return inner_->remove(table, key); });
  }
  Result<std::optional<storage::MergeRow>> get_to_merge(const TableDef& table, const Value& key) override {
    return call<std::optional<storage::MergeRow>>(StorageCall::read, [&] { return inner_->get_to_merge(table, key); });
  }
  Result<bool> insert_merged(const TableDef& table, const Row& row, const storage::MergeState& merge) override {
    return call<bool>(StorageCall::put_row, [&] { return inner_->insert_merged(table, row, merge); });
  }
  Result<bool> update_merged(const TableDef& table, const Value& key,
                             const std::vector<std::pair<std::size_t, Value>>& changes,
                             const storage::MergeState& merge) override {
    return call<bool>(StorageCall::put_row, [&] { return inner_->update_merged(table, key, changes, merge); });
  }
  Result<std::int64_t> next_number(const TableDef& table, std::string_view number_column,
                                   std::string_view bucket_column, const Value& bucket) override {
    return call<std::int64_t>(StorageCall::put_row,
                              [&] { return inner_->next_number(table, number_column, bucket_column, bucket); });
  }

  Result<std::vector<storage::Grant>> grants(const Actor& actor) override {
    return call<std::vector<storage::Grant>>(StorageCall::read, [&] { return inner_->grants(actor); });
  }
  Result<std::optional<storage::ClientRecord>> client(std::string_view client_id) override {
    return call<std::optional<storage::ClientRecord>>(StorageCall::read, [&] { return inner_->client(client_id); });
  }
  Result<void> put_client(const storage::ClientRecord& client) override {
    return call<void>(StorageCall::put_record, [&] { return inner_->put_client(client); });
  }
  Result<std::optional<storage::MutationRecord>> mutation(std::string_view client_id, MutationId mutation_id) override {
    return read_record([&] { return inner_->mutation(client_id, mutation_id); });
  }
  Result<std::optional<storage::MutationRecord>> mutation(const Actor& actor,
                                                          std::string_view client_mutation_id) override {
    return read_record([&] { return inner_->mutation(actor, client_mutation_id); });
  }
  Result<std::optional<storage::MutationRecord>> likely_new_mutation(const Actor& actor,
                                                                     std::string_view client_mutation_id) override {
    return read_record([&] { return inner_->likely_new_mutation(actor, client_mutation_id); });
  }
  Result<void> put_mutation(const storage::MutationRecord& record) override {
    return call<void>(StorageCall::put_record, [&] { return inner_->put_mutation(record); });
  }
  Result<void> put_audit(const storage::AuditRow& row) override {
    return call<void>(StorageCall::put_record, [&] { return inner_->put_audit(row); });
  }
  Result<std::optional<std::string>> server_id(std::string_view client_id, std::string_view table,
                                               std::string_view id) override {
    return call<std::optional<std::string>>(StorageCall::read, [&] { return inner_->server_id(client_id, table, id); });
  }
  Result<void> put_server_id(std::string_view client_id, std::string_view table, std::string_view id,
                             std::string_view server_id) override {
    return call<void>(StorageCall::put_record, [&] { return inner_->put_server_id(client_id, table, id, server_id); });
  }
  Result<void> commit() override {
    return call<void>(StorageCall::commit, [&] { return inner_->commit(); });
  }

 private:
  template <class T, class Run>
  Result<T> call(StorageCall kind, Run run) {
    if (has_failed_) return failure(ErrorCode::internal, "this transaction has failed before and can only be dropped");
    bool was_asked = false, went_well = false;
    auto result = life_->call<T>(kind, inner_->version(), [&] {
      was_asked = true;
      auto answer = run();
      went_well = answer.has_value();
      return answer;
    });
    // What the database itself refused is between it and its caller; only the failures made here are strict.
    has_failed_ = !result && (!was_asked || went_well);
    return result;
  }
  template <class Run>
  Result<std::optional<storage::MutationRecord>> read_record(Run run) {
    return call<std::optional<storage::MutationRecord>>(StorageCall::read, std::move(run));
  }
  const Life life_;
  bool has_failed_ = false;
};

}  // namespace

FaultyStorage::FaultyStorage(std::unique_ptr<storage::Storage> inner, StorageFaults& faults)
    : ForwardingStorage(*inner), owned_(std::move(inner)), life_(faults.begin_life()) {}

Result<storage::ProvisionReport> FaultyStorage::provision() {
  return life_->call<storage::ProvisionReport>(StorageCall::provision, [&] { return inner_->provision(); });
}

Result<storage::Position> FaultyStorage::position() {
  return life_->call<storage::Position>(StorageCall::position, [&] { return inner_->position(); });
}

Result<std::unique_ptr<storage::Snapshot>> FaultyStorage::open_snapshot(
    const std::optional<storage::Position>& settled) {
  using Opened = std::unique_ptr<storage::Snapshot>;
  return life_->call<Opened>(StorageCall::snapshot, [&]() -> Result<Opened> {
    auto opened = inner_->open_snapshot(settled);
    if (!opened) return opened;
    return std::make_unique<FaultySnapshot>(*std::move(opened), life_);
  });
}

Result<std::optional<storage::RecentChanges>> FaultyStorage::changes_since(const storage::Position& settled,
                                                                           const storage::ChangesQuery& query) {
  return life_->call<std::optional<storage::RecentChanges>>(StorageCall::changes_since,
                                                            [&] { return inner_->changes_since(settled, query); });
}

Result<std::unique_ptr<WriteTransaction>> FaultyStorage::begin_write(Timestamp now,
                                                                     const storage::WriteOptions& options) {
  using Begun = std::unique_ptr<WriteTransaction>;
  return life_->call<Begun>(StorageCall::begin_write, [&]() -> Result<Begun> {
    auto begun = inner_->begin_write(now, options);
    if (!begun) return begun;
    return std::make_unique<FaultyTransaction>(*std::move(begun), life_);
  });
}

Result<storage::ChangeMark> FaultyStorage::change_mark() {
  return life_->call<storage::ChangeMark>(StorageCall::change_mark, [&] { return inner_->change_mark(); });
}

Result<storage::GcReport> FaultyStorage::gc(Timestamp before) {
  return life_->call<storage::GcReport>(StorageCall::gc, [&] { return inner_->gc(before); });
}

Result<std::string> FaultyStorage::rotate_epoch() {
  return life_->call<std::string>(StorageCall::rotate_epoch, [&] { return inner_->rotate_epoch(); });
}

Result<void> FaultyStorage::run_script(std::string_view sql) {
  return life_->call<void>(StorageCall::run_script, [&] { return inner_->run_script(sql); });
}

}  // namespace nizhal::sim
