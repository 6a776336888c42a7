#include "net/file_locks.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>

#include <fmt/format.h>

namespace nizhal::net {
namespace {

constexpr long kRoleByte = 0;
constexpr long kOpenByte = 1;
/// How long an opening waits for another handle that is replacing the file: longer than moving some files takes.
constexpr std::chrono::milliseconds kEnterWait{5'000};
constexpr std::chrono::milliseconds kEnterRetry{10};

/// Two names of one store (a symbolic link, "./") must lead to one lock file; SQLite resolves them too.
std::string resolved(const std::string& store) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::weakly_canonical(store, error);
  return error ? store : path.string();
}

}  // namespace

FileLocks::FileLocks(const std::string& store) : store_(resolved(store)), path_(store_ + "-sync") {}

FileLocks::~FileLocks() {
  if (file_ >= 0) ::close(file_);
}

Error FileLocks::error_of(const char* doing, int code) const {
  const std::string reason = std::generic_category().message(code);
  if (code == EACCES || code == EPERM || code == EROFS)
    return Error{ErrorCode::read_only,
                 fmt::format("{} cannot be {}: {}. The store works here, but does not sync: that needs a folder in "
                             "which this file can be made and written",
                             path_, doing, reason)};
  return Error{ErrorCode::io_error,
               fmt::format("{} cannot be {}: {}. The store works here, but does not sync: put it on a local disk, "
                           "where files can be locked",
                           path_, doing, reason)};
}

Result<void> FileLocks::open() {
  if (file_ >= 0) return {};
  // A link in its place would lead the lock elsewhere.
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file_ < 0) return tl::unexpected(error_of("opened", errno));
  // Whoever may write the store may sync it, as with the files that SQLite keeps beside it.
  struct stat of_store {};
  struct stat own {};
  if (::stat(store_.c_str(), &of_store) == 0 && ::fstat(file_, &own) == 0 && own.st_uid == ::geteuid() &&
      (own.st_mode & 0666) != (of_store.st_mode & 0666) && ::fchmod(file_, of_store.st_mode & 0666) != 0) {
    const int code = errno;
    ::close(file_);
    file_ = -1;
    return tl::unexpected(error_of("given the store's permissions", code));
  }
  return {};
}

Result<bool> FileLocks::lock(long byte, Kind kind) {
  struct flock wanted {};
  wanted.l_type = kind == Kind::shared ? F_RDLCK : kind == Kind::exclusive ? F_WRLCK : F_UNLCK;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = byte;
  wanted.l_len = 1;
  while (::fcntl(file_, F_OFD_SETLK, &wanted) != 0) {
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) return tl::unexpected(error_of("locked", errno));
  }
  return true;
}

Result<void> FileLocks::enter() {
  if (auto opened = open(); !opened) return opened;
  const auto deadline = std::chrono::steady_clock::now() + kEnterWait;
  while (true) {
    auto locked = lock(kOpenByte, Kind::shared);
    if (!locked) return tl::unexpected(locked.error());
    if (*locked) return {};
    if (std::chrono::steady_clock::now() >= deadline)
      return failure(ErrorCode::busy,
                     fmt::format("{} is being replaced by another process; open it again when that is done", store_));
    std::this_thread::sleep_for(kEnterRetry);
  }
}

Result<bool> FileLocks::try_alone() {
  if (auto opened = open(); !opened) return tl::unexpected(opened.error());
  return lock(kOpenByte, Kind::exclusive);
}

bool FileLocks::has_others() {
  if (file_ < 0) return false;
  struct flock asked {};
  asked.l_type = F_WRLCK;
  asked.l_whence = SEEK_SET;
  asked.l_start = kOpenByte;
  asked.l_len = 1;
  return ::fcntl(file_, F_OFD_GETLK, &asked) == 0 && asked.l_type != F_UNLCK;
}

Result<bool> FileLocks::try_take_role() {
  if (auto opened = open(); !opened) return tl::unexpected(opened.error());
  return lock(kRoleByte, Kind::exclusive);
}

void FileLocks::give_up_role() {
  if (file_ < 0) return;
  // Unlocking what this description has locked cannot fail; if it did, the end of the handle frees it.
  (void)lock(kRoleByte, Kind::none);
}

}  // namespace nizhal::net
