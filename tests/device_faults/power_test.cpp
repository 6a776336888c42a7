// The power goes at every call that changes the disk, and of what was not synced nothing, everything or any part is
// left (S2). The file is whole afterwards and is what it was after some commit; with Durability::Full it holds
// everything that was acknowledged. A disk that reports a sync which it did not do costs what was acknowledged since
// the last real one, and no more.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <set>
#include <string>
#include <string_view>

#include "base/test_temp_dir.hpp"
#include "sim/disk/disk.hpp"
#include "sqlite/connection.hpp"
#include "tests/device_faults/cycle.hpp"

namespace nizhal::testing {
namespace {

using sim::Disk;
using sim::DiskCall;
using sim::DiskFault;
using sim::kDiskCalls;

constexpr std::uint64_t kSitesMax = 60;

struct Life {
  std::set<std::string> contents;  // after every commit
  std::map<DiskCall, std::uint64_t> calls;
};

/// A life without faults: the states that a cut may leave.
Life live_through(Durability durability) {
  Life life;
  for (const bool looks : {true, false}) {  // looking makes calls of its own
    const TempDir folder;
    Cycle cycle(folder.file("a.db"), durability);
    Disk disk(cycle.path());
    if (looks) cycle.on_commit([&] { life.contents.insert(cycle.content()); });
    for (const Cycle::Step& step : cycle.steps()) {
      const auto done = step.run();
      EXPECT_TRUE(done) << step.name << ": " << done.error().message;
    }
    cycle.close();
    if (looks) life.contents.insert(cycle.content());
    for (std::size_t i = 0; i < kDiskCalls; ++i)
      life.calls[static_cast<DiskCall>(i)] = disk.calls(static_cast<DiskCall>(i));
  }
  life.contents.insert("");
  return life;
}

/// The power goes at the n-th call. Returns whether it came to that.
bool cut(const Life& life, DiskCall call, DiskFault fault, std::uint64_t nth, Disk::Unsynced unsynced,
         Durability durability) {
  const TempDir folder;
  SeededRandom random(nth);
  Cycle cycle(folder.file("a.db"), durability);
  Disk disk(cycle.path());
  disk.keep_medium(true);
  std::size_t acknowledged = 0;
  disk.arm({.call = call, .fault = fault, .nth = nth, .struck = [&] { acknowledged = cycle.acknowledged().size(); }});
  for (const Cycle::Step& step : cycle.steps()) {
    if (!step.run()) break;
  }
  const bool struck = disk.struck() > 0;
  if (fault == DiskFault::power_off) acknowledged = cycle.acknowledged().size();
  disk.switch_off();
  cycle.close();
  disk.cut_power(unsynced, [&](std::uint64_t bound) { return random.below(bound); });
  disk.keep_medium(false);

  // Looked at in a copy, so that the store itself is the first to recover the file.
  const TempDir aside;
  for (const char* suffix : {"", "-wal", "-journal"}) {
    if (std::filesystem::exists(cycle.path() + suffix))
      std::filesystem::copy(cycle.path() + suffix, aside.file("copy") + suffix);
  }
  if (std::filesystem::exists(aside.file("copy"))) {
    const auto recovered = sqlite::Connection::open(aside.file("copy"), {.create = false});
    EXPECT_TRUE(recovered) << recovered.error().message;
  }
  EXPECT_EQ(Cycle::check_file(aside.file("copy")), "");
  const std::string content = Cycle::content(aside.file("copy"));
  EXPECT_TRUE(content.empty() || life.contents.contains(content)) << "this is what no commit had left";
  const auto opened = cycle.open();
  EXPECT_TRUE(opened) << opened.error().message;
  if (opened) {
    if (durability == Durability::Full && struck) {
      const std::set<std::string> known = cycle.known();
      for (std::size_t i = 0; i < acknowledged; ++i)
        EXPECT_TRUE(known.contains(cycle.acknowledged()[i])) << "mutation " << i + 1 << " was acknowledged and is lost";
    }
    // It goes on: what was lost is lost whole, and what the server has of it comes back.
    cycle.forget_lost();
    const auto added = cycle.add_another();
    EXPECT_TRUE(added) << added.error().message;
    const auto settled = cycle.settle();
    EXPECT_TRUE(settled) << settled.error().message;
    EXPECT_EQ(cycle.check_file(), "");
    EXPECT_EQ(cycle.check_settled(1), "");
  }
  cycle.close();
  return struck;
}

std::uint64_t cut_everywhere(Durability durability) {
  const char* wanted = std::getenv("NIZHAL_FAULTS");
  const bool all = wanted && std::string_view(wanted) == "all";
  const Life life = live_through(durability);
  std::uint64_t cuts = 0, turn = 0;
  constexpr std::pair<DiskCall, DiskFault> kCuts[] = {
      {DiskCall::write, DiskFault::power_off},
      {DiskCall::sync, DiskFault::power_off},
      {DiskCall::truncate, DiskFault::power_off},
      {DiskCall::remove, DiskFault::power_off},
      {DiskCall::sync, DiskFault::lost_sync_then_power_off},
  };
  constexpr Disk::Unsynced kUnsynced[] = {Disk::Unsynced::lost, Disk::Unsynced::some, Disk::Unsynced::kept};
  std::string kinds;
  for (const auto& [call, fault] : kCuts) {
    const std::uint64_t sites = life.calls.at(call);
    const std::uint64_t stride = all ? 1 : std::max<std::uint64_t>(1, (sites + kSitesMax - 1) / kSitesMax);
    std::uint64_t struck = 0;
    for (std::uint64_t nth = 1; nth <= sites; nth += stride) {
      for (const Disk::Unsynced unsynced : kUnsynced) {
        // A disk that lies keeps nothing; and one of the three is enough for each site, unless all are asked for.
        const bool lies = fault != DiskFault::power_off;
        if (lies ? unsynced != Disk::Unsynced::lost : !all && unsynced != kUnsynced[turn % 3]) continue;
        SCOPED_TRACE(fmt::format("{} at {} {} of {}, unsynced {}", to_string(fault), to_string(call), nth, sites,
                                 static_cast<int>(unsynced)));
        struck += cut(life, call, fault, nth, unsynced, durability) ? 1 : 0;
        if (::testing::Test::HasFailure()) return cuts;
      }
      ++turn;
    }
    EXPECT_GT(struck, 0U) << to_string(call);
    kinds +=
        fmt::format("{}{} at {} {} of {}", kinds.empty() ? "" : ", ", to_string(fault), to_string(call), struck, sites);
    cuts += struck;
  }
  std::cout << cuts << " power cuts (" << kinds << "), each left a whole file and one that a commit had left\n";
  return cuts;
}

TEST(PowerCut, WithDurabilityFullNothingAcknowledgedIsLost) { EXPECT_GE(cut_everywhere(Durability::Full), 100U); }

TEST(PowerCut, WithDurabilityProcessTheFileIsWholeAndWhatItHoldsIsAPrefix) {
  EXPECT_GE(cut_everywhere(Durability::Process), 50U);
}

}  // namespace
}  // namespace nizhal::testing
