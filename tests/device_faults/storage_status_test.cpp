// A disk that fills, is read-only, fails or turns out damaged while a device is in the middle of syncing (S11): what
// the app calls fails by that name and changes nothing, the status says which it is and what to do, sync pauses, and
// when the disk is well again it goes on by itself, with nothing lost and nothing doubled.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <string>

#include "../../examples/notes/notes.hpp"
#include "sim/disk/disk.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing {
namespace {

using sim::Disk;
using sim::DiskCall;
using sim::DiskFault;

struct Trouble {
  const char* name;
  DiskFault fault;
  StoreStatus::Storage storage;
  const char* says;  // part of the reason and of what to do
};

class StorageTrouble : public ::testing::TestWithParam<Trouble> {};

TEST_P(StorageTrouble, PausesSyncWithAReasonAndSyncGoesOnByItselfAfterwards) {
  World world(21, notes::domain());
  Device& other = world.device("other", {"u2", "o1"});
  Disk disk(world.dir.file("device-phone.db"));  // before it is opened
  Device& device = world.device("phone", {"u1", "o1"});
  for (int i = 0; i < 5; ++i) ASSERT_EQ(device.mutate("addNote", fmt::format(R"({{"id":"n{}","body":"b"}})", i)), "");
  ASSERT_TRUE(world.settle());
  ASSERT_EQ(device.status().storage, StoreStatus::Storage::ok);

  ASSERT_EQ(device.mutate("editNote", R"({"id":"n0","body":"pending"})"), "");
  for (int i = 0; i < 30; ++i) ASSERT_EQ(other.mutate("addNote", fmt::format(R"({{"id":"o{}","body":"b"}})", i)), "");
  while (other.deliver()) {
  }
  disk.arm({.call = DiskCall::write, .fault = GetParam().fault, .persists = true});

  // The app writes, and sync goes on for a good while: nothing comes of either, and both say why.
  const auto before = device.rows("SELECT id, body FROM notes ORDER BY id");
  const std::string refused = device.mutate("addNote", R"({"id":"n9","body":"no room"})");
  EXPECT_NE(refused.find(GetParam().says), std::string::npos) << refused;
  for (int i = 0; i < 50; ++i) {
    while (device.deliver()) {
    }
    world.clock.advance(std::chrono::seconds(30));
    device.fire_due_timers();
  }
  EXPECT_GT(disk.struck(), 0U);
  const StoreStatus paused = device.status();
  EXPECT_EQ(paused.storage, GetParam().storage);
  EXPECT_NE(paused.storage_error.find(GetParam().says), std::string::npos) << paused.storage_error;
  EXPECT_EQ(paused.pending, 1U) << "what was acknowledged before is kept";
  EXPECT_FALSE(paused.syncing);
  EXPECT_EQ(device.rows("SELECT id, body FROM notes ORDER BY id"), before) << "nothing half written is shown";

  // The disk is well again; only time passes.
  disk.lift();
  for (int i = 0; i < 200 && (device.status().storage != StoreStatus::Storage::ok || device.status().pending > 0);
       ++i) {
    while (device.deliver()) {
    }
    world.clock.advance(std::chrono::seconds(10));
    device.fire_due_timers();
  }
  const StoreStatus well = device.status();
  EXPECT_EQ(well.storage, StoreStatus::Storage::ok);
  EXPECT_EQ(well.storage_error, "");
  EXPECT_EQ(well.pending, 0U);
  EXPECT_EQ(device.mutate("addNote", R"({"id":"n9","body":"there is room"})"), "");
  EXPECT_TRUE(world.settle());
  const auto rows = world.server_rows("SELECT id, body FROM notes ORDER BY id");
  EXPECT_EQ(rows.size(), 36U);
  EXPECT_EQ(device.rows("SELECT id, body FROM notes ORDER BY id"), rows);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, StorageTrouble,
    ::testing::Values(Trouble{"Full", DiskFault::disk_full, StoreStatus::Storage::full, "free some space"},
                      Trouble{"ReadOnly", DiskFault::read_only, StoreStatus::Storage::read_only, "writable"},
                      Trouble{"Failing", DiskFault::io_error, StoreStatus::Storage::failing, "disk"},
                      Trouble{"Damaged", DiskFault::damaged, StoreStatus::Storage::damaged, "backup"}),
    [](const auto& trouble) { return std::string(trouble.param.name); });

}  // namespace
}  // namespace nizhal::testing
