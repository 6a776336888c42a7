// Whose store it is (S9), with real processes: another actor's token opens nothing, archives or discards as it was
// told.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/test_temp_dir.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

class StoreIdentity : public ::testing::Test {
 protected:
  StoreIdentity() { EXPECT_EQ(mine_.run({"mutate", "addNote", R"({"id":"n1","body":"mine"})"}).status.code, 0); }
  static Finished run(const ClientCommand& device, std::vector<std::string> more, std::vector<std::string> command) {
    std::vector<std::string> arguments = device.arguments({});
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.insert(arguments.end(), command.begin(), command.end());
    return nizhal(std::move(arguments));
  }
  std::string bytes() const {
    std::ifstream file(mine_.store, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  std::vector<std::string> archives() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      const std::string name = entry.path().string();
      if (name.find(".archived-") != std::string::npos && !name.ends_with("-wal") && !name.ends_with("-shm"))
        found.push_back(name);
    }
    return found;
  }
  static std::string notes(const ClientCommand& device) {
    return device.run({"query", "SELECT body FROM notes", "--json"}).out;
  }

  TempDir directory_;
  ClientCommand mine_{"notes", directory_.file("a.db"), "", make_token("u1", "o1")};
  ClientCommand theirs_{"notes", directory_.file("a.db"), "", make_token("u2", "o2")};
};

TEST_F(StoreIdentity, AnotherActorsTokenIsExitTwoAndTouchesNothing) {
  const std::string before = bytes();
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"status"},
                                             {"outbox"},
                                             {"query", "SELECT * FROM notes"},
                                             {"mutate", "addNote", R"({"id":"n2","body":"theirs"})"}}) {
    const Finished finished = theirs_.run(command);
    EXPECT_EQ(finished.status.code, 2) << command[0];
    EXPECT_EQ(finished.out, "") << command[0];
    EXPECT_NE(finished.err.find("belongs to user \"u1\" of owner \"o1\", not to user \"u2\" of owner \"o2\""),
              std::string::npos)
        << finished.err;
  }
  EXPECT_EQ(bytes(), before);
  EXPECT_EQ(notes(mine_), "[{\"body\":\"mine\"}]\n");
  // The same user of another owner is another actor, too.
  ClientCommand moved = mine_;
  moved.token = make_token("u1", "o2");
  EXPECT_EQ(moved.run({"status"}).status.code, 2);
}

TEST_F(StoreIdentity, ArchivingStartsAfreshAndKeepsEveryPendingWriteOfTheOther) {
  ASSERT_EQ(
      run(theirs_, {"--other-actor", "archive"}, {"mutate", "addNote", R"({"id":"n2","body":"theirs"})"}).status.code,
      0);
  EXPECT_EQ(notes(theirs_), "[{\"body\":\"theirs\"}]\n");
  ASSERT_EQ(archives().size(), 1u);
  ClientCommand archived = mine_;
  archived.store = archives()[0];
  EXPECT_EQ(notes(archived), "[{\"body\":\"mine\"}]\n");
  EXPECT_NE(archived.run({"outbox", "--json"}).out.find("addNote"), std::string::npos);
  EXPECT_EQ(mine_.run({"status"}).status.code, 2) << "the path is the other's now";
}

TEST_F(StoreIdentity, DiscardingLeavesNothingOfTheOther) {
  ASSERT_EQ(
      run(theirs_, {"--other-actor", "discard"}, {"mutate", "addNote", R"({"id":"n2","body":"theirs"})"}).status.code,
      0);
  EXPECT_EQ(notes(theirs_), "[{\"body\":\"theirs\"}]\n");
  EXPECT_TRUE(archives().empty());
  EXPECT_EQ(bytes().find("mine"), std::string::npos);
}

TEST_F(StoreIdentity, TheOwnActorIsNeverArchivedOrDiscarded) {
  for (const char* choice : {"archive", "discard"})
    EXPECT_EQ(run(mine_, {"--other-actor", choice}, {"status"}).status.code, 0);
  EXPECT_EQ(notes(mine_), "[{\"body\":\"mine\"}]\n");
  EXPECT_TRUE(archives().empty());
  EXPECT_EQ(run(mine_, {"--other-actor", "share"}, {"status"}).status.code, 2);
}

}  // namespace
}  // namespace nizhal::testing
