// The code of docs/device.md, "Choosing buckets", against a real server.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <string>

#include <nizhal/store.hpp>

#include "base/test_temp_dir.hpp"
#include "examples/notes/notes.hpp"
#include "tests/support/process.hpp"
#include "tests/support/require.hpp"

namespace nizhal::testing {
namespace {

void choose(Store& store) {
  // The team whose notes are on the screen, and whatever else of one's own there is.
  store.subscribe("myTeams", {{"teamId", "red"}});
  store.subscribe("myNotes");
  // Another screen: keep the team for an hour, in case the user comes back.
  store.unsubscribe("myTeams", {{"teamId", "red"}}, std::chrono::hours(1));
}

TEST(ChoosingBuckets, AStoreHoldsWhatItWasToldToAndIsOnline) {
  const TempDir folder;
  std::ofstream(folder.file("seed.sql"))
      << "INSERT INTO team_members(id, user_id, team_id) VALUES('m1', 'u1', 'red'), ('m2', 'u1', 'blue');"
         "INSERT INTO team_notes(id, team_id, body) VALUES('r', 'red', 'of red'), ('b', 'blue', 'of blue');"
         "INSERT INTO notes(id, owner_id, body) VALUES('n', 'o1', 'own')";
  ServerProcess server("notes", folder.file("server.db"), {"--seed", folder.file("seed.sql")});
  ASSERT_FALSE(server.url().empty()) << server.why();
  Store store = require(open_store({.path = folder.file("device.db"),
                                    .domain = notes::domain(),
                                    .actor = {.user_id = "u1", .owner_id = "o1"},
                                    .server = server.url(),
                                    .token = [token = make_token("u1", "o1")] { return token; },
                                    .coverage = Coverage::subscribed,
                                    .start_online = false}),
                        "opening the store");
  require(store.sync_now(), "syncing");
  EXPECT_TRUE(require(store.query(from(notes::notes)), "reading").empty());

  choose(store);
  require(store.sync_now(), "syncing");
  EXPECT_EQ(require(store.query(from(notes::notes)), "reading").size(), 1u);
  const auto team_notes = require(store.query(from(notes::team_notes)), "reading");
  ASSERT_EQ(team_notes.size(), 1u);
  EXPECT_EQ(team_notes[0].body, "of red");
  const auto subscriptions = require(store.subscriptions(), "subscriptions");
  ASSERT_EQ(subscriptions.size(), 2u);
  EXPECT_EQ(subscriptions[0].rule, "myNotes");
  EXPECT_TRUE(subscriptions[0].is_held);
  EXPECT_FALSE(subscriptions[0].until);
  EXPECT_EQ(subscriptions[1].rule, "myTeams");
  EXPECT_TRUE(subscriptions[1].is_held);
  EXPECT_TRUE(subscriptions[1].until);

  require(store.unsubscribe("myTeams", {{"teamId", "red"}}), "giving it up at once");
  require(store.sync_now(), "syncing");
  EXPECT_TRUE(require(store.query(from(notes::team_notes)), "reading").empty());
}

/// Waits until the condition holds; changes of the status wake it. False after a time that only a failure reaches.
template <class Condition>
bool wait_for(Store& store, Condition condition) {
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t changes = 0;
  const auto observed = store.on_status([&](const StoreStatus&) {
    const std::lock_guard lock(mutex);
    ++changes;
    changed.notify_all();
  });
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (std::uint64_t seen = 0; !condition();) {
    std::unique_lock lock(mutex);
    if (!changed.wait_until(lock, deadline, [&] { return changes > seen; })) return false;
    seen = changes;
  }
  return true;
}

TEST(ChoosingBuckets, WhatAHandleThatStandsBySubscribesToIsPulledAtOnceByTheOneThatSyncs) {
  const TempDir folder;
  std::ofstream(folder.file("seed.sql")) << "INSERT INTO notes(id, owner_id, body) VALUES('n', 'o1', 'own')";
  ServerProcess server("notes", folder.file("server.db"), {"--seed", folder.file("seed.sql")});
  ASSERT_FALSE(server.url().empty()) << server.why();
  const auto open = [&] {
    return require(open_store({.path = folder.file("device.db"),
                               .domain = notes::domain(),
                               .actor = {.user_id = "u1", .owner_id = "o1"},
                               .server = server.url(),
                               .token = [token = make_token("u1", "o1")] { return token; },
                               .coverage = Coverage::subscribed,
                               .pull_interval = std::chrono::hours(1)}),
                   "opening the store");
  };
  Store syncing = open();
  ASSERT_TRUE(wait_for(syncing, [&] { return syncing.status().last_synced && !syncing.status().syncing; }));
  Store standing_by = open();
  ASSERT_TRUE(wait_for(standing_by, [&] { return standing_by.status().standby; }));
  const auto notes = [&](Store& store) { return require(store.query(from(notes::notes)), "reading").size(); };
  EXPECT_EQ(notes(standing_by), 0u);
  require(standing_by.subscribe("myNotes"), "subscribing");
  EXPECT_TRUE(wait_for(standing_by, [&] { return notes(standing_by) == 1; }));
  require(standing_by.unsubscribe("myNotes"), "unsubscribing");
  EXPECT_TRUE(wait_for(standing_by, [&] { return notes(standing_by) == 0; }));
  EXPECT_TRUE(standing_by.status().standby);
}

}  // namespace
}  // namespace nizhal::testing
