// What docs/device.md shows of presence.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "tests/presence/instance.hpp"

namespace nizhal::testing {
namespace {

class Screen {
 public:
  void show(const std::string& user, const std::string& payload) {
    const std::lock_guard lock(mutex_);
    shown_ += user + payload;
    changed_.notify_all();
  }
  bool shows(const std::string& text) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return shown_.find(text) != std::string::npos; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string shown_;
};

TEST(PresencePage, ShowsWhoIsThere) {
  Shared shared;
  Instance server(shared);
  Follower ann(shared, "ann", server.url(), "team:t1"), bob(shared, "bob", server.url(), "team:t1");
  ann.mutate("createTeam", R"({"team_id":"t1"})");
  ann.mutate("addTeamMember", R"({"id":"m2","user_id":"bob","team_id":"t1"})");
  Screen screen;
  Store& store = ann.store;

  // For as long as this store is connected, and until untrack().
  store.track("team:t1", R"({"name":"Ann","at":"till 2"})");

  auto people = store.on_presence("team:t1", [&](const std::vector<nizhal::Presence>& there) {
    for (const nizhal::Presence& one : there) screen.show(one.user_id, one.payload);
  });

  const std::string ann_there = R"(ann{"name":"Ann","at":"till 2"})";
  EXPECT_EQ(bob.until(ann_there), ann_there);
  EXPECT_TRUE(screen.shows(ann_there));
  people.stop();
  store.untrack("team:t1");
  EXPECT_EQ(bob.until(""), "");
}

}  // namespace
}  // namespace nizhal::testing
