// StoreLocks by byte locks of the operating system on a file of their own, `<store>-sync`, beside the store.
//
// Layout: byte 0 is locked by the handle that syncs; byte 1 is shared by all that have the store open, or locked by the
// one that replaces it. The file has no content. The locks belong to the open file description, so that two handles in
// one process exclude each other as two processes do, and the kernel releases them when the last descriptor is closed.
//
// The fact that must not break: the file is never deleted or replaced. Two handles that lock two files of one name
// would both sync.
#pragma once

#include <string>

#include "client/store_locks.hpp"

namespace nizhal::net {

/// `store` is the path of the store's file, which need not exist yet. Nothing is opened before the first call.
class FileLocks : public client::StoreLocks {
 public:
  explicit FileLocks(const std::string& store);
  ~FileLocks() override;
  FileLocks(const FileLocks&) = delete;
  FileLocks& operator=(const FileLocks&) = delete;

  Result<void> enter() override;
  Result<bool> try_alone() override;
  bool has_others() override;
  Result<bool> try_take_role() override;
  void give_up_role() override;

  const std::string& path() const { return path_; }

 private:
  enum class Kind { shared, exclusive, none };
  Result<void> open();
  Result<bool> lock(long byte, Kind kind);
  Error error_of(const char* doing, int code) const;

  std::string store_;
  std::string path_;
  int file_ = -1;
};

}  // namespace nizhal::net
