// A disk that fails when told to: an SQLite VFS between the library and the operating system's, for a test's own files.
// It counts the calls on the files that are watched, fails the n-th of a kind in a chosen way, kills the process there,
// and keeps an image of what has reached the medium, so that a test can cut the power.
//
// The fact that must not break: files that are not watched are passed through untouched.
//
// Threads: one at a time may call SQLite on watched files while a fault is armed or a medium is kept.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace nizhal::testing {

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
  damaged,                   // the file turns out not to be what it should
  lost_sync,                 // sync: reports success and does nothing
  lost_sync_then_power_off,  // the same, and the power goes when the next one is asked for
  power_off,                 // instead of the call, and for all that follow: see switch_off()
  crash,                     // SIGKILL instead of the call
  crash_torn,                // write: SIGKILL after half of it
  crash_after,               // SIGKILL right after the call
};
const char* to_string(DiskFault fault);

struct DiskPlan {
  DiskCall call = DiskCall::write;
  DiskFault fault = DiskFault::none;
  std::uint64_t nth = 1;           // of these calls, counted from arm()
  bool persists = false;           // all later calls of the kind fail too, until lifted
  bool commits_only = false;       // writes: only those that end a commit in the write-ahead log count
  std::function<void()> struck{};  // called when the first call fails
};

class FaultyVfs {
 public:
  /// Registers it as the default VFS of this process, once.
  static FaultyVfs& install();

  /// From now on the files whose path begins with `prefix` are watched; none with "".
  void watch(std::string prefix);
  void arm(DiskPlan plan);
  void lift();
  /// Calls that failed since arm().
  std::uint64_t struck() const { return struck_; }
  /// Calls since watch().
  std::uint64_t calls(DiskCall call) const { return calls_[static_cast<std::size_t>(call)]; }
  std::uint64_t commits() const { return commits_; }

  /// Keeps account of what has reached the medium, from the next open of each watched file on. What is not synced may
  /// be lost.
  void keep_medium(bool keep);
  /// What survives of the writes since the last sync, when the power goes.
  enum class Unsynced { lost, kept, some };
  /// Puts the watched files into the state of the medium. All their handles must be closed, or be dropped without
  /// another call. `draw(n)` gives numbers below n.
  void cut_power(Unsynced unsynced, const std::function<std::uint64_t(std::uint64_t)>& draw);
  /// Nothing reaches the files any more, every call fails: what a program does after the power went changes nothing.
  void switch_off();

  // For the shim's own functions.
  struct Calls;

 private:
  friend struct Calls;
  FaultyVfs() = default;
  struct Medium;
  std::string prefix_;
  DiskPlan plan_;
  bool is_armed_ = false, is_off_ = false, keeps_medium_ = false;
  std::uint64_t seen_ = 0, struck_ = 0, commits_ = 0;
  std::array<std::uint64_t, kDiskCalls> calls_{};
};

}  // namespace nizhal::testing
