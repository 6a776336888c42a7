// Server storage: what the server core needs from a database, with embedded SQLite and PostgreSQL behind it. A row's
// version, tombstones, exits and grants are kept by the database's own triggers, so writes of other programs count too;
// the mutator path only writes rows.
//
// Threads: Storage is thread-safe. A Snapshot or WriteTransaction belongs to one thread at a time.
// Errors: busy = nothing happened, try again; others are final. After any error a transaction can only be dropped.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/actor.hpp>
#include <nizhal/query.hpp>
#include <nizhal/result.hpp>

#include "base/ids.hpp"
#include "domain/compiled_domain.hpp"

namespace nizhal::storage {

/// A bucket of the actor with the version at which it was granted (0 for static ones).
struct Grant {
  Bucket bucket;
  Version gained{};
};

/// A row as a page carries it: its image in the snapshot, encoded.
struct EncodedRow {
  std::size_t table = 0;
  Version version{};
  std::string key;   // key_text of the primary key
  std::string json;  // append_row_json
  /// As in MergeState. `recent` only where a LiveQuery asked for it, and never in a backfill.
  std::string stamps = {}, recent = {};
};

/// What the engine keeps beside a row to merge later writes into it. Storages keep it as it is, with two exceptions:
/// after another program's write the columns that it changed are stamped with the time of the database
/// (domain/field_stamps.hpp), and `recent` is empty when it changed a CRDT column or the row's buckets.
struct MergeState {
  std::string stamps;  // of a table with Merge::Field: when each column was last edited; else empty
  /// Of a delivered table with CRDT columns: the updates of late (server/recent_updates.hpp); bytes. Else empty.
  std::string recent;
  bool operator==(const MergeState&) const = default;
};
struct MergeRow {
  Row row;
  MergeState merge;
};

/// A recorded tombstone or exit.
struct Removal {
  std::size_t table = 0;
  Version version{};
  std::string key;                        // key_text
  std::optional<std::string> client_key;  // the row's client_id column, where it had one that differed
  bool deleted = false;                   // tombstone; else the row left the bucket
  /// Set when in the snapshot the row is in one of the covered buckets: the version of its image there.
  std::optional<Version> covered_at;
};

/// A bucket that a cursor covers, as live queries need it.
struct CoveredBucket {
  Bucket bucket;
  Version removals_after{};
};

/// Which changes a page may carry. `tables[i]` false: the device does not have the i-th table.
struct LiveQuery {
  const std::vector<CoveredBucket>* buckets = nullptr;
  const std::vector<bool>* tables = nullptr;
  Version after{};
  std::optional<Version> through;    // inclusive
  std::optional<std::size_t> limit;  // the lowest versions first
  bool with_recent = false;          // EncodedRow::recent
};

struct ClientRecord {
  std::string client_id;
  std::string user_id, owner_id;
  MutationId last_mutation_id{};
  std::string last_client_mutation_id;
  std::string last_hlc;  // highest stamp given by re-stamping (S20); empty when none
};

/// What is remembered of a handled mutation.
struct MutationRecord {
  std::optional<std::string> client_id;
  std::optional<MutationId> mutation_id;
  std::string client_mutation_id;
  std::string user_id, owner_id;
  std::string name;
  bool applied = false;
  int http_status = 200;  // of the refusal, without `results`
  std::string code, error;
  std::optional<std::string> server_id;
  std::optional<std::vector<std::string>> affected_buckets;
  std::string conflicts = {};  // JSON, as the push reply has them; empty: none
};

struct AuditRow {
  Version version{};
  Timestamp at;
  std::string user_id, owner_id;
  std::optional<std::string> client_id;
  std::optional<MutationId> mutation_id;
  std::string client_mutation_id, mutator;
  std::string outcome;  // "applied" or the refusal's code
  bool unscoped = false;
  std::vector<std::string> buckets;  // keys of the buckets it changed
  std::string changes;               // JSON: [{"table","key","op","lost"?}]
};

/// The state that pulls are judged against, read in the snapshot.
struct Position {
  std::string epoch;
  Version horizon{};         // H: every transaction with a version ≤ H has ended and is in the snapshot
  Version last{};            // L: no version above it has been handed out
  Version pruned_through{};  // cursors below have lost tombstones
};

/// A consistent read-only view.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  virtual Result<Position> position() = 0;  // `last` as read after the snapshot was taken
  virtual Result<std::vector<Grant>> grants(const Actor& actor) = 0;
  /// Rows of the covered buckets changed in (after, through], each once; by version, then table, then the key's bytes.
  /// What a limit cuts off is of the highest version, which may then be there in part.
  virtual Result<std::vector<EncodedRow>> live_rows(const LiveQuery& query) = 0;
  /// Removals of the covered buckets in (max(after, removals_after), through], by version, then in the order in which
  /// they were recorded; a row removed several times comes several times.
  virtual Result<std::vector<Removal>> live_removals(const LiveQuery& query) = 0;
  /// Rows of one bucket and table in key order (bytes; numbers by value), from the first key above `after_key`.
  virtual Result<std::vector<EncodedRow>> backfill(const Bucket& bucket, std::size_t table,
                                                   const std::optional<std::string>& after_key, std::size_t limit) = 0;
  virtual Result<std::uint64_t> count_rows(const Bucket& bucket, std::size_t table) = 0;
  virtual Result<std::optional<ClientRecord>> client(std::string_view client_id) = 0;
  /// From `since` to `until`, both inclusive, oldest first.
  virtual Result<std::vector<AuditRow>> audit(Version since, Version until, std::size_t limit) = 0;
};

/// The actor's buckets as a filter on rows: a row passes when it is in one of them.
using ScopeFilter = std::vector<Bucket>;

/// How a write transaction runs. Each mode costs more than the one before and can do more; a storage with a single
/// writer does not tell them apart.
enum class WriteMode {
  /// Writes are sent without waiting for their answers: that one of them did not work is only told by a later call,
  /// the commit at the latest, as `busy` with a retry_mode above this one.
  pipelined,
  /// Every write waits for its answer, so that a refusal is known to be this write's.
  careful,
  /// As careful; and what find() has read does not change until the end, as if transactions ran one after the other.
  serializable,
};

/// What a push is going to ask its transaction for. A storage across a network reads it together with the beginning.
struct PushIntent {
  std::vector<std::string> client_ids;                    // client()
  std::vector<std::string> client_mutation_ids;           // mutation(actor, …)
  Actor actor;                                            // grants()
  std::vector<std::string> new_client_mutation_ids = {};  // likely_new_mutation()
};

struct WriteOptions {
  WriteMode mode = WriteMode::careful;
  const PushIntent* intent = nullptr;  // read during begin_write only
  /// For all of it, from the call of begin_write on: what has not been answered by then is `busy`. 0: no such limit. An
  /// embedded storage, which only ever waits for its turn, may keep to its own limits.
  std::chrono::milliseconds time_max{0};
};

/// A read-write transaction with one version. Dropping it rolls back. get() holds the row that it found, and client()
/// the client's record, until the end: nobody else changes them meanwhile.
class WriteTransaction {
 public:
  virtual ~WriteTransaction() = default;
  virtual Version version() const = 0;
  /// After a failure: the mode in which the same work should run next; the present one when it was not to blame.
  virtual WriteMode retry_mode() const = 0;

  /// Savepoints nest; the version survives a rollback to one. As in SQL a savepoint stays open after a rollback to it,
  /// until it is released. A rollback to one fails with constraint_violated when a constraint or trigger of the
  /// database has rolled the whole transaction back: it can then only be dropped.
  virtual Result<void> savepoint() = 0;
  virtual Result<void> release_savepoint() = 0;
  virtual Result<void> rollback_to_savepoint() = 0;

  virtual Result<std::optional<Row>> get(const TableDef& table, const Value& key) = 0;
  /// With a scope, only rows in one of its buckets.
  virtual Result<std::vector<Row>> find(const QuerySpec& query, const ScopeFilter* scope) = 0;
  /// False: the key is taken and nothing was written.
  virtual Result<bool> insert(const TableDef& table, const Row& row) = 0;
  virtual Result<bool> update(const TableDef& table, const Value& key,
                              const std::vector<std::pair<std::size_t, Value>>& changes) = 0;
  virtual Result<bool> remove(const TableDef& table, const Value& key) = 0;

  /// The three for tables that merge (Merge::Field, CRDT columns): as get(), insert() and update(), with what is kept
  /// to merge later writes. update_merged() without changes writes `merge` only, and the row counts as changed.
  virtual Result<std::optional<MergeRow>> get_to_merge(const TableDef& table, const Value& key) = 0;
  virtual Result<bool> insert_merged(const TableDef& table, const Row& row, const MergeState& merge) = 0;
  virtual Result<bool> update_merged(const TableDef& table, const Value& key,
                                     const std::vector<std::pair<std::size_t, Value>>& changes,
                                     const MergeState& merge) = 0;
  /// One above both the counter and the highest number now in the group; recorded.
  virtual Result<std::int64_t> next_number(const TableDef& table, std::string_view number_column,
                                           std::string_view bucket_column, const Value& bucket) = 0;

  /// The actor's buckets as of now inside this transaction. None of them is revoked before its end.
  virtual Result<std::vector<Grant>> grants(const Actor& actor) = 0;

  virtual Result<std::optional<ClientRecord>> client(std::string_view client_id) = 0;
  virtual Result<void> put_client(const ClientRecord& client) = 0;
  virtual Result<std::optional<MutationRecord>> mutation(std::string_view client_id, MutationId mutation_id) = 0;
  virtual Result<std::optional<MutationRecord>> mutation(const Actor& actor, std::string_view client_mutation_id) = 0;
  /// The same for one that hardly ever has a record. A pipelined transaction may say that it has none without looking:
  /// if it has one, put_mutation() of it is a write that did not work.
  virtual Result<std::optional<MutationRecord>> likely_new_mutation(const Actor& actor,
                                                                    std::string_view client_mutation_id) {
    return mutation(actor, client_mutation_id);
  }
  virtual Result<void> put_mutation(const MutationRecord& record) = 0;
  virtual Result<void> put_audit(const AuditRow& row) = 0;  // version and time are this transaction's
  /// Id map of a client (S7): the server's id for an id that the client made.
  virtual Result<std::optional<std::string>> server_id(std::string_view client_id, std::string_view table,
                                                       std::string_view id) = 0;
  virtual Result<void> put_server_id(std::string_view client_id, std::string_view table, std::string_view id,
                                     std::string_view server_id) = 0;
  virtual Result<void> commit() = 0;
  /// After the commit: ChangeMark::grants as it stood at a moment since, where that came back with the commit's answer.
  /// Nothing: change_mark() has to tell.
  virtual std::optional<std::uint64_t> grants_mark() const { return std::nullopt; }
};

struct GcReport {
  std::uint64_t removals = 0, mutations = 0, audit_rows = 0;
  std::uint64_t recent = 0;  // rows whose MergeState::recent was older, and is empty now
  Version pruned_through{};
};

struct ProvisionReport {
  bool created = false;
  std::vector<std::string> changes;  // additive changes applied, one sentence each
};

/// What to read beside the changes, in the same snapshot.
struct ChangesQuery {
  Version after{};            // settled when it was read: everything up to it is known already
  std::size_t rows_max = 0;   // rows and removals together, or grants, or mutations; with more it is "too many"
  std::vector<Actor> actors;  // whose grants are wanted
  std::vector<std::string> client_ids;
};
/// Everything that anybody committed above a version, in all buckets, as of one snapshot: what it takes to bring a copy
/// in memory up to date.
struct RecentChanges {
  Position position;      // of the snapshot, as Snapshot::position
  bool too_many = false;  // or some of it is pruned already: nothing but the position was read
  struct RecentRow {
    EncodedRow row;
    std::vector<Bucket> buckets;  // all that it is in, each once; none for a row that no device has
  };
  /// Rows whose version is above `after`; and of every other row that a removal names and that still exists, its image.
  /// By version, then table, then the key's bytes.
  std::vector<RecentRow> rows;
  struct RecentRemoval {
    Removal removal;  // `covered_at` is not judged
    std::string bucket;
  };
  std::vector<RecentRemoval> removals;  // by version, in the order in which they were recorded
  std::vector<ClientRecord> clients;    // of which a mutation was handled, as they are now
  /// Whose grants were gained or lost. An empty subject: anybody's may have been, whatever the definition.
  struct GrantChange {
    std::size_t definition = 0;
    std::string subject;  // CompiledDomain::grant_subject
  };
  std::vector<GrantChange> grant_changes;
  std::vector<std::vector<Grant>> grants;                  // of ChangesQuery::actors, in their order
  std::vector<std::optional<ClientRecord>> asked_clients;  // of ChangesQuery::client_ids, in their order
};

/// A cheap look at whether anything was committed, by anyone. A counter may move too often, never too seldom.
struct ChangeMark {
  Version last{};             // no version above it has been handed out
  std::uint64_t grants = 0;   // has moved after every commit that changed a grant
  std::uint64_t foreign = 0;  // has moved after every commit of another program or instance; stays for our own
  Version settled{};          // every transaction with a version up to here had ended when this was read
  /// Writes of older clients are refused (S26); dotted numbers, empty when none was set by a breaking migration.
  std::string min_client_version;
  bool operator==(const ChangeMark&) const = default;
};

class Storage {
 public:
  virtual ~Storage() = default;
  /// Creates an empty database for the domain; SQLite also extends one additively. Fails with schema_mismatch, naming
  /// what differs and the command to run, otherwise.
  virtual Result<ProvisionReport> provision() = 0;
  /// Where the database stands; what it is judged by is read after the call began, and calls at once share a read.
  virtual Result<Position> position() = 0;
  /// A snapshot taken now. `settled`, when given, is a position read before: its horizon is the snapshot's.
  virtual Result<std::unique_ptr<Snapshot>> open_snapshot(const std::optional<Position>& settled) = 0;
  /// The same for a pull that is mostly a backfill: may be taken from a replica that has everything that `settled`,
  /// read before on the primary, stands for.
  virtual Result<std::unique_ptr<Snapshot>> open_backfill_snapshot(const std::optional<Position>& settled) {
    return open_snapshot(settled);
  }
  Result<std::unique_ptr<Snapshot>> snapshot() { return open_snapshot(std::nullopt); }
  /// What was committed above `query.after`, in one snapshot that is taken now; `settled` as in open_snapshot. In as
  /// few queries as can be, whatever the number of buckets and devices. Nothing: this storage cannot tell.
  virtual Result<std::optional<RecentChanges>> changes_since(const Position& /*settled*/,
                                                             const ChangesQuery& /*query*/) {
    return std::optional<RecentChanges>();
  }
  /// Waits for its turn up to the storage's lock timeout, then `busy`.
  virtual Result<std::unique_ptr<WriteTransaction>> begin_write(Timestamp now, const WriteOptions& options) = 0;
  Result<std::unique_ptr<WriteTransaction>> write(Timestamp now, const WriteOptions& options = {}) {
    return begin_write(now, options);
  }
  virtual Result<ChangeMark> change_mark() = 0;
  /// Prunes what is older than `before`, in bounded batches.
  virtual Result<GcReport> gc(Timestamp before) = 0;
  virtual Result<std::string> rotate_epoch() = 0;
  /// Runs a script of SQL statements (`serve --seed`) in one transaction, as another program would.
  virtual Result<void> run_script(std::string_view sql) = 0;
  /// Ends what is running: calls under way fail with `busy`. For a shutdown whose time is up. Any thread.
  virtual void interrupt() = 0;
  virtual std::string describe() const = 0;  // e.g. "sqlite:ledger.db", without credentials
};

}  // namespace nizhal::storage
