// Time, random numbers and waiting of SQLite as a simulation gives them.
#include "sim/disk/sqlite_outside.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "sim/disk/simulation_folder.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::sim {
namespace {

using sqlite::Connection;

constexpr Timestamp kStart{1'767'323'045'678'000};  // 2026-01-02T03:04:05.678Z

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// What a run of some seconds leaves in the file and in the log.
std::pair<std::string, std::string> run(std::uint64_t seed) {
  auto folder = SimulationFolder::make();
  EXPECT_TRUE(folder) << folder.error().message;
  ManualClock clock(kStart);
  SeededRandom random(seed);
  const SqliteOutside outside([&] { return clock.now(); }, random);
  const std::string path = folder->file("a.db");
  const auto connection = Connection::open(path, {});
  EXPECT_TRUE(connection) << connection.error().message;
  EXPECT_TRUE((*connection)->execute("CREATE TABLE t (at TEXT, day REAL, drawn INTEGER, bytes BLOB)"));
  for (int i = 0; i < 20; ++i) {
    clock.advance(std::chrono::milliseconds(1'001));
    EXPECT_TRUE(
        (*connection)
            ->execute("INSERT INTO t VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), julianday('now'), random(), "
                      "randomblob(16))"));
    if (i == 10) {
      EXPECT_TRUE((*connection)->query_integer("PRAGMA wal_checkpoint(TRUNCATE)"));
    }
  }
  EXPECT_EQ(*(*connection)->query_text("SELECT min(at) FROM t"), "2026-01-02T03:04:06.679Z");
  EXPECT_EQ(*(*connection)->query_text("SELECT max(at) FROM t"), "2026-01-02T03:04:25.698Z");
  return {bytes_of(path), bytes_of(path + "-wal")};
}

TEST(SqliteOutside, TwoRunsOfOneSeedLeaveTheSameBytes) {
  const auto once = run(5);
  EXPECT_EQ(once, run(5));
  EXPECT_NE(once.second, run(6).second) << "the seed is of no account";
  EXPECT_FALSE(once.second.empty());
}

TEST(SqliteOutside, WaitsForNoLock) {
  auto folder = SimulationFolder::make();
  ASSERT_TRUE(folder) << folder.error().message;
  ManualClock clock(kStart);
  SeededRandom random(1);
  const SqliteOutside outside([&] { return clock.now(); }, random);
  const std::string path = folder->file("a.db");
  const auto holder = Connection::open(path, {});
  ASSERT_TRUE(holder) << holder.error().message;
  ASSERT_TRUE((*holder)->execute("CREATE TABLE t (a); BEGIN IMMEDIATE"));
  // Longer than any test may take, were it waited for.
  const auto other = Connection::open(path, {.busy_timeout_ms = 3'600'000});
  ASSERT_TRUE(other) << other.error().message;
  const auto begun = (*other)->execute("BEGIN IMMEDIATE");
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, ErrorCode::busy) << begun.error().message;
}

TEST(SqliteOutside, GivesTheSystemsTimeBackWhenItGoes) {
  SeededRandom random(1);
  const auto memory = Connection::open(":memory:", {});
  ASSERT_TRUE(memory) << memory.error().message;
  {
    const SqliteOutside outside([] { return kStart; }, random);
    EXPECT_EQ(*(*memory)->query_text("SELECT strftime('%Y', 'now')"), "2026");
  }
  EXPECT_EQ(*(*memory)->query_integer("SELECT strftime('%s', 'now') = 1767323045"), 0);
}

}  // namespace
}  // namespace nizhal::sim
