// Time, random numbers and waiting of SQLite as a simulation gives them.
#include "sim/disk/sqlite_outside.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "client/client_test_support.hpp"
#include "server/test_domain.hpp"
#include "sim/disk/simulation_folder.hpp"
#include "sqlite/connection.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

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
  const SqliteOutside outside([&] { return clock.now(); }, random, folder->path());
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

/// What a server's file and a device's are after some writes of theirs and of another program.
std::string files_of_a_system(std::uint64_t seed) {
  auto folder = SimulationFolder::make();
  EXPECT_TRUE(folder) << folder.error().message;
  ManualClock clock(kStart);
  SeededRandom random(seed), sqlite_random(seed + 1);
  const SqliteOutside outside([&] { return clock.now(); }, sqlite_random, folder->path());
  const std::string server = folder->file("server.db"), device = folder->file("device.db");
  {
    const auto domain = server::testing::compiled(server::testing::test_domain());
    auto storage = storage::open_sqlite_storage({.path = server, .lock_timeout_ms = 0}, domain, random, Log());
    EXPECT_TRUE(storage) << storage.error().message;
    EXPECT_TRUE((*storage)->provision());
    for (int i = 0; i < 5; ++i) {
      clock.advance(std::chrono::seconds(10));
      EXPECT_TRUE((*storage)->run_script("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'b')"));
      EXPECT_TRUE((*storage)->run_script("DELETE FROM notes"));
    }
    const auto connection = Connection::open(server, {});
    EXPECT_TRUE(connection) << connection.error().message;
    const auto removed_ms = (*connection)->query_integer("SELECT (max(at_us) + 500) / 1000 FROM nizhal_removal");
    EXPECT_EQ(**removed_ms, clock.now().microseconds / 1'000) << "the trigger's time is not the simulation's";
  }
  {
    client::LocalStoreOptions options;
    options.path = device;
    options.domain = client::testing::notes_domain();
    options.actor = {.user_id = "u1", .owner_id = "u1", .claims = ""};
    auto store = client::LocalStore::open(std::move(options), clock, random, Log());
    EXPECT_TRUE(store) << store.error().message;
    for (int i = 0; i < 5; ++i) {
      clock.advance(std::chrono::seconds(10));
      EXPECT_TRUE((*store)->mutate("addNote", {"n" + std::to_string(i), std::string("body")}, {}));
    }
  }
  return bytes_of(server) + bytes_of(device);
}

TEST(SqliteOutside, TwoRunsOfAServerAndADeviceLeaveTheSameFiles) {
  const std::string once = files_of_a_system(5);
  EXPECT_GT(once.size(), 10'000U);
  EXPECT_TRUE(once == files_of_a_system(5));
  EXPECT_FALSE(once == files_of_a_system(6)) << "the seed is of no account";
}

TEST(SqliteOutside, WaitsForNoLock) {
  auto folder = SimulationFolder::make();
  ASSERT_TRUE(folder) << folder.error().message;
  ManualClock clock(kStart);
  SeededRandom random(1);
  const SqliteOutside outside([&] { return clock.now(); }, random, folder->path());
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

/// SQLite removes them as soon as it has them open, so only the process's own handles tell where they are.
TEST(SqliteOutside, TemporaryFilesAreInTheFolderOfTheSimulation) {
  auto folder = SimulationFolder::make();
  ASSERT_TRUE(folder) << folder.error().message;
  SeededRandom random(1);
  const SqliteOutside outside([] { return kStart; }, random, folder->path());
  const auto connection = Connection::open(folder->file("a.db"), {});
  ASSERT_TRUE(connection) << connection.error().message;
  ASSERT_TRUE((*connection)
                  ->execute("PRAGMA temp_store = FILE; CREATE TEMP TABLE t (a); PRAGMA temp.cache_size = 1; "
                            "INSERT INTO t SELECT randomblob(4000) FROM (WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL "
                            "SELECT i + 1 FROM n WHERE i < 100) SELECT i FROM n)"));
  std::vector<std::string> temporary;
  for (const auto& handle : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed;  // the handle of this very iteration
    const std::string path = std::filesystem::read_symlink(handle.path(), closed).string();
    if (path.find("etilqs") != std::string::npos) temporary.push_back(path);
  }
  EXPECT_FALSE(temporary.empty());
  for (const std::string& path : temporary) EXPECT_EQ(path.find(folder->path() + "/"), 0U) << path;
}

TEST(SqliteOutside, GivesTheSystemsTimeBackWhenItGoes) {
  auto folder = SimulationFolder::make();
  ASSERT_TRUE(folder) << folder.error().message;
  SeededRandom random(1);
  const auto memory = Connection::open(":memory:", {});
  ASSERT_TRUE(memory) << memory.error().message;
  {
    const SqliteOutside outside([] { return kStart; }, random, folder->path());
    EXPECT_EQ(*(*memory)->query_text("SELECT strftime('%Y', 'now')"), "2026");
  }
  EXPECT_EQ(*(*memory)->query_integer("SELECT strftime('%s', 'now') = 1767323045"), 0);
}

}  // namespace
}  // namespace nizhal::sim
