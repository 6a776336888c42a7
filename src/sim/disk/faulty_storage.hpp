// A server's storage that fails when told to: killed at the n-th call, busy or broken now and then, on a full disk for
// a while. It stands between a server core and the real storage, counts every call, and tells a simulation of calls and
// commits.
//
// The fact that must not break: after a kill nothing that the storage or its transactions and snapshots are asked for
// reaches the database, and after a failure a transaction can only be dropped, whatever its owner tries.
//
// Threads: as the storage behind it while nothing is armed and no hook is set; else one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/forwarding.hpp"

namespace nizhal::sim {

enum class StorageCall {
  provision,
  position,
  snapshot,       // opening one
  snapshot_read,  // any call on it
  changes_since,
  change_mark,
  begin_write,
  savepoint,   // to make, release or roll back to one
  read,        // a transaction's: rows, grants, records
  put_row,     // insert, update, remove, next_number
  put_record,  // put_client, put_mutation, put_audit, put_server_id
  commit,
  gc,
  rotate_epoch,
  run_script,
};
inline constexpr std::size_t kStorageCalls = 15;
const char* to_string(StorageCall call);

enum class StorageFault {
  none,
  crash,        // the process is killed instead of the call: see StorageFaults::kill()
  crash_after,  // right after it
  busy,         // the call does nothing; as a lock that was waited for in vain
  io_error,     // the call does nothing
  disk_full,    // what writes: the call does nothing
  lost_answer,  // the call is done, and reports an I/O error
};
inline constexpr std::size_t kStorageFaults = 7;
const char* to_string(StorageFault fault);

struct StoragePlan {
  std::optional<StorageCall> call = std::nullopt;  // none: any that the fault can befall
  StorageFault fault = StorageFault::none;
  std::uint64_t nth = 1;  // of these calls, counted from arm()
  bool persists = false;  // all later ones fail too, until lifted
  /// Instead of `nth`: each call fails when `draw(one_in)`, which gives numbers below it, gives 0.
  std::uint64_t one_in = 0;
  std::function<std::uint64_t(std::uint64_t)> draw{};
};

/// What befalls a server's storage, over all of the server's lives: it outlives the storages that are opened one after
/// the other.
class StorageFaults {
 public:
  StorageFaults();
  ~StorageFaults();
  StorageFaults(const StorageFaults&) = delete;
  StorageFaults& operator=(const StorageFaults&) = delete;

  /// Beside those that are armed already; the first that strikes counts.
  void arm(StoragePlan plan);
  /// All plans, or those with this fault.
  void lift();
  void lift(StorageFault fault);
  /// The process is killed: from now on every call fails and does nothing. Throw away what is being answered, destroy
  /// the server and the storage, and open a new one. (Drop them with the disk switched off, unless another instance has
  /// the file open, or SQLite tidies up behind the last one as no killed process does.)
  void kill();
  /// Of the storage that was opened last.
  bool is_dead() const;

  /// Calls that were struck, since the beginning.
  std::uint64_t struck(StorageFault fault) const { return struck_[static_cast<std::size_t>(fault)]; }
  /// Calls since the beginning; those of the dead do not count.
  std::uint64_t calls(StorageCall call) const { return calls_[static_cast<std::size_t>(call)]; }
  std::uint64_t all_calls() const;

  /// Before every call: virtual time may pass here. It must not call the storage.
  std::function<void(StorageCall)> on_call = {};
  /// After every call that has committed something, whether its answer arrives or not; with the version of a write
  /// transaction, else 0. It may read through another connection.
  std::function<void(StorageCall, Version)> on_commit = {};

  // For the storage.
  struct Life;

 private:
  friend class FaultyStorage;
  struct Armed {
    StoragePlan plan;
    std::uint64_t seen = 0, struck = 0;
  };
  StorageFault judge(StorageCall call);
  std::shared_ptr<Life> begin_life();
  std::vector<Armed> plans_;
  std::shared_ptr<Life> life_;
  std::array<std::uint64_t, kStorageCalls> calls_{};
  std::array<std::uint64_t, kStorageFaults> struck_{};
};

/// `faults` must outlive it.
class FaultyStorage : public storage::ForwardingStorage {
 public:
  FaultyStorage(std::unique_ptr<storage::Storage> inner, StorageFaults& faults);

  Result<storage::ProvisionReport> provision() override;
  Result<storage::Position> position() override;
  Result<std::unique_ptr<storage::Snapshot>> open_snapshot(const std::optional<storage::Position>& settled) override;
  Result<std::optional<storage::RecentChanges>> changes_since(const storage::Position& settled,
                                                              const storage::ChangesQuery& query) override;
  Result<std::unique_ptr<storage::WriteTransaction>> begin_write(Timestamp now,
                                                                 const storage::WriteOptions& options) override;
  Result<storage::ChangeMark> change_mark() override;
  Result<storage::GcReport> gc(Timestamp before) override;
  Result<std::string> rotate_epoch() override;
  Result<void> run_script(std::string_view sql) override;

 private:
  std::unique_ptr<storage::Storage> owned_;
  std::shared_ptr<StorageFaults::Life> life_;
};

}  // namespace nizhal::sim
