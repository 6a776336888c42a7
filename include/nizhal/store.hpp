// A device: one local SQLite store that an app reads and writes with no network, and that syncs when there is one.
//
// Threads: every member may be called from any thread. Callbacks run on the store's own thread and must not block.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/conflict.hpp>
#include <nizhal/domain.hpp>
#include <nizhal/live.hpp>
#include <nizhal/result.hpp>
#include <nizhal/ticket.hpp>

namespace nizhal {

enum class Durability {
  Process,  // a killed process keeps the write (WAL, synchronous=NORMAL)
  Full,     // a power cut keeps it too (synchronous=FULL)
};

/// What to do when the store file belongs to another actor (S9).
enum class OtherActor {
  Refuse,   // fail with identity_mismatch
  Archive,  // move the file aside (`<path>.archived-<time>`) and start afresh
  Discard,  // delete its content, pending writes included
};

/// When `mutate` is done, and what the app sees until then.
enum class SyncMode {
  local_first,           // at once: the rows are shown, and the server hears of it when it can
  server_authoritative,  // when the server answered; nothing is shown before, and nothing is kept if it cannot be asked
};

/// Which of the actor's buckets the device holds.
enum class Coverage {
  everything,  // all that the actor has
  subscribed,  // those that were named with Store::subscribe
};

class SyncTarget;  // <nizhal/sync_target.hpp>

struct StoreOptions {
  std::string path;
  Domain domain;
  Actor actor = {};         // may stay empty for a store that already knows its actor
  std::string server = {};  // "http://host:port"; empty: the one the store remembers, else none: local only
  std::function<std::string()> token = {};  // called before requests and again after a 401; empty: none
  std::shared_ptr<SyncTarget> target = {};  // syncs with this, the app's own backend, instead of a server
  SyncMode mode = SyncMode::local_first;    // of mutations that do not say another
  Coverage coverage = Coverage::everything;
  Durability durability = Durability::Process;
  OtherActor other_actor = OtherActor::Refuse;
  bool start_online = true;  // false: never touch the network until sync_now() or set_online(true)
  /// How often to pull while the socket that brings pokes is down; ten times rarer while it is open.
  std::chrono::milliseconds pull_interval{30'000};
  std::function<void(std::string_view level, std::string_view message)> log = {};
};

/// A row of a plain SQL query: values by column name, in the query's order.
struct SqlResult {
  std::vector<std::string> columns;
  std::vector<std::vector<Value>> rows;
};

struct PendingMutation {
  std::string client_mutation_id;
  std::optional<std::uint64_t> mutation_id;  // once sent
  std::string name;
  std::string args;  // JSON object
  std::uint64_t attempts = 0;
  std::string last_error;               // empty when none
  bool covered = false;                 // a pull confirmed it, its outcome is still to be learned
  std::vector<std::string> depends_on;  // client mutation ids, those found by keys included
  std::string dependency_key;           // under which later mutations may depend on it; empty: none
};

struct DeadLetter {
  std::int64_t id = 0;
  std::string client_mutation_id;
  std::string name;
  std::string args;  // JSON object
  std::string code;
  std::string message;
  std::vector<std::string> depends_on;  // client mutation ids
  std::vector<std::string> chain;       // why it is here: the client mutation ids from its cause to the refused one
  Timestamp at;
};

struct StoreStatus {
  enum class Connection { local_only, offline, online };
  /// What the file last said when it was written. While it is not `ok` syncing pauses, and goes on by itself (S11).
  enum class Storage { ok, full, read_only, damaged, failing };
  Connection connection = Connection::offline;
  Storage storage = Storage::ok;
  std::string storage_error;  // with what to do; empty when ok
  bool syncing = false;       // pulling or pushing
  bool pulling = false, pushing = false;
  bool standby = false;  // another process syncs this file; this one takes over when that ends (S8)
  bool upgrade_required = false;
  std::uint64_t pending = 0;
  std::uint64_t dead_letters = 0;
  std::uint64_t conflicts = 0;                                 // not dismissed yet
  std::optional<std::uint64_t> progress_rows, progress_total;  // first sync or backfill under way
  std::optional<Timestamp> last_synced;
  std::string last_error;          // with what to do; empty when the last attempt went well
  std::int64_t clock_skew_ms = 0;  // what the device adds to its clock, milliseconds
  std::string client_id, user_id, owner_id, server;
  bool operator==(const StoreStatus&) const = default;
};

struct MutateOptions {
  std::vector<std::string> depends_on = {};       // client mutation ids: refused with them (S5)
  std::vector<std::string> depends_on_keys = {};  // the same, by the keys that mutators declare (dependency_key)
  std::optional<SyncMode> mode = {};              // else the store's
  std::chrono::milliseconds timeout{15'000};      // server_authoritative: how long to wait for the server
};

/// Parameters of a rule by name: {{"shopId", "shop-1"}} names one bucket; none of them: all buckets of the rule.
using RuleParameters = std::map<std::string, std::string>;

/// A bucket, or all of a rule's, that the app asked for (Coverage::subscribed).
struct BucketSubscription {
  std::string rule;
  RuleParameters parameters;
  std::optional<Timestamp> until;  // no longer wanted: kept in sync until then, evicted after
  bool is_held = false;            // what is here of it is complete; false: on its way, or not the actor's to have
};

/// Somebody who is in a bucket at the moment: one entry for each of a user's connections.
struct Presence {
  std::string user_id;
  std::string ref;      // names the connection
  std::string payload;  // what it said of itself with track(), a JSON object
  bool operator==(const Presence&) const = default;
};

struct SyncReport {
  std::uint64_t applied = 0, rejected = 0, pulled_rows = 0, pending = 0, dead_letters = 0;
};

class Store {
 public:
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();  // stops syncing; pending writes stay in the file

  /// Runs the mutator and enqueues it, in one transaction (S1). Errors: refused (nothing was written; the message
  /// begins with the mutator's code), invalid_args, not_found (no such mutator), and the storage's.
  /// server_authoritative: returns when the server applied it, its rows shown; `refused` when it did not, and nothing
  /// of it stays. Also: usage (no server, or called on the store's own thread); unreachable, unauthorized or
  /// upgrade_required (the server did not do it and nothing was kept); outcome_unknown (it may have been applied; it
  /// stays in the outbox, unseen, until the server says so, and a refusal is then a dead letter).
  template <class Args>
  Result<Ticket> mutate(std::string_view name, const Args& args, const MutateOptions& options = {}) {
    return mutate_values(name, &args, typeid(Args), options);
  }
  Result<Ticket> mutate_json(std::string_view name, std::string_view args, const MutateOptions& options = {});

  /// Follows a mutation of before, also one of an earlier run of the app.
  Ticket ticket(std::string client_mutation_id) const;
  /// Takes a mutation back by running the inverse that its mutator declares, as a mutation of its own. Errors:
  /// not_found (it declares none, or it is too long ago), refused (`already_undone`; `nothing_to_undo`: it was refused
  /// itself and is a dead letter; else the inverse, by its mutator), and mutate's.
  Result<Ticket> undo(const Ticket& ticket, const MutateOptions& options = {});

  template <class T, class K>
  Result<std::optional<T>> get(const Table<T>& table, const K& key) const {
    auto rows = query(from(table).where(eq(table.def().key, key)).limit(1));
    if (!rows) return tl::unexpected(rows.error());
    if (rows->empty()) return std::optional<T>();
    return std::optional<T>(std::move(rows->front()));
  }
  /// Rows of a table, of joined tables (std::tuple), or folded (FoldRow). Errors: invalid_args (names, types and
  /// operands that do not fit; a sum beyond 64 bits), not_found (a table of another domain), and the storage's.
  template <TypedQuery Q>
  Result<std::vector<typename Q::Result>> query(const Q& query) const {
    auto rows = query_rows(query.spec());
    if (!rows) return tl::unexpected(rows.error());
    std::vector<typename Q::Result> objects;
    objects.reserve(rows->size());
    for (const Row& row : *rows) objects.push_back(query.from_row(row));
    return objects;
  }
  /// Read-only SQL over the app's tables; anything that would write is refused (usage).
  Result<SqlResult> sql(std::string_view text) const;

  /// Calls back with the rows now, and again after each commit that changes them, this process's or another's. What is
  /// delivered is always the query's result at one commit; several commits may come as one delivery.
  template <TypedQuery Q>
  [[nodiscard]] Result<Subscription> live(
      const Q& query, std::function<void(const Rows<typename Q::Result>&, const Delta<typename Q::Result>&)> callback,
      LiveOptions options = {}) {
    return live_rows(query.spec(),
                     typed_callback<typename Q::Result>([query](const Row& row) { return query.from_row(row); },
                                                        std::move(callback)),
                     std::move(options));
  }
  /// The same for a reading SQL statement; each row is its values in the order of the columns.
  [[nodiscard]] Result<Subscription> live_sql(std::string_view text,
                                              std::function<void(const Rows<Row>&, const Delta<Row>&)> callback,
                                              LiveOptions options = {});
  template <TypedQuery Q>
  Result<Explanation> explain(const Q& query) const {
    return explain_query(query.spec());
  }
  Result<Explanation> explain_sql(std::string_view text) const;

  /// Coverage::subscribed: the device is to hold these buckets, as far as the actor may have them. Remembered by the
  /// file. Errors: not_found (no such rule, or not its parameters), usage (the store covers everything), the storage's.
  Result<void> subscribe(std::string_view rule, const RuleParameters& parameters = {});
  /// They are no longer wanted: kept in sync for `keep`, then evicted.
  Result<void> unsubscribe(std::string_view rule, const RuleParameters& parameters = {},
                           std::chrono::seconds keep = std::chrono::seconds(0));
  Result<std::vector<BucketSubscription>> subscriptions() const;

  /// Tells everybody who has the bucket that this user is there, with a payload (a JSON object of at most 4 KiB), for
  /// as long as the store is connected and until untrack(). Said again after each reconnect and with each heartbeat; a
  /// second call replaces the payload. Nothing of it is stored, and nobody is promised to hear of it. A handle that
  /// stands by (StoreStatus::standby) shows nobody, and says what it tracks once it takes over. Errors: usage (no
  /// server, the payload is no JSON object or too long).
  Result<void> track(std::string_view bucket, std::string_view payload = "{}");
  void untrack(std::string_view bucket);
  /// Who is there, as last heard, by user and connection; nobody while there is no connection.
  std::vector<Presence> presence(std::string_view bucket) const;
  /// Called with presence() now and after every change of it, and only then.
  [[nodiscard]] Subscription on_presence(std::string_view bucket,
                                         std::function<void(const std::vector<Presence>&)> callback);

  /// Pushes and pulls until nothing is pending and a pull is complete, or it fails; ignores earlier backoff.
  Result<SyncReport> sync_now(std::chrono::milliseconds timeout = std::chrono::minutes(10));
  void set_online(bool online);

  StoreStatus status() const;
  /// Called with the status now and after every change of it, and only then.
  [[nodiscard]] Subscription on_status(std::function<void(const StoreStatus&)> callback);
  Result<std::vector<PendingMutation>> outbox() const;

  Result<std::vector<DeadLetter>> dead_letters() const;
  /// Enqueues it again under a new client mutation id, with its old id seed (S6).
  Result<Ticket> retry(std::int64_t dead_letter);
  Result<Ticket> retry_with(std::int64_t dead_letter, std::string_view args);
  Result<void> discard(std::int64_t dead_letter);

  /// Which of this device's edits lost to a later one of somebody else (Merge::Field), oldest first, until dismissed.
  Result<std::vector<LostEdit>> conflicts() const;
  /// Called with each one when the server tells of it, once.
  [[nodiscard]] Subscription on_conflict(std::function<void(const LostEdit&)> callback);
  Result<void> dismiss_conflict(std::int64_t id);

 private:
  friend Result<Store> open_store(StoreOptions options);
  class Implementation;
  explicit Store(std::unique_ptr<Implementation> implementation);
  Result<Ticket> mutate_values(std::string_view name, const void* args, const std::type_info& type,
                               const MutateOptions& options);
  Result<std::vector<Row>> query_rows(const QuerySpec& query) const;
  using RawCallback = std::function<void(const RowSequence&, const RawDelta&)>;
  Result<Subscription> live_rows(const QuerySpec& query, RawCallback callback, LiveOptions options);
  Result<Explanation> explain_query(const QuerySpec& query) const;
  template <class T>
  static RawCallback typed_callback(std::function<T(const Row&)> make,
                                    std::function<void(const Rows<T>&, const Delta<T>&)> callback) {
    return [make = std::move(make), callback = std::move(callback)](const RowSequence& rows, const RawDelta& raw) {
      Delta<T> delta;
      delta.is_first = raw.is_first;
      delta.changes.reserve(raw.changes.size());
      for (const RawChange& change : raw.changes)
        delta.changes.push_back({change.step, change.index, make(change.row)});
      callback(Rows<T>(rows, make), delta);
    };
  }
  std::unique_ptr<Implementation> implementation_;
};

/// Opens or creates the store. Errors: invalid_domain, identity_mismatch, schema_mismatch, and the disk's.
Result<Store> open_store(StoreOptions options);

}  // namespace nizhal
