#include "tests/support/faulty_vfs.hpp"

#include <sqlite3.h>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <string_view>
#include <utility>

namespace nizhal::testing {

namespace {

constexpr std::size_t kSector = 512;
/// Bytes of the header before each page in the write-ahead log. Its second word is not zero where a commit ends.
constexpr int kFrameHeader = 24;

sqlite3_vfs* g_real = nullptr;

/// Followed in memory by the real VFS's own file.
struct File {
  sqlite3_file base;
  const std::string* path;
  bool ends_commit;   // the header of a commit's last frame was written, its page comes next
  bool syncs_folder;  // a new journal or log: SQLite's first sync of it syncs the folder too
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

File& file_of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }

int error_of(DiskCall call) {
  switch (call) {
    case DiskCall::open:
      return SQLITE_CANTOPEN;
    case DiskCall::read:
      return SQLITE_IOERR_READ;
    case DiskCall::write:
      return SQLITE_IOERR_WRITE;
    case DiskCall::sync:
      return SQLITE_IOERR_FSYNC;
    case DiskCall::truncate:
      return SQLITE_IOERR_TRUNCATE;
    case DiskCall::remove:
      return SQLITE_IOERR_DELETE;
    case DiskCall::lock:
      return SQLITE_IOERR_LOCK;
    case DiskCall::shm_map:
      return SQLITE_IOERR_SHMMAP;
    case DiskCall::shm_lock:
      return SQLITE_IOERR_SHMLOCK;
  }
  return SQLITE_IOERR;
}

void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  return std::move(content).str();
}

}  // namespace

const char* to_string(DiskCall call) {
  constexpr const char* kNames[kDiskCalls] = {"open",   "read", "write",   "sync",    "truncate",
                                              "delete", "lock", "shm map", "shm lock"};
  return kNames[static_cast<std::size_t>(call)];
}

const char* to_string(DiskFault fault) {
  switch (fault) {
    case DiskFault::none:
      return "none";
    case DiskFault::io_error:
      return "I/O error";
    case DiskFault::cannot_open:
      return "cannot open";
    case DiskFault::short_read:
      return "short read";
    case DiskFault::disk_full:
      return "disk full";
    case DiskFault::torn_write:
      return "torn write";
    case DiskFault::full_torn:
      return "torn write on a full disk";
    case DiskFault::read_only:
      return "read-only medium";
    case DiskFault::damaged:
      return "damage";
    case DiskFault::lost_sync:
      return "lost sync";
    case DiskFault::lost_sync_then_power_off:
      return "lost sync and power cut";
    case DiskFault::power_off:
      return "power cut";
    case DiskFault::crash:
      return "kill";
    case DiskFault::crash_torn:
      return "kill in a write";
    case DiskFault::crash_after:
      return "kill after";
  }
  return "";
}

/// What a file is on the medium, and what was written to it since its last sync.
struct FaultyVfs::Medium {
  struct Change {
    std::size_t offset = 0;
    std::string bytes;
    bool truncates = false;  // to `offset`
  };
  struct Image {
    std::string synced;
    std::vector<Change> unsynced;
    bool removed = false;  // the folder was not synced since
  };
  std::map<std::string, Image> images;

  static void apply(std::string& content, const Change& change) {
    if (change.truncates) {
      content.resize(change.offset);
      return;
    }
    if (content.size() < change.offset + change.bytes.size()) content.resize(change.offset + change.bytes.size());
    content.replace(change.offset, change.bytes.size(), change.bytes);
  }
  static Medium& instance() {
    static Medium medium;
    return medium;
  }
};

/// The functions that SQLite calls.
struct FaultyVfs::Calls {
  static FaultyVfs& vfs() { return FaultyVfs::install(); }

  static Medium::Image* image(const std::string& path) {
    if (!vfs().keeps_medium_) return nullptr;
    auto& images = Medium::instance().images;
    const auto it = images.find(path);
    return it == images.end() ? nullptr : &it->second;
  }

  /// What is to happen to this call. `is_commit`: a write that ends a commit.
  static DiskFault next(DiskCall call, bool is_commit = false) {
    FaultyVfs& self = vfs();
    if (self.is_off_) return DiskFault::io_error;
    ++self.calls_[static_cast<std::size_t>(call)];
    if (is_commit) ++self.commits_;
    if (!self.is_armed_ || self.plan_.call != call || (self.plan_.commits_only && !is_commit)) return DiskFault::none;
    ++self.seen_;
    const bool strikes = self.plan_.persists ? self.seen_ >= self.plan_.nth : self.seen_ == self.plan_.nth;
    if (!strikes) return DiskFault::none;
    if (++self.struck_ == 1 && self.plan_.struck) self.plan_.struck();
    if (self.plan_.fault == DiskFault::lost_sync_then_power_off) {
      self.plan_.fault = DiskFault::power_off;
      self.plan_.nth = self.seen_ + 1;
      return DiskFault::lost_sync;
    }
    if (self.plan_.fault == DiskFault::power_off) {
      self.is_off_ = true;
      return DiskFault::io_error;
    }
    if (self.plan_.fault == DiskFault::crash) die();
    return self.plan_.fault;
  }
  static void after(DiskFault fault) {
    if (fault == DiskFault::crash_after) die();
  }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* out, int flags, int* flags_out) {
    FaultyVfs& self = vfs();
    const bool is_watched = name && !self.prefix_.empty() && std::string_view(name).starts_with(self.prefix_);
    if (!is_watched) return g_real->xOpen(g_real, name, out, flags, flags_out);
    out->pMethods = nullptr;
    const DiskFault fault = next(DiskCall::open);
    if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::open);
    File& file = *new (out) File{};
    const bool existed = std::filesystem::exists(name);
    const int code = g_real->xOpen(g_real, name, file.real(), flags, flags_out);
    after(fault);
    if (code != SQLITE_OK) return code;
    file.path = new std::string(name);
    file.base.pMethods = &methods();
    file.syncs_folder = !existed && !file.path->ends_with(".db");
    if (self.keeps_medium_) {
      auto& images = Medium::instance().images;
      const auto it = images.find(*file.path);
      if (!existed || it == images.end()) images[*file.path] = {existed ? read_all(name) : std::string(), {}, false};
    }
    return SQLITE_OK;
  }

  static int remove(sqlite3_vfs*, const char* name, int syncs_folder) {
    FaultyVfs& self = vfs();
    if (self.prefix_.empty() || !std::string_view(name).starts_with(self.prefix_))
      return g_real->xDelete(g_real, name, syncs_folder);
    const DiskFault fault = next(DiskCall::remove);
    if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::remove);
    const int code = g_real->xDelete(g_real, name, 0);
    after(fault);
    if (Medium::Image* kept = code == SQLITE_OK ? image(name) : nullptr) {
      if (syncs_folder) {
        Medium::instance().images.erase(name);
      } else {
        kept->removed = true;
      }
    }
    return code;
  }

  static int close(sqlite3_file* opened) {
    File& file = file_of(opened);
    delete file.path;
    return file.real()->pMethods->xClose(file.real());
  }

  static int read(sqlite3_file* opened, void* out, int amount, sqlite3_int64 offset) {
    File& file = file_of(opened);
    const DiskFault fault = next(DiskCall::read);
    if (fault == DiskFault::short_read) {
      const int half = amount / 2;
      const int code = file.real()->pMethods->xRead(file.real(), out, half, offset);
      if (code != SQLITE_OK) return code;
      return SQLITE_IOERR_READ;
    }
    if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::read);
    const int code = file.real()->pMethods->xRead(file.real(), out, amount, offset);
    after(fault);
    return code;
  }

  static int write_through(File& file, const void* data, int amount, sqlite3_int64 offset) {
    const int code = file.real()->pMethods->xWrite(file.real(), data, amount, offset);
    if (Medium::Image* kept = code == SQLITE_OK ? image(*file.path) : nullptr)
      kept->unsynced.push_back({static_cast<std::size_t>(offset),
                                std::string(static_cast<const char*>(data), static_cast<std::size_t>(amount)), false});
    return code;
  }

  static int write(sqlite3_file* opened, const void* data, int amount, sqlite3_int64 offset) {
    File& file = file_of(opened);
    const bool is_commit = std::exchange(file.ends_commit, false);
    if (amount == kFrameHeader && file.path->ends_with("-wal")) {
      const auto* header = static_cast<const unsigned char*>(data);
      file.ends_commit = (header[4] | header[5] | header[6] | header[7]) != 0;
    }
    const DiskFault fault = next(DiskCall::write, is_commit);
    if (fault == DiskFault::torn_write || fault == DiskFault::full_torn || fault == DiskFault::crash_torn) {
      const int code = write_through(file, data, amount / 2, offset);
      if (fault == DiskFault::crash_torn) die();
      if (code != SQLITE_OK) return code;
    }
    if (fault == DiskFault::disk_full || fault == DiskFault::full_torn) return SQLITE_FULL;
    if (fault == DiskFault::read_only) return SQLITE_READONLY;
    if (fault == DiskFault::damaged) return SQLITE_CORRUPT;
    if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::write);
    const int code = write_through(file, data, amount, offset);
    after(fault);
    return code;
  }

  static int truncate(sqlite3_file* opened, sqlite3_int64 size) {
    File& file = file_of(opened);
    const DiskFault fault = next(DiskCall::truncate);
    if (fault == DiskFault::disk_full) return SQLITE_FULL;
    if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::truncate);
    const int code = file.real()->pMethods->xTruncate(file.real(), size);
    after(fault);
    if (Medium::Image* kept = code == SQLITE_OK ? image(*file.path) : nullptr)
      kept->unsynced.push_back({static_cast<std::size_t>(size), {}, true});
    return code;
  }

  /// The operating system's sync is left out: what reaches the medium is decided here.
  static int sync(sqlite3_file* opened, int) {
    File& file = file_of(opened);
    const DiskFault fault = next(DiskCall::sync);
    if (fault == DiskFault::lost_sync) return SQLITE_OK;
    if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::sync);
    after(fault);
    if (Medium::Image* kept = image(*file.path)) {
      if (std::exchange(file.syncs_folder, false))
        std::erase_if(Medium::instance().images, [](const auto& one) { return one.second.removed; });
      for (const Medium::Change& change : kept->unsynced) Medium::apply(kept->synced, change);
      kept->unsynced.clear();
    }
    return SQLITE_OK;
  }

  static int file_size(sqlite3_file* opened, sqlite3_int64* size) {
    sqlite3_file* real = file_of(opened).real();
    return real->pMethods->xFileSize(real, size);
  }
  static int lock(sqlite3_file* opened, int level) {
    const DiskFault fault = next(DiskCall::lock);
    if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::lock);
    sqlite3_file* real = file_of(opened).real();
    const int code = real->pMethods->xLock(real, level);
    after(fault);
    return code;
  }
  static int unlock(sqlite3_file* opened, int level) {
    sqlite3_file* real = file_of(opened).real();
    return real->pMethods->xUnlock(real, level);
  }
  static int check_reserved(sqlite3_file* opened, int* result) {
    sqlite3_file* real = file_of(opened).real();
    return real->pMethods->xCheckReservedLock(real, result);
  }
  static int file_control(sqlite3_file* opened, int operation, void* argument) {
    sqlite3_file* real = file_of(opened).real();
    return real->pMethods->xFileControl(real, operation, argument);
  }
  static int sector_size(sqlite3_file* opened) {
    sqlite3_file* real = file_of(opened).real();
    return real->pMethods->xSectorSize(real);
  }
  static int characteristics(sqlite3_file* opened) {
    sqlite3_file* real = file_of(opened).real();
    return real->pMethods->xDeviceCharacteristics(real);
  }
  static int shm_map(sqlite3_file* opened, int page, int size, int extend, void volatile** out) {
    const DiskFault fault = next(DiskCall::shm_map);
    if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::shm_map);
    sqlite3_file* real = file_of(opened).real();
    const int code = real->pMethods->xShmMap(real, page, size, extend, out);
    after(fault);
    return code;
  }
  static int shm_lock(sqlite3_file* opened, int offset, int count, int flags) {
    sqlite3_file* real = file_of(opened).real();
    DiskFault fault = DiskFault::none;
    if (flags & SQLITE_SHM_LOCK) {
      fault = next(DiskCall::shm_lock);
      if (fault != DiskFault::none && fault != DiskFault::crash_after) return error_of(DiskCall::shm_lock);
    }
    const int code = real->pMethods->xShmLock(real, offset, count, flags);
    after(fault);
    return code;
  }
  static void shm_barrier(sqlite3_file* opened) {
    sqlite3_file* real = file_of(opened).real();
    real->pMethods->xShmBarrier(real);
  }
  static int shm_unmap(sqlite3_file* opened, int removes) {
    sqlite3_file* real = file_of(opened).real();
    return real->pMethods->xShmUnmap(real, removes);
  }

  // Version 2: no memory-mapped reads, which no VFS could fail.
  static const sqlite3_io_methods& methods() {
    static const sqlite3_io_methods kMethods = [] {
      sqlite3_io_methods all{};
      all.iVersion = 2;
      all.xClose = close;
      all.xRead = read;
      all.xWrite = write;
      all.xTruncate = truncate;
      all.xSync = sync;
      all.xFileSize = file_size;
      all.xLock = lock;
      all.xUnlock = unlock;
      all.xCheckReservedLock = check_reserved;
      all.xFileControl = file_control;
      all.xSectorSize = sector_size;
      all.xDeviceCharacteristics = characteristics;
      all.xShmMap = shm_map;
      all.xShmLock = shm_lock;
      all.xShmBarrier = shm_barrier;
      all.xShmUnmap = shm_unmap;
      return all;
    }();
    return kMethods;
  }
};

FaultyVfs& FaultyVfs::install() {
  static FaultyVfs self;
  static const bool kRegistered = [] {
    g_real = sqlite3_vfs_find(nullptr);
    static sqlite3_vfs shim = *g_real;
    shim.zName = "nizhal-faulty";
    shim.pNext = nullptr;
    shim.szOsFile = static_cast<int>(sizeof(File)) + g_real->szOsFile;
    shim.xOpen = Calls::open;
    shim.xDelete = Calls::remove;
    return sqlite3_vfs_register(&shim, 1) == SQLITE_OK;
  }();
  static_cast<void>(kRegistered);
  return self;
}

void FaultyVfs::watch(std::string prefix) {
  lift();
  is_off_ = false;
  prefix_ = std::move(prefix);
  calls_.fill(0);
  commits_ = 0;
  Medium::instance().images.clear();
}

void FaultyVfs::arm(DiskPlan plan) {
  plan_ = std::move(plan);
  is_armed_ = true;
  seen_ = struck_ = 0;
}

void FaultyVfs::lift() { is_armed_ = false; }

void FaultyVfs::keep_medium(bool keep) {
  keeps_medium_ = keep;
  Medium::instance().images.clear();
}

void FaultyVfs::switch_off() { is_off_ = true; }

void FaultyVfs::cut_power(Unsynced unsynced, const std::function<std::uint64_t(std::uint64_t)>& draw) {
  const auto survives = [&] { return unsynced == Unsynced::kept || (unsynced == Unsynced::some && draw(2) == 1); };
  for (auto& [path, image] : Medium::instance().images) {
    std::string content = std::move(image.synced);
    for (const Medium::Change& change : image.unsynced) {
      if (change.truncates) {
        if (survives()) Medium::apply(content, change);
        continue;
      }
      for (std::size_t begin = 0; begin < change.bytes.size();) {
        const std::size_t at = change.offset + begin;
        const std::size_t size = std::min(change.bytes.size() - begin, kSector - at % kSector);
        if (survives()) Medium::apply(content, {at, change.bytes.substr(begin, size), false});
        begin += size;
      }
    }
    std::error_code absent;  // nothing to remove is as well
    std::filesystem::remove(path, absent);
    if (image.removed && survives()) continue;
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }
  std::error_code absent;
  std::filesystem::remove(prefix_ + "-shm", absent);
  Medium::instance().images.clear();
  lift();
  is_off_ = false;
}

}  // namespace nizhal::testing
