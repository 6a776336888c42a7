// Another actor's file is moved aside while the disk is full: closing it could not move the log into the file, so the
// log goes with it, and what is pending in it is not lost (S9, S11).
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/test_temp_dir.hpp"
#include "client/client_test_support.hpp"
#include "sim/disk/disk.hpp"

namespace nizhal::testing {
namespace {

using client::LocalStore;

struct Archive : ::testing::Test {
  TempDir folder;
  ManualClock clock{client::testing::kStart};
  SeededRandom random{3};
  const std::string path = folder.file("a.db");
  sim::Disk disk{path};

  Result<std::unique_ptr<LocalStore>> open(const std::string& user) {
    client::LocalStoreOptions options;
    options.path = path;
    options.domain = client::testing::notes_domain();
    options.actor = {.user_id = user, .owner_id = user, .claims = ""};
    options.other_actor = user == "u1" ? OtherActor::Refuse : OtherActor::Archive;
    return LocalStore::open(std::move(options), clock, random, Log());
  }
  /// A store with one pending mutation, in the log only: the disk is full when it is closed, and stays so.
  void leave_a_log() {
    auto store = open("u1");
    ASSERT_TRUE(store) << store.error().message;
    ASSERT_TRUE((*store)->mutate("addNote", {std::string("n1"), std::string("pending")}, {}));
    disk.arm({.call = sim::DiskCall::write, .fault = sim::DiskFault::disk_full, .persists = true});
    store->reset();
    ASSERT_TRUE(std::filesystem::exists(path + "-wal"));
  }
};

TEST_F(Archive, OnAFullDiskTakesTheLogAlong) {
  leave_a_log();
  const auto refused = open("u2");
  ASSERT_FALSE(refused) << "there is no room for a new file";
  EXPECT_EQ(refused.error().code, ErrorCode::disk_full) << refused.error().message;
  disk.lift();
  EXPECT_TRUE(open("u2"));
  bool is_found = false;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    const std::string name = entry.path().filename().string();
    if (name.find(".archived-") == std::string::npos || name.ends_with("-wal") || name.ends_with("-shm")) continue;
    std::filesystem::remove(path);
    std::filesystem::remove(path + "-wal");
    std::filesystem::rename(entry.path(), path);
    if (std::filesystem::exists(entry.path().string() + "-wal"))
      std::filesystem::rename(entry.path().string() + "-wal", path + "-wal");
    is_found = true;
  }
  ASSERT_TRUE(is_found);
  const auto archived = open("u1");
  ASSERT_TRUE(archived) << archived.error().message;
  EXPECT_EQ((*archived)->outbox()->size(), 1U);
}

TEST_F(Archive, ThatFailsHalfwayLeavesTheStoreWhole) {
  leave_a_log();
  std::string time = to_iso8601(clock.now());
  std::erase_if(time, [](char c) { return c == ':' || c == '-'; });
  for (const char* suffix : {"-wal", ""}) {  // something else is where the one or the other would go
    const std::string taken = path + ".archived-" + time + suffix;
    std::filesystem::create_directories(taken + "/full");
    const auto refused = open("u2");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::io_error) << refused.error().message;
    EXPECT_NE(refused.error().message.find(taken), std::string::npos) << refused.error().message;
    std::filesystem::remove_all(taken);
  }
  disk.lift();
  const auto kept = open("u1");
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ((*kept)->outbox()->size(), 1U);
}

}  // namespace
}  // namespace nizhal::testing
