// A device: one local SQLite store that an app reads and writes with no network, and that syncs when there is one.
//
// Threads: every member may be called from any thread. Callbacks run on the store's own thread and must not block.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/domain.hpp>
#include <nizhal/result.hpp>

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

struct StoreOptions {
  std::string path;
  Domain domain;
  Actor actor = {};         // may stay empty for a store that already knows its actor
  std::string server = {};  // "http://host:port"; empty: the one the store remembers, else none: local only
  std::function<std::string()> token = {};  // called before requests and again after a 401; empty: none
  Durability durability = Durability::Process;
  OtherActor other_actor = OtherActor::Refuse;
  bool start_online = true;  // false: never touch the network until sync_now() or set_online(true)
  std::chrono::milliseconds pull_interval{30'000};  // how often to pull when no poke came
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
  std::string last_error;  // empty when none
  bool covered = false;    // a pull confirmed it, its outcome is still to be learned
};

struct DeadLetter {
  std::int64_t id = 0;
  std::string client_mutation_id;
  std::string name;
  std::string args;  // JSON object
  std::string code;
  std::string message;
  std::vector<std::string> depends_on;  // client mutation ids
  Timestamp at;
};

struct StoreStatus {
  enum class Connection { local_only, offline, online };
  Connection connection = Connection::offline;
  bool syncing = false;
  bool upgrade_required = false;
  std::uint64_t pending = 0;
  std::uint64_t dead_letters = 0;
  std::optional<std::uint64_t> progress_rows, progress_total;  // first sync or backfill under way
  std::optional<Timestamp> last_synced;
  std::string last_error;          // with what to do; empty when the last attempt went well
  std::int64_t clock_skew_ms = 0;  // what the device adds to its clock, milliseconds
  std::string client_id, user_id, owner_id, server;
};

struct MutateOptions {
  std::vector<std::string> depends_on = {};  // client mutation ids: refused with them (S5)
};

/// A mutation that is durably in the outbox.
struct Ticket {
  std::string client_mutation_id;
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
  template <class Args>
  Result<Ticket> mutate(std::string_view name, const Args& args, const MutateOptions& options = {}) {
    return mutate_values(name, &args, typeid(Args), options);
  }
  Result<Ticket> mutate_json(std::string_view name, std::string_view args, const MutateOptions& options = {});

  template <class T, class K>
  Result<std::optional<T>> get(const Table<T>& table, const K& key) const {
    auto rows = query(from(table).where(eq(table.def().key, key)).limit(1));
    if (!rows) return tl::unexpected(rows.error());
    if (rows->empty()) return std::optional<T>();
    return std::optional<T>(std::move(rows->front()));
  }
  template <class T>
  Result<std::vector<T>> query(const Query<T>& query) const {
    auto rows = query_rows(query.spec());
    if (!rows) return tl::unexpected(rows.error());
    std::vector<T> objects;
    objects.reserve(rows->size());
    for (const Row& row : *rows) objects.push_back(query.table().from_row(row));
    return objects;
  }
  /// Read-only SQL over the app's tables; anything that would write is refused (usage).
  Result<SqlResult> sql(std::string_view text) const;

  /// Pushes and pulls until nothing is pending and a pull is complete, or it fails; ignores earlier backoff.
  Result<SyncReport> sync_now(std::chrono::milliseconds timeout = std::chrono::minutes(10));
  void set_online(bool online);

  StoreStatus status() const;
  /// Called after every change of the status; replaces the one before.
  void on_status(std::function<void(const StoreStatus&)> callback);
  Result<std::vector<PendingMutation>> outbox() const;

  Result<std::vector<DeadLetter>> dead_letters() const;
  /// Enqueues it again under a new client mutation id, with its old id seed (S6).
  Result<Ticket> retry(std::int64_t dead_letter);
  Result<Ticket> retry_with(std::int64_t dead_letter, std::string_view args);
  Result<void> discard(std::int64_t dead_letter);

 private:
  friend Result<Store> open_store(StoreOptions options);
  class Implementation;
  explicit Store(std::unique_ptr<Implementation> implementation);
  Result<Ticket> mutate_values(std::string_view name, const void* args, const std::type_info& type,
                               const MutateOptions& options);
  Result<std::vector<Row>> query_rows(const QuerySpec& query) const;
  std::unique_ptr<Implementation> implementation_;
};

/// Opens or creates the store. Errors: invalid_domain, identity_mismatch, schema_mismatch, and the disk's.
Result<Store> open_store(StoreOptions options);

}  // namespace nizhal
