// Disks that fail, are switched off or lose their power, under real SQLite connections.
#include "sim/disk/disk.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "sim/disk/simulation_folder.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::sim {
namespace {

using sqlite::Connection;

SimulationFolder make_folder() {
  auto made = SimulationFolder::make();
  EXPECT_TRUE(made) << made.error().message;
  return std::move(*made);
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Rows of the table `t`, or why there is no such number.
std::string rows_in(const std::string& path) {
  auto connection = Connection::open(path, {});
  if (!connection) return connection.error().message;
  const auto whole = (*connection)->query_text("PRAGMA integrity_check");
  if (!whole) return whole.error().message;
  if (*whole != "ok") return **whole;
  const auto has_table = (*connection)->query_integer("SELECT count(*) FROM sqlite_schema WHERE name = 't'");
  if (!has_table || *has_table == 0) return "no table";
  const auto rows = (*connection)->query_integer("SELECT count(*) FROM t");
  return rows && *rows ? std::to_string(**rows) : rows.error().message;
}

std::unique_ptr<Connection> open(const std::string& path, bool full_sync = false) {
  auto connection = Connection::open(path, {.full_sync = full_sync});
  EXPECT_TRUE(connection) << connection.error().message;
  return connection ? std::move(*connection) : nullptr;
}

struct Disks : ::testing::Test {
  SimulationFolder folder = make_folder();
};

TEST_F(Disks, FailIndependentlyOfEachOtherAndCountTheirOwnCalls) {
  // One prefix begins with the other: the longer one counts.
  Disk device(folder.file("device"));
  Disk other(folder.file("device-2"));
  const auto first = open(folder.file("device-1.db"));
  const auto second = open(folder.file("device-2.db"));
  const auto third = open(folder.file("server.db"));
  for (Connection* one : {first.get(), second.get(), third.get()}) ASSERT_TRUE(one->execute("CREATE TABLE t (a)"));
  const std::uint64_t before = other.commits();
  ASSERT_TRUE(first->execute("INSERT INTO t VALUES (1)"));
  EXPECT_EQ(other.commits(), before);
  device.arm({.call = DiskCall::write, .fault = DiskFault::disk_full, .persists = true});
  other.arm({.call = DiskCall::write, .fault = DiskFault::io_error, .nth = 2});
  const auto full = first->execute("INSERT INTO t VALUES (2)");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::disk_full);
  const auto failed = second->execute("INSERT INTO t VALUES (2)");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::io_error);
  EXPECT_TRUE(second->execute("INSERT INTO t VALUES (3)")) << "only the second write was to fail";
  EXPECT_TRUE(third->execute("INSERT INTO t VALUES (2)")) << "its file is on no disk";
  EXPECT_FALSE(first->execute("INSERT INTO t VALUES (4)")) << "it lasts";
  EXPECT_TRUE(first->query_integer("SELECT count(*) FROM t")) << "a full disk can be read";
  device.lift();
  EXPECT_TRUE(first->execute("INSERT INTO t VALUES (4)"));
  EXPECT_EQ(device.struck(), 2U);
  EXPECT_EQ(other.struck(), 1U);
}

TEST_F(Disks, FailAtADrawnRate) {
  SeededRandom random(test_seed());
  Disk disk(folder.file("a.db"));
  const auto connection = open(folder.file("a.db"));
  ASSERT_TRUE(connection->execute("CREATE TABLE t (a)"));
  std::uint64_t draws = 0;
  disk.arm({.call = DiskCall::write, .fault = DiskFault::io_error, .one_in = 4, .draw = [&](std::uint64_t bound) {
              return ++draws, random.below(bound);
            }});
  std::uint64_t refused = 0;
  for (int i = 0; i < 200; ++i) refused += connection->execute("INSERT INTO t VALUES (1)") ? 0U : 1U;
  EXPECT_GT(refused, 0U);
  EXPECT_LT(refused, 200U);
  EXPECT_GE(disk.struck(), refused);
  EXPECT_GT(draws, disk.struck());
}

/// The table and two rows in one transaction. How far it came: 0, 1 (the table is acknowledged), 2 (the rows too).
int write_script(const std::string& path, bool full_sync = false) {
  auto opened = Connection::open(path, {.full_sync = full_sync});
  if (!opened) return 0;
  Connection& connection = **opened;
  if (!connection.execute("CREATE TABLE IF NOT EXISTS t (a)")) return 0;
  if (!connection.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); COMMIT")) return 1;
  return 2;
}

TEST_F(Disks, AProcessThatIsKilledAtAnyCallLeavesAllOrNothing) {
  std::uint64_t kills = 0;
  for (const DiskFault fault : {DiskFault::power_off, DiskFault::power_off_torn, DiskFault::power_off_after}) {
    bool struck = true;
    for (std::uint64_t nth = 1; struck; ++nth) {
      SCOPED_TRACE(fmt::format("{} at call {}", to_string(fault), nth));
      const std::string path = folder.file(fmt::format("{}-{}.db", static_cast<int>(fault), nth));
      Disk disk(path);
      disk.arm({.call = std::nullopt, .fault = fault, .nth = nth});
      int acknowledged = write_script(path);
      struck = disk.struck() > 0;
      ASSERT_EQ(disk.is_off(), struck);
      if (struck) {
        EXPECT_FALSE(Connection::open(path, {})) << "it stays off";
      }
      disk.lift();
      const std::string rows = rows_in(path);
      if (acknowledged == 2) {
        EXPECT_EQ(rows, "2");
      }
      if (acknowledged == 1) {
        EXPECT_TRUE(rows == "0" || rows == "2") << rows;
      }
      if (acknowledged == 0) {
        EXPECT_TRUE(rows == "no table" || rows == "0") << rows;
      }
      kills += struck ? 1 : 0;
      // Life goes on, with no lock left behind.
      EXPECT_EQ(write_script(path), 2);
    }
  }
  EXPECT_GE(kills, 60U);
}

TEST_F(Disks, ADeadHandleChangesNothingAndItsLocksGoWithIt) {
  const std::string path = folder.file("a.db");
  Disk disk(path);
  auto idle = open(path);
  ASSERT_TRUE(idle->execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)"));
  auto writing = open(path);
  ASSERT_TRUE(writing->execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)"));
  disk.switch_off();
  EXPECT_FALSE(writing->execute("COMMIT"));
  writing.reset();
  disk.lift();

  const auto next = open(path);
  ASSERT_TRUE(next->execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (3); COMMIT")) << "the lock is gone";
  const std::string content = bytes_of(path), log = bytes_of(path + "-wal");
  const auto written = idle->execute("INSERT INTO t VALUES (4)");
  ASSERT_FALSE(written) << "the disk is on again, but this handle was open when it went off";
  EXPECT_EQ(written.error().code, ErrorCode::io_error);
  EXPECT_FALSE(idle->query_integer("SELECT count(*) FROM t"));
  EXPECT_FALSE(idle->query_integer("PRAGMA wal_checkpoint(TRUNCATE)"));
  idle.reset();
  EXPECT_EQ(bytes_of(path), content);
  EXPECT_EQ(bytes_of(path + "-wal"), log);
  EXPECT_EQ(next->query_integer("SELECT count(*) FROM t"), 2);
}

TEST_F(Disks, APowerCutWithFullSyncKeepsWhatWasAcknowledged) {
  SeededRandom random(test_seed());
  const auto draw = [&](std::uint64_t bound) { return random.below(bound); };
  std::uint64_t lost_without = 0;
  for (const bool full_sync : {true, false}) {
    for (const Disk::Unsynced unsynced : {Disk::Unsynced::lost, Disk::Unsynced::some, Disk::Unsynced::kept}) {
      bool struck = true;
      for (std::uint64_t nth = 1; struck; ++nth) {
        SCOPED_TRACE(fmt::format("full_sync {}, unsynced {}, call {}", full_sync, static_cast<int>(unsynced), nth));
        const std::string path = folder.file(fmt::format("{}-{}-{}.db", full_sync, static_cast<int>(unsynced), nth));
        {  // a file that has all on the medium before it begins
          const auto connection = open(path, true);
          ASSERT_TRUE(connection->execute("CREATE TABLE t (a)"));
        }
        Disk disk(path);
        disk.keep_medium(true);
        disk.arm({.call = std::nullopt, .fault = DiskFault::power_off, .nth = nth});
        int acknowledged = 0;
        {
          auto opened = Connection::open(path, {.full_sync = full_sync});
          while (opened && (*opened)->execute("BEGIN; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); COMMIT")) {
            if (++acknowledged == 3) break;
          }
          struck = disk.struck() > 0;
          disk.switch_off();
        }
        disk.cut_power(unsynced, draw);
        EXPECT_FALSE(disk.is_off());
        const int rows = std::atoi(rows_in(path).c_str());
        EXPECT_NE(rows_in(path), "no table");
        EXPECT_EQ(rows % 2, 0) << "half a transaction";
        EXPECT_LE(rows, 2 * (acknowledged + 1));
        if (full_sync) {
          EXPECT_GE(rows, 2 * acknowledged);
        }
        lost_without += rows < 2 * acknowledged ? 1 : 0;
        EXPECT_EQ(write_script(path), 2) << "life goes on";
      }
    }
  }
  EXPECT_GT(lost_without, 0U) << "without a sync the cut is to cost something, or it cuts nothing";
}

TEST_F(Disks, WithoutACutAKilledProcessKeepsWhatItWroteWithoutASync) {
  const std::string path = folder.file("a.db");
  Disk disk(path);
  disk.keep_medium(true);
  {
    const auto connection = open(path);
    ASSERT_TRUE(connection->execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)"));
    disk.switch_off();
  }
  EXPECT_TRUE(std::filesystem::exists(path + "-wal")) << "nobody moved the log into the file";
  disk.lift();
  EXPECT_EQ(rows_in(path), "1");
}

TEST_F(Disks, ACopyOfADatabaseHasWhatItsLogHolds) {
  const std::string path = folder.file("a.db"), copy = folder.file("b.db");
  const auto connection = open(path);
  ASSERT_TRUE(connection->execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)"));
  ASSERT_TRUE(copy_database(path, copy));
  ASSERT_TRUE(connection->execute("INSERT INTO t VALUES (2)"));
  EXPECT_EQ(rows_in(copy), "1");
  ASSERT_TRUE(copy_database(path, copy)) << "over what is there";
  EXPECT_EQ(rows_in(copy), "2");
}

TEST(SimulationFolder, GoesWithAllThatIsInIt) {
  std::string path;
  {
    const SimulationFolder folder = make_folder();
    path = folder.path();
    std::ofstream(folder.file("a")) << "a";
    EXPECT_TRUE(std::filesystem::exists(folder.file("a")));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace nizhal::sim
