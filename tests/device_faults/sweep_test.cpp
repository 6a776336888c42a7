// Every call of a device to its disk fails once, and once from then on until the disk is well again: the n-th of each
// kind for n = 1, 2, 3 … over a whole life (S1, S11). After each failure the error has a name, the file is whole, what
// is shown is the base with the pending mutations on it, and the life goes on to its end: the device has what the
// server has, and what was acknowledged is there exactly once.
//
// NIZHAL_FAULTS=all fails every call; otherwise at most kSitesMax of each combination, evenly spread.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "base/test_temp_dir.hpp"
#include "sim/disk/disk.hpp"
#include "tests/device_faults/cycle.hpp"

namespace nizhal::testing {
namespace {

using sim::Disk;
using sim::DiskCall;
using sim::DiskFault;
using sim::kDiskCalls;

constexpr std::uint64_t kSitesMax = 30;

struct Combination {
  DiskCall call;
  DiskFault fault;
  bool persists;
};

constexpr Combination kCombinations[] = {
    {DiskCall::open, DiskFault::cannot_open, false},  {DiskCall::open, DiskFault::cannot_open, true},
    {DiskCall::read, DiskFault::io_error, false},     {DiskCall::read, DiskFault::io_error, true},
    {DiskCall::read, DiskFault::short_read, false},   {DiskCall::read, DiskFault::short_read, true},
    {DiskCall::write, DiskFault::io_error, false},    {DiskCall::write, DiskFault::io_error, true},
    {DiskCall::write, DiskFault::torn_write, false},  {DiskCall::write, DiskFault::torn_write, true},
    {DiskCall::write, DiskFault::disk_full, false},   {DiskCall::write, DiskFault::disk_full, true},
    {DiskCall::write, DiskFault::full_torn, false},   {DiskCall::write, DiskFault::full_torn, true},
    {DiskCall::sync, DiskFault::io_error, false},     {DiskCall::sync, DiskFault::io_error, true},
    {DiskCall::truncate, DiskFault::io_error, false}, {DiskCall::truncate, DiskFault::io_error, true},
    {DiskCall::remove, DiskFault::io_error, false},   {DiskCall::remove, DiskFault::io_error, true},
    {DiskCall::lock, DiskFault::io_error, false},     {DiskCall::lock, DiskFault::io_error, true},
    {DiskCall::shm_map, DiskFault::io_error, false},  {DiskCall::shm_map, DiskFault::io_error, true},
    {DiskCall::shm_lock, DiskFault::io_error, false}, {DiskCall::shm_lock, DiskFault::io_error, true},
};

bool is_named(DiskFault fault, ErrorCode code) {
  if (fault == DiskFault::disk_full || fault == DiskFault::full_torn) return code == ErrorCode::disk_full;
  return code == ErrorCode::io_error;
}

enum class Checked { no, after_each_step };

/// Calls of each kind in a life without faults.
std::map<DiskCall, std::uint64_t> count_calls(Durability durability, Checked checked) {
  const TempDir folder;
  Cycle cycle(folder.file("a.db"), durability);
  Disk disk(cycle.path());
  for (const Cycle::Step& step : cycle.steps()) {
    const auto done = step.run();
    EXPECT_TRUE(done) << step.name << ": " << done.error().message;
    if (checked == Checked::no) continue;
    EXPECT_EQ(cycle.check_file(), "") << "after " << step.name;
  }
  cycle.close();
  std::map<DiskCall, std::uint64_t> calls;
  for (std::size_t i = 0; i < kDiskCalls; ++i) calls[static_cast<DiskCall>(i)] = disk.calls(static_cast<DiskCall>(i));
  EXPECT_TRUE(cycle.open());
  EXPECT_EQ(cycle.check_settled(0), "");
  cycle.close();
  return calls;
}

/// One life in which the n-th call fails. Returns whether it came to that. `reopens`: the app gives up the handle and
/// opens the store again, instead of going on with it.
bool live(const Combination& with, std::uint64_t nth, bool reopens, Durability durability) {
  const TempDir folder;
  Cycle cycle(folder.file("a.db"), durability);
  Disk disk(cycle.path());
  disk.arm({.call = with.call, .fault = with.fault, .nth = nth, .persists = with.persists});
  const auto named = [&](const std::string& step, const Error& error) {
    EXPECT_TRUE(is_named(with.fault, error.code))
        << step << ": " << to_string(error.code) << ": " << error.message << " is no name for it";
    EXPECT_FALSE(error.message.empty());
  };

  std::size_t unknown = 0;
  bool is_over = false;  // the trouble
  for (const Cycle::Step& step : cycle.steps()) {
    if (!cycle.is_open() && step.name != "create") {
      EXPECT_TRUE(cycle.open()) << "before " << step.name;
    }
    auto done = step.run();
    if (!done && is_over) {
      ADD_FAILURE() << step.name << " fails though the disk is well again: " << done.error().message;
      break;
    }
    if (!done) {
      named(step.name, done.error());
      if (with.persists) {  // it still fails by its name, or needs the disk no more
        for (int tries = 0; tries < 2 && !done; ++tries) {
          if (!cycle.is_open() && step.name != "create") {
            if (auto opened = cycle.open(); !opened) {
              named("reopening", opened.error());
              continue;
            }
          }
          done = step.run();
          if (!done) named(step.name, done.error());
        }
      }
      if (reopens) {
        cycle.close();
        cycle.set_ended_in_step(true);
        ++unknown;
      }
      disk.lift();
      is_over = true;
    } else if (disk.struck() > 0 && !with.persists) {
      is_over = true;  // it was taken care of below
    }
    if (is_over) {
      const std::string wrong = cycle.check_file();
      EXPECT_EQ(wrong, "") << "after " << step.name;
      if (!wrong.empty()) break;
    }
    if (!done) {
      if (!cycle.is_open() && step.name != "create") {
        const auto opened = cycle.open();
        EXPECT_TRUE(opened) << opened.error().message;
        if (!opened) break;
      }
      const auto again = step.run();
      cycle.set_ended_in_step(false);
      EXPECT_TRUE(again) << step.name << " a second time: " << again.error().message;
      if (!again) break;
    }
  }
  disk.lift();
  const bool struck = disk.struck() > 0;
  if (!::testing::Test::HasFailure()) {
    const auto settled = cycle.settle();
    EXPECT_TRUE(settled) << settled.error().message;
    EXPECT_EQ(cycle.check_file(), "");
    EXPECT_EQ(cycle.check_settled(unknown), "");
  }
  cycle.close();
  return struck;
}

TEST(DeviceFaults, EveryCallThatFailsIsNamedAndLeavesAConsistentStore) {
  const char* wanted = std::getenv("NIZHAL_FAULTS");
  const bool all = wanted && std::string_view(wanted) == "all";
  const char* only = std::getenv("NIZHAL_FAULT_SITE");  // "3:17": combination 3 at its 17th call; "3:": all its calls
  std::map<std::string, std::uint64_t> failed;
  std::uint64_t total = 0;
  for (const Durability durability : {Durability::Process, Durability::Full}) {
    static_cast<void>(count_calls(durability, Checked::after_each_step));
    const auto calls = count_calls(durability, Checked::no);
    if (HasFailure()) return;
    for (std::size_t i = 0; i < std::size(kCombinations); ++i) {
      const Combination& with = kCombinations[i];
      // With FULL only the syncs differ, and what comes after them.
      if (durability == Durability::Full && with.call != DiskCall::sync && !all) continue;
      const std::uint64_t sites = calls.at(with.call);
      const bool replays = only && std::string_view(only).starts_with(fmt::format("{}:", i));
      if (only && !replays) continue;
      const bool every = all || replays;
      const std::uint64_t stride = every ? 1 : std::max<std::uint64_t>(1, (sites + kSitesMax - 1) / kSitesMax);
      std::uint64_t struck = 0, turn = i;
      for (std::uint64_t nth = 1 + i % stride; nth <= sites; nth += stride, ++turn) {
        const std::string site = fmt::format("{}:{}", i, nth);
        if (replays && site != only && !std::string_view(only).ends_with(':')) continue;
        bool has_struck = false;
        for (const bool reopens : {false, true}) {
          if (!every && reopens != (turn % 2 == 1)) continue;
          const std::string what =
              fmt::format("{} {} at call {} of {}, {}, {}", to_string(with.call), to_string(with.fault), nth, sites,
                          with.persists ? "lasting" : "once", reopens ? "reopened" : "going on");
          SCOPED_TRACE(what);
          has_struck |= live(with, nth, reopens, durability);
          if (HasFailure()) {
            std::cout << "failed: " << what << "; replay with NIZHAL_FAULT_SITE=" << site << "\n";
            return;
          }
        }
        struck += has_struck ? 1 : 0;
      }
      failed[to_string(with.call)] += struck;
      total += struck;
      if (all)  // it takes long: one that is stopped has told how far it came
        std::cout << (durability == Durability::Full ? "Full: " : "Process: ") << to_string(with.call) << " "
                  << to_string(with.fault) << (with.persists ? ", lasting: " : ", once: ") << struck << " sites"
                  << std::endl;
      EXPECT_TRUE(only || struck > 0) << to_string(with.call) << " " << to_string(with.fault) << " never came";
    }
    if (all) continue;
    std::cout << (durability == Durability::Full ? "Full" : "Process") << ": each kind at up to " << kSitesMax
              << " sites of:";
    for (const auto& [call, count] : calls) std::cout << " " << to_string(call) << " " << count;
    std::cout << " (NIZHAL_FAULTS=all for all)\n";
  }
  std::string kinds;
  for (const auto& [call, count] : failed) kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", call, count);
  std::cout << total << " call sites failed (" << kinds << "), each left a consistent store\n";
  EXPECT_GE(total, only ? 1U : 300U);
}

}  // namespace
}  // namespace nizhal::testing
