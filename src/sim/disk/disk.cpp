#include "sim/disk/disk.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "sim/disk/disk_state.hpp"

namespace nizhal::sim {

namespace {

constexpr std::size_t kSector = 512;

/// Whether the fault can befall the call, for a plan that names none.
bool can_befall(DiskFault fault, DiskCall call) {
  switch (fault) {
    case DiskFault::cannot_open:
      return call == DiskCall::open;
    case DiskFault::short_read:
      return call == DiskCall::read;
    case DiskFault::disk_full:
      return call == DiskCall::write || call == DiskCall::truncate;
    case DiskFault::torn_write:
    case DiskFault::full_torn:
    case DiskFault::read_only:
    case DiskFault::damaged:
    case DiskFault::power_off_torn:
    case DiskFault::crash_torn:
      return call == DiskCall::write;
    case DiskFault::lost_sync:
    case DiskFault::lost_sync_then_power_off:
      return call == DiskCall::sync;
    case DiskFault::none:
    case DiskFault::io_error:
    case DiskFault::power_off:
    case DiskFault::power_off_after:
    case DiskFault::crash:
    case DiskFault::crash_after:
      return true;
  }
  return true;
}

/// As SQLite names files, which follows links: the folder's own path and the rest as given.
std::string as_sqlite_names_it(const std::string& prefix) {
  const std::filesystem::path given(prefix);
  std::error_code unknown;  // what cannot be resolved is taken as it stands
  const std::filesystem::path folder =
      std::filesystem::weakly_canonical(given.has_parent_path() ? given.parent_path() : ".", unknown);
  return unknown ? prefix : (folder / given.filename()).string();
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
    case DiskFault::power_off_torn:
      return "power cut in a write";
    case DiskFault::power_off_after:
      return "power cut after";
    case DiskFault::crash:
      return "kill";
    case DiskFault::crash_torn:
      return "kill in a write";
    case DiskFault::crash_after:
      return "kill after";
  }
  return "";
}

void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

void MediumImage::apply(std::string& content, const Change& change) {
  if (change.truncates) {
    content.resize(change.offset);
    return;
  }
  if (content.size() < change.offset + change.bytes.size()) content.resize(change.offset + change.bytes.size());
  content.replace(change.offset, change.bytes.size(), change.bytes);
}

MediumImage* Disk::State::image(const std::string& path) {
  if (!keeps_medium) return nullptr;
  const auto found = images.find(path);
  return found == images.end() ? nullptr : &found->second;
}

DiskFault Disk::State::judge(DiskCall call, bool is_commit) {
  if (plan.call ? *plan.call != call : !can_befall(plan.fault, call)) return DiskFault::none;
  if (plan.commits_only && !is_commit) return DiskFault::none;
  ++seen;
  const bool is_hit = plan.one_in > 0 ? plan.draw(plan.one_in) == 0 : seen == plan.nth;
  if (!is_hit && !(plan.persists && (plan.one_in > 0 ? struck > 0 : seen > plan.nth))) return DiskFault::none;
  const DiskFault fault = plan.fault;
  if (++struck == 1 && plan.struck) {
    const auto told = plan.struck;  // it may arm another plan
    told();
  }
  switch (fault) {
    case DiskFault::lost_sync_then_power_off:
      plan.fault = DiskFault::power_off;
      plan.nth = seen + 1;
      return DiskFault::lost_sync;
    case DiskFault::power_off:
      switch_off();
      return DiskFault::io_error;
    case DiskFault::crash:
      die();
    default:
      return fault;
  }
}

void Disk::State::cut_power(Unsynced unsynced, const std::function<std::uint64_t(std::uint64_t)>& draw) {
  switch_off();
  const auto survives = [&] { return unsynced == Unsynced::kept || (unsynced == Unsynced::some && draw(2) == 1); };
  std::error_code absent;  // nothing to remove is as well
  for (auto& [path, image] : images) {
    std::string content = std::move(image.synced);
    for (const MediumImage::Change& change : image.unsynced) {
      if (change.truncates) {
        if (survives()) MediumImage::apply(content, change);
        continue;
      }
      for (std::size_t begin = 0; begin < change.bytes.size();) {
        const std::size_t at = change.offset + begin;
        const std::size_t size = std::min(change.bytes.size() - begin, kSector - at % kSector);
        if (survives()) MediumImage::apply(content, {at, change.bytes.substr(begin, size), false});
        begin += size;
      }
    }
    std::filesystem::remove(path, absent);
    std::filesystem::remove(path + "-shm", absent);
    if (image.removed && survives()) continue;
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }
  images.clear();
  is_armed = is_off = false;
}

Disk::Disk(const std::string& prefix) : state_(std::make_shared<State>()) {
  state_->prefix = as_sqlite_names_it(prefix);
  install_vfs();
  watch(state_);
}

Disk::~Disk() {
  lift();
  keep_medium(false);
  forget(state_);
}

void Disk::arm(DiskPlan plan) {
  state_->plan = std::move(plan);
  state_->is_armed = true;
  state_->seen = state_->struck = 0;
}

void Disk::lift() { state_->is_armed = state_->is_off = false; }

std::uint64_t Disk::struck() const { return state_->struck; }

std::uint64_t Disk::calls(DiskCall call) const { return state_->calls[static_cast<std::size_t>(call)]; }

std::uint64_t Disk::commits() const { return state_->commits; }

void Disk::switch_off() { state_->switch_off(); }

bool Disk::is_off() const { return state_->is_off; }

void Disk::keep_medium(bool keep) {
  state_->keeps_medium = keep;
  state_->images.clear();
}

void Disk::cut_power(Unsynced unsynced, const std::function<std::uint64_t(std::uint64_t)>& draw) {
  state_->cut_power(unsynced, draw);
}

}  // namespace nizhal::sim
