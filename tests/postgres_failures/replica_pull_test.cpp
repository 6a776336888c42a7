// Devices that are filled from a streaming replica, through all of its states.
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/postgres_failures/harness.hpp"
#include "tests/postgres_failures/load.hpp"

namespace nizhal::testing {
namespace {

template <class Condition>
bool eventually(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (!condition())
    if (std::chrono::steady_clock::now() > until) return false;
  return true;
}

TEST(ReplicaPull, ADeviceIsFilledFromTheStandbyAndMissesNothing) {
  PostgresServer primary;
  const std::string url = primary.create_database();
  const auto standby = primary.standby();
  primary.sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
  primary.sql("postgres", "SELECT pg_reload_conf()");
  Host host(url, [&](storage::PostgresStorageOptions& options) { options.read_url = standby->url(database_of(url)); });
  Sender sender("writer", "owner");
  // A new device of the writer's has all that was acknowledged to it.
  const auto fill_one = [&] {
    sender.queue("add", 3);
    sender.push_all(host);
    Reader reader("owner");
    for (int attempt = 0; attempt < 5 && !reader.pull(host); ++attempt) {
    }
    reader.expect_equal(url);
  };
  fill_one();
  const std::string scans = "SELECT coalesce(sum(idx_scan), 0) > 0 FROM pg_stat_user_tables WHERE relname = 'entries'";
  EXPECT_TRUE(eventually([&] {
    fill_one();
    return ::testing::Test::HasFailure() || standby->value(database_of(url), scans) == "t";
  })) << "the standby serves nothing";
  standby->sql("postgres", "SELECT pg_wal_replay_pause()");
  for (int device = 0; device < 3; ++device) fill_one();
  standby->sql("postgres", "SELECT pg_wal_replay_resume()");
  {
    Load load(host);
    load.wait_for_more(30);
    for (int device = 0; device < 5; ++device) fill_one();
    standby->kill_hard();
    for (int device = 0; device < 3; ++device) fill_one();
    load.finish_and_compare(url);
  }
  sender.expect_exactly_once(url);
}

}  // namespace
}  // namespace nizhal::testing
