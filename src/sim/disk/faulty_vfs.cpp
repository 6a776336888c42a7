// The VFS: SQLite's calls on the files of disks, and what it asks for besides files.
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/disk/disk_state.hpp"
#include "sim/disk/sqlite_outside.hpp"

namespace nizhal::sim {

namespace {

/// Bytes of the header before each page in the write-ahead log. Its second word is not zero where a commit ends.
constexpr int kFrameHeader = 24;
/// The Julian day number of 1970-01-01, in milliseconds.
constexpr sqlite3_int64 kUnixEpochMs = 210'866'760'000'000;

sqlite3_vfs* g_real = nullptr;
thread_local const SqliteOutside* t_outside = nullptr;

struct Disks {
  std::mutex mutex;
  std::vector<std::shared_ptr<Disk::State>> all;
};
Disks& disks() {
  static Disks watched;
  return watched;
}

/// The disk of a file; null: of none.
std::shared_ptr<Disk::State> disk_of(const char* name) {
  if (!name) return nullptr;
  const std::string_view path(name);
  const std::lock_guard lock(disks().mutex);
  std::shared_ptr<Disk::State> found;
  for (const auto& disk : disks().all) {
    if (path.starts_with(disk->prefix) && (!found || disk->prefix.size() > found->prefix.size())) found = disk;
  }
  return found;
}

struct OpenFile {
  std::shared_ptr<Disk::State> disk;
  std::string path;
  std::uint64_t life = 0;     // of the disk, in which it was opened
  bool ends_commit = false;   // the header of a commit's last frame was written, its page comes next
  bool syncs_folder = false;  // a new journal or log: SQLite's first sync of it syncs the folder too
  bool is_dead() const { return life != disk->lives; }
};

/// What SQLite gives the room for. Followed in memory by the real VFS's own file.
struct File {
  sqlite3_file base;
  OpenFile* open;
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

/// The call is not done.
bool prevents(DiskFault fault) {
  return fault != DiskFault::none && fault != DiskFault::crash_after && fault != DiskFault::power_off_after;
}

/// The call is done and gave `code`.
int after(Disk::State& disk, DiskCall call, DiskFault fault, int code) {
  if (fault == DiskFault::crash_after) die();
  if (fault != DiskFault::power_off_after) return code;
  disk.switch_off();
  return error_of(call);
}

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  return std::move(content).str();
}

int write_through(File& file, const void* data, int amount, sqlite3_int64 offset) {
  const int code = file.real()->pMethods->xWrite(file.real(), data, amount, offset);
  if (MediumImage* kept = code == SQLITE_OK ? file.open->disk->image(file.open->path) : nullptr)
    kept->unsynced.push_back({static_cast<std::size_t>(offset),
                              std::string(static_cast<const char*>(data), static_cast<std::size_t>(amount)), false});
  return code;
}

/// The functions that SQLite calls on a file.
struct Calls {
  static int close(sqlite3_file* opened) {
    File& file = file_of(opened);
    delete file.open;
    return file.real()->pMethods->xClose(file.real());
  }

  static int read(sqlite3_file* opened, void* out, int amount, sqlite3_int64 offset) {
    File& file = file_of(opened);
    if (file.open->is_dead()) return error_of(DiskCall::read);
    Disk::State& disk = *file.open->disk;
    const DiskFault fault = disk.next(DiskCall::read);
    if (fault == DiskFault::short_read) {
      const int code = file.real()->pMethods->xRead(file.real(), out, amount / 2, offset);
      return code == SQLITE_OK ? SQLITE_IOERR_READ : code;
    }
    if (prevents(fault)) return error_of(DiskCall::read);
    return after(disk, DiskCall::read, fault, file.real()->pMethods->xRead(file.real(), out, amount, offset));
  }

  static int write(sqlite3_file* opened, const void* data, int amount, sqlite3_int64 offset) {
    File& file = file_of(opened);
    if (file.open->is_dead()) return error_of(DiskCall::write);
    Disk::State& disk = *file.open->disk;
    const bool is_commit = std::exchange(file.open->ends_commit, false);
    if (amount == kFrameHeader && file.open->path.ends_with("-wal")) {
      const auto* header = static_cast<const unsigned char*>(data);
      file.open->ends_commit = (header[4] | header[5] | header[6] | header[7]) != 0;
    }
    const DiskFault fault = disk.next(DiskCall::write, is_commit);
    if (fault == DiskFault::torn_write || fault == DiskFault::full_torn || fault == DiskFault::crash_torn ||
        fault == DiskFault::power_off_torn) {
      const int code = write_through(file, data, amount / 2, offset);
      if (fault == DiskFault::crash_torn) die();
      if (fault == DiskFault::power_off_torn) disk.switch_off();
      if (code != SQLITE_OK) return code;
    }
    if (fault == DiskFault::disk_full || fault == DiskFault::full_torn) return SQLITE_FULL;
    if (fault == DiskFault::read_only) return SQLITE_READONLY;
    if (fault == DiskFault::damaged) return SQLITE_CORRUPT;
    if (prevents(fault)) return error_of(DiskCall::write);
    return after(disk, DiskCall::write, fault, write_through(file, data, amount, offset));
  }

  static int truncate(sqlite3_file* opened, sqlite3_int64 size) {
    File& file = file_of(opened);
    if (file.open->is_dead()) return error_of(DiskCall::truncate);
    Disk::State& disk = *file.open->disk;
    const DiskFault fault = disk.next(DiskCall::truncate);
    if (fault == DiskFault::disk_full) return SQLITE_FULL;
    if (prevents(fault)) return error_of(DiskCall::truncate);
    const int code = file.real()->pMethods->xTruncate(file.real(), size);
    if (MediumImage* kept = code == SQLITE_OK ? disk.image(file.open->path) : nullptr)
      kept->unsynced.push_back({static_cast<std::size_t>(size), {}, true});
    return after(disk, DiskCall::truncate, fault, code);
  }

  /// The operating system's sync is left out: what reaches the medium is decided here.
  static int sync(sqlite3_file* opened, int) {
    File& file = file_of(opened);
    if (file.open->is_dead()) return error_of(DiskCall::sync);
    Disk::State& disk = *file.open->disk;
    const DiskFault fault = disk.next(DiskCall::sync);
    if (fault == DiskFault::lost_sync) return SQLITE_OK;
    if (prevents(fault)) return error_of(DiskCall::sync);
    if (MediumImage* kept = disk.image(file.open->path)) {
      if (std::exchange(file.open->syncs_folder, false))
        std::erase_if(disk.images, [](const auto& one) { return one.second.removed; });
      for (const MediumImage::Change& change : kept->unsynced) MediumImage::apply(kept->synced, change);
      kept->unsynced.clear();
    }
    return after(disk, DiskCall::sync, fault, SQLITE_OK);
  }

  static int file_size(sqlite3_file* opened, sqlite3_int64* size) {
    File& file = file_of(opened);
    if (file.open->is_dead()) return SQLITE_IOERR_FSTAT;
    return file.real()->pMethods->xFileSize(file.real(), size);
  }

  static int lock(sqlite3_file* opened, int level) {
    File& file = file_of(opened);
    if (file.open->is_dead()) return error_of(DiskCall::lock);
    const DiskFault fault = file.open->disk->next(DiskCall::lock);
    if (prevents(fault)) return error_of(DiskCall::lock);
    return after(*file.open->disk, DiskCall::lock, fault, file.real()->pMethods->xLock(file.real(), level));
  }
  /// Of a dead handle as well: the locks of a process that ended are gone.
  static int unlock(sqlite3_file* opened, int level) {
    sqlite3_file* real = file_of(opened).real();
    return real->pMethods->xUnlock(real, level);
  }
  static int check_reserved(sqlite3_file* opened, int* result) {
    File& file = file_of(opened);
    if (file.open->is_dead()) return SQLITE_IOERR_CHECKRESERVEDLOCK;
    return file.real()->pMethods->xCheckReservedLock(file.real(), result);
  }
  static int file_control(sqlite3_file* opened, int operation, void* argument) {
    File& file = file_of(opened);
    if (file.open->is_dead()) return SQLITE_NOTFOUND;  // some of them change the file
    return file.real()->pMethods->xFileControl(file.real(), operation, argument);
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
    File& file = file_of(opened);
    if (file.open->is_dead()) return error_of(DiskCall::shm_map);
    const DiskFault fault = file.open->disk->next(DiskCall::shm_map);
    if (prevents(fault)) return error_of(DiskCall::shm_map);
    const int code = file.real()->pMethods->xShmMap(file.real(), page, size, extend, out);
    return after(*file.open->disk, DiskCall::shm_map, fault, code);
  }
  static int shm_lock(sqlite3_file* opened, int offset, int count, int flags) {
    File& file = file_of(opened);
    DiskFault fault = DiskFault::none;
    if (flags & SQLITE_SHM_LOCK) {
      if (file.open->is_dead()) return error_of(DiskCall::shm_lock);
      fault = file.open->disk->next(DiskCall::shm_lock);
      if (prevents(fault)) return error_of(DiskCall::shm_lock);
    }
    const int code = file.real()->pMethods->xShmLock(file.real(), offset, count, flags);
    return after(*file.open->disk, DiskCall::shm_lock, fault, code);
  }
  static void shm_barrier(sqlite3_file* opened) {
    sqlite3_file* real = file_of(opened).real();
    real->pMethods->xShmBarrier(real);
  }
  static int shm_unmap(sqlite3_file* opened, int removes) {
    File& file = file_of(opened);
    return file.real()->pMethods->xShmUnmap(file.real(), file.open->is_dead() ? 0 : removes);
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

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* out, int flags, int* flags_out) {
  const std::shared_ptr<Disk::State> disk = disk_of(name);
  if (!disk) return g_real->xOpen(g_real, name, out, flags, flags_out);
  out->pMethods = nullptr;
  if (disk->is_off) return error_of(DiskCall::open);
  const DiskFault fault = disk->next(DiskCall::open);
  if (prevents(fault)) return error_of(DiskCall::open);
  File& file = *new (out) File{};
  std::error_code unknown;  // then it is taken for a new one
  const bool existed = disk->keeps_medium && std::filesystem::exists(name, unknown);
  const int code = g_real->xOpen(g_real, name, file.real(), flags, flags_out);
  if (code != SQLITE_OK) return after(*disk, DiskCall::open, fault, code);
  file.open = new OpenFile{disk, name, disk->lives};
  file.base.pMethods = &Calls::methods();
  file.open->syncs_folder = !existed && !file.open->path.ends_with(".db");
  if (disk->keeps_medium && (!existed || !disk->image(name)))
    disk->images[name] = {existed ? read_all(name) : std::string(), {}, false};
  if (after(*disk, DiskCall::open, fault, SQLITE_OK) == SQLITE_OK) return SQLITE_OK;
  Calls::close(out);
  out->pMethods = nullptr;
  return error_of(DiskCall::open);
}

int remove_file(sqlite3_vfs*, const char* name, int syncs_folder) {
  const std::shared_ptr<Disk::State> disk = disk_of(name);
  if (!disk) return g_real->xDelete(g_real, name, syncs_folder);
  if (disk->is_off) return error_of(DiskCall::remove);
  const DiskFault fault = disk->next(DiskCall::remove);
  if (prevents(fault)) return error_of(DiskCall::remove);
  const int code = g_real->xDelete(g_real, name, 0);
  if (MediumImage* kept = code == SQLITE_OK ? disk->image(name) : nullptr) {
    if (syncs_folder) {
      disk->images.erase(name);
    } else {
      kept->removed = true;
    }
  }
  return after(*disk, DiskCall::remove, fault, code);
}

int look_at_file(sqlite3_vfs*, const char* name, int flags, int* result) {
  const std::shared_ptr<Disk::State> disk = disk_of(name);
  if (disk && disk->is_off) return SQLITE_IOERR_ACCESS;
  return g_real->xAccess(g_real, name, flags, result);
}

int current_time_ms(sqlite3_vfs*, sqlite3_int64* out) {
  if (!t_outside) return g_real->xCurrentTimeInt64(g_real, out);
  *out = kUnixEpochMs + t_outside->now().microseconds / 1'000;
  return SQLITE_OK;
}

int current_time(sqlite3_vfs* vfs, double* out) {
  sqlite3_int64 now_ms = 0;
  const int code = current_time_ms(vfs, &now_ms);
  *out = static_cast<double>(now_ms) / 86'400'000.0;
  return code;
}

int random_bytes(sqlite3_vfs*, int amount, char* out) {
  if (!t_outside) return g_real->xRandomness(g_real, amount, out);
  t_outside->random().fill({reinterpret_cast<std::uint8_t*>(out), static_cast<std::size_t>(amount)});
  return amount;
}

int sleep_for(sqlite3_vfs*, int microseconds) {
  return t_outside ? microseconds : g_real->xSleep(g_real, microseconds);
}

}  // namespace

void install_vfs() {
  static const bool kRegistered = [] {
    g_real = sqlite3_vfs_find(nullptr);
    static sqlite3_vfs shim = *g_real;
    shim.zName = "nizhal-faulty";
    shim.pNext = nullptr;
    shim.szOsFile = static_cast<int>(sizeof(File)) + g_real->szOsFile;
    shim.xOpen = open_file;
    shim.xDelete = remove_file;
    shim.xAccess = look_at_file;
    shim.xCurrentTimeInt64 = current_time_ms;
    shim.xCurrentTime = current_time;
    shim.xRandomness = random_bytes;
    shim.xSleep = sleep_for;
    return sqlite3_vfs_register(&shim, 1) == SQLITE_OK;
  }();
  static_cast<void>(kRegistered);
}

void watch(const std::shared_ptr<Disk::State>& disk) {
  const std::lock_guard lock(disks().mutex);
  disks().all.push_back(disk);
}

void forget(const std::shared_ptr<Disk::State>& disk) {
  const std::lock_guard lock(disks().mutex);
  std::erase(disks().all, disk);
}

SqliteOutside::SqliteOutside(std::function<Timestamp()> now, Random& random, const std::string& folder)
    : now_(std::move(now)), random_(random) {
  install_vfs();
  t_outside = this;
  sqlite3_temp_directory = sqlite3_mprintf("%s", folder.c_str());
  sqlite3_randomness(0, nullptr);  // SQLite's generator is seeded anew at the next draw
}

SqliteOutside::~SqliteOutside() {
  t_outside = nullptr;
  sqlite3_free(std::exchange(sqlite3_temp_directory, nullptr));
  sqlite3_randomness(0, nullptr);
}

}  // namespace nizhal::sim
