// A store file that was copied and is used on two devices, and a phone that was restored from an older backup: real
// processes, real files, a real server (S19).
#include <filesystem>

#include <fmt/format.h>

#include "tests/two_processes/world.hpp"

namespace nizhal::testing {
namespace {

namespace fs = std::filesystem;

std::string add(std::string_view id) { return fmt::format(R"(mutate addNote {{"id":"{}","body":"b"}})", id); }
std::string add_gated(std::string_view id) {
  return fmt::format(R"(mutate addNoteThroughGate {{"id":"{}","body":"b"}})", id);
}
constexpr const char* kIds = "sql SELECT group_concat(id) FROM (SELECT id FROM notes ORDER BY id)";
constexpr const char* kClientId = "sql SELECT value FROM nizhal_meta WHERE key = 'client_id'";
constexpr const char* kLeftovers =
    "sql SELECT (SELECT count(*) FROM nizhal_outbox) || ' ' || (SELECT count(*) FROM nizhal_dead_letter)";

/// The file with what SQLite keeps beside it, as a backup takes it while no process has it open.
void copy_store(const std::string& from, const std::string& to) {
  for (const char* suffix : {"", "-wal"}) {
    std::error_code error;
    fs::remove(to + suffix, error);
    if (fs::exists(from + suffix)) fs::copy_file(from + suffix, to + suffix);
  }
}

class Clones : public ServerWorld {
 protected:
  bool fine(const std::string& answer) {
    EXPECT_EQ(answer.find("error"), std::string::npos) << answer;
    return answer.find("error") == std::string::npos;
  }
  /// A file with a mutation that was confirmed (c), one that was refused, two whose answers never came (s1, s2; the
  /// server applied them) and two that were never sent (p1, p2). `keeps_log`: the last process was killed, so that
  /// most of it is in the write-ahead log; else it is in the one file.
  void make(const std::string& file, bool keeps_log) {
    {
      DeviceProcess device(file, url);
      ASSERT_TRUE(fine(device.ask(add("c"))));
      ASSERT_TRUE(fine(device.ask(R"(mutate addNote {"id":"bad","body":"reject"})")));
      ASSERT_TRUE(fine(device.ask("sync")));
      gate.close_after(1);
      ASSERT_TRUE(fine(device.ask(add_gated("s1"))));
      ASSERT_TRUE(fine(device.ask(add_gated("s2"))));
      device.tell("sync");
      ASSERT_TRUE(gate.wait_until_reached(kPatience));
      device.kill();
      gate.open();
    }
    DeviceProcess device(file, url);
    ASSERT_TRUE(fine(device.ask(add("p1"))));
    ASSERT_TRUE(fine(device.ask(add("p2"))));
    if (keeps_log) {
      device.kill();
      ASSERT_GT(fs::file_size(file + "-wal"), 0U);
    } else {
      device.quit();
      ASSERT_FALSE(fs::exists(file + "-wal"));
    }
  }
  void sync_all(std::initializer_list<DeviceProcess*> devices) {
    for (int round = 0; round < 2; ++round)
      for (DeviceProcess* device : devices) fine(device->ask("sync"));
  }
};

TEST_F(Clones, AFileUsedOnTwoDevicesLosesAndDoublesNothingWhoeverSyncsFirstAndHoweverItWasCopied) {
  int scenario = 0;
  for (const bool keeps_log : {false, true}) {
    for (const bool original_first : {true, false}) {
      SCOPED_TRACE(fmt::format("write-ahead log copied: {}, original first: {}", keeps_log, original_first));
      const std::string file = folder.file(fmt::format("a{}.db", scenario));
      const std::string copy = folder.file(fmt::format("b{}.db", scenario));
      ++scenario;
      const auto before = runs().size();
      make(file, keeps_log);
      if (HasFatalFailure()) return;
      copy_store(file, copy);

      DeviceProcess original(file, url);
      DeviceProcess clone(copy, url);
      ASSERT_EQ(original.ask(kClientId), clone.ask(kClientId));
      const std::string old_id = original.ask(kClientId);
      ASSERT_TRUE(fine(original.ask(add("of-original"))));
      ASSERT_TRUE(fine(clone.ask(add("of-clone"))));
      original_first ? sync_all({&original, &clone}) : sync_all({&clone, &original});

      const std::string all = "c,of-clone,of-original,p1,p2,s1,s2";
      EXPECT_EQ(original.ask(kIds), all);
      EXPECT_EQ(clone.ask(kIds), all);
      EXPECT_EQ(original.ask(kLeftovers), "0 1");  // the refused one of before the copy, and nothing else
      EXPECT_EQ(clone.ask(kLeftovers), "0 1");
      EXPECT_EQ(runs().size() - before, 7U);
      expect_nothing_doubled();
      // Whoever came second has a client id of its own, and both go on under theirs.
      EXPECT_NE(original.ask(kClientId), clone.ask(kClientId));
      EXPECT_EQ((original_first ? original : clone).ask(kClientId), old_id);
      ASSERT_TRUE(fine(original.ask(add("more-of-original"))));
      ASSERT_TRUE(fine(clone.ask(add("more-of-clone"))));
      sync_all({&original, &clone});
      EXPECT_EQ(original.ask(kIds), clone.ask(kIds));
      EXPECT_EQ(runs().size() - before, 9U);

      // Room for the next scenario.
      for (const std::string& id : on_server("SELECT id FROM notes"))
        ASSERT_TRUE(fine(original.ask(fmt::format(R"(mutate deleteNote {{"id":"{}"}})", id))));
      ASSERT_TRUE(fine(original.ask("sync")));
      ASSERT_EQ(notes_there(), std::vector<std::string>());
    }
  }
}

TEST_F(Clones, ACloneThatOnlyReadsIsNoticedByItsPull) {
  const std::string file = folder.file("a.db"), copy = folder.file("b.db");
  {
    DeviceProcess device(file, url);
    ASSERT_TRUE(fine(device.ask(add("c"))));
    ASSERT_TRUE(fine(device.ask("sync")));
    device.quit();
  }
  copy_store(file, copy);
  DeviceProcess original(file, url);
  DeviceProcess clone(copy, url);
  ASSERT_TRUE(fine(original.ask(add("n1"))));
  ASSERT_TRUE(fine(original.ask("sync")));
  ASSERT_TRUE(fine(clone.ask("sync")));
  EXPECT_NE(original.ask(kClientId), clone.ask(kClientId));
  EXPECT_EQ(clone.ask(kIds), "c,n1");
}

TEST_F(Clones, APhoneRestoredFromAnOlderBackupSendsWhatIsNewAndDoublesNothingThatItHadSentSince) {
  const std::string phone = folder.file("phone.db"), backup = folder.file("backup.db");
  make(phone, /*keeps_log=*/true);
  if (HasFatalFailure()) return;
  copy_store(phone, backup);
  std::string old_id;
  {
    // The phone goes on: what was pending in the backup is sent, and more.
    DeviceProcess device(phone, url);
    old_id = device.ask(kClientId);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(fine(device.ask(add(fmt::format("later{}", i)))));
    ASSERT_TRUE(fine(device.ask("sync")));
    ASSERT_TRUE(fine(device.ask(R"(mutate deleteNote {"id":"c"})")));
    ASSERT_TRUE(fine(device.ask("sync")));
    device.quit();
  }
  const auto before = runs().size();
  copy_store(backup, phone);
  DeviceProcess restored(phone, url);
  EXPECT_EQ(restored.ask(kIds), "c,p1,p2,s1,s2") << "as it was when the backup was made";
  ASSERT_TRUE(fine(restored.ask(add("new"))));
  sync_all({&restored});
  EXPECT_EQ(restored.ask(kIds), "later0,later1,later2,later3,later4,new,p1,p2,s1,s2");
  EXPECT_EQ(restored.ask(kLeftovers), "0 1");
  EXPECT_EQ(runs().size() - before, 1U) << "only what the server had never seen";
  EXPECT_NE(restored.ask(kClientId), old_id);
  expect_nothing_doubled();
}

}  // namespace
}  // namespace nizhal::testing
