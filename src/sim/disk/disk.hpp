// A disk that fails when told to: the files of one device or one server, seen through an SQLite VFS that stands between
// the library and the operating system's. It counts the calls on its files, fails the n-th of a kind in a chosen way,
// ends the process there (really, or only for the handles on this disk), and keeps an image of what has reached the
// medium, so that the power can be cut.
//
// The fact that must not break: a handle that was open when the disk went off never touches a file again, whatever is
// done with it; the locks that it held are released as it is dropped.
//
// Threads: one at a time may call SQLite on a disk's files while a fault is armed or a medium is kept. Disks do not
// share anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace nizhal::sim {

/// A call of SQLite to its file system.
enum class DiskCall { open, read, write, sync, truncate, remove, lock, shm_map, shm_lock };
inline constexpr std::size_t kDiskCalls = 9;
const char* to_string(DiskCall call);

enum class DiskFault {
  none,
  io_error,                  // the call fails and does nothing
  cannot_open,               // open
  short_read,                // read: half of it, then an I/O error (half and no error is the end of the file)
  disk_full,                 // write, truncate: fails and does nothing
  torn_write,                // write: half of it is written, then an I/O error
  full_torn,                 // write: half of it is written, then the disk is full
  read_only,                 // write: refused as the medium takes no writes
  damaged,                   // write: the file turns out not to be what it should
  lost_sync,                 // sync: reports success and does nothing
  lost_sync_then_power_off,  // the same, and the power goes when the next one is asked for
  power_off,                 // instead of the call, and for all that follow: see switch_off()
  power_off_torn,            // write: power_off after half of it
  power_off_after,           // power_off right after the call, whose answer is lost
  crash,                     // SIGKILL instead of the call
  crash_torn,                // write: SIGKILL after half of it
  crash_after,               // SIGKILL right after the call
};
const char* to_string(DiskFault fault);

struct DiskPlan {
  std::optional<DiskCall> call = DiskCall::write;  // none: any that the fault can befall
  DiskFault fault = DiskFault::none;
  std::uint64_t nth = 1;           // of these calls, counted from arm()
  bool persists = false;           // all later calls of the kind fail too, until lifted
  bool commits_only = false;       // writes: only those that end a commit in the write-ahead log count
  std::function<void()> struck{};  // called when the first call fails
  /// Instead of `nth`: each call fails when `draw(one_in)`, which gives numbers below it, gives 0.
  std::uint64_t one_in = 0;
  std::function<std::uint64_t(std::uint64_t)> draw{};
};

class Disk {
 public:
  /// Files whose path begins with `prefix` are on it from their next open on; with several disks the longest prefix
  /// counts, so let it end where a name or folder ends ("…/device-1.db", "…/server/"). Registers the VFS, once, as the
  /// default of this process; other files pass through it untouched.
  explicit Disk(const std::string& prefix);
  /// Open handles go on, untouched; those of before a switch_off() stay dead.
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  void arm(DiskPlan plan);
  /// The disk is well again, and on.
  void lift();
  /// Calls that failed since arm().
  std::uint64_t struck() const;
  /// Calls since the disk was made; none counts while it is off.
  std::uint64_t calls(DiskCall call) const;
  std::uint64_t commits() const;

  /// Nothing reaches the files any more, every call fails: what a program does after it was killed, or the power went,
  /// changes nothing. Then drop the handles, and lift() the disk (a killed process: what it wrote is in the files) or
  /// cut_power().
  void switch_off();
  bool is_off() const;

  /// Keeps account of what has reached the medium, from the next open of each file on. What is not synced may be lost.
  /// A file that comes past SQLite (a copy) must come while no account is kept.
  void keep_medium(bool keep);
  /// What survives of the writes since the last sync, when the power goes.
  enum class Unsynced { lost, kept, some };
  /// Puts the files into the state of the medium, and lifts the disk. Handles that are still open are dead. `draw(n)`
  /// gives numbers below n.
  void cut_power(Unsynced unsynced, const std::function<std::uint64_t(std::uint64_t)>& draw);

  struct State;  // for the VFS

 private:
  std::shared_ptr<State> state_;
};

}  // namespace nizhal::sim
