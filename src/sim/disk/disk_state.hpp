// What the VFS knows of a disk: the plan, the counts, and what has reached the medium. Shared by the disk and the
// handles on its files, which may outlive it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/disk/disk.hpp"

namespace nizhal::sim {

/// What a file is on the medium, and what was written to it since its last sync.
struct MediumImage {
  struct Change {
    std::size_t offset = 0;
    std::string bytes;
    bool truncates = false;  // to `offset`
  };
  std::string synced;
  std::vector<Change> unsynced;
  bool removed = false;  // the folder was not synced since

  static void apply(std::string& content, const Change& change);
};

struct Disk::State {
  std::string prefix;
  DiskPlan plan;
  bool is_armed = false, is_off = false, keeps_medium = false;
  std::uint64_t lives = 0;  // a handle of an earlier one is dead
  std::uint64_t seen = 0, struck = 0, commits = 0;
  std::array<std::uint64_t, kDiskCalls> calls{};
  std::map<std::string, MediumImage> images;  // by path

  /// What is to happen to this call. `is_commit`: a write that ends a commit.
  DiskFault next(DiskCall call, bool is_commit = false) {
    ++calls[static_cast<std::size_t>(call)];
    if (is_commit) ++commits;
    return is_armed ? judge(call, is_commit) : DiskFault::none;
  }
  void switch_off() {
    is_off = true;
    ++lives;
  }
  /// Null where no account is kept.
  MediumImage* image(const std::string& path);
  void cut_power(Unsynced unsynced, const std::function<std::uint64_t(std::uint64_t)>& draw);

 private:
  DiskFault judge(DiskCall call, bool is_commit);
};

/// The process ends here.
[[noreturn]] void die();

// Of the VFS.
void install_vfs();
void watch(const std::shared_ptr<Disk::State>& disk);
void forget(const std::shared_ptr<Disk::State>& disk);

}  // namespace nizhal::sim
