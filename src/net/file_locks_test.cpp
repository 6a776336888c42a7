// The locks of a store's file, between handles of one process and with a process of their own.
#include "net/file_locks.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "base/test_temp_dir.hpp"

namespace nizhal::net {
namespace {

TEST(FileLocks, OneHandleHasTheRoleUntilItGivesItUpOrEnds) {
  const TempDir folder;
  std::optional<FileLocks> first(folder.file("a.db"));
  FileLocks second(folder.file("a.db"));
  EXPECT_TRUE(first->try_take_role().value());
  EXPECT_TRUE(first->try_take_role().value()) << "it has it";
  EXPECT_FALSE(second.try_take_role().value());
  first->give_up_role();
  EXPECT_TRUE(second.try_take_role().value());
  second.give_up_role();
  EXPECT_TRUE(first->try_take_role().value());
  first.reset();
  EXPECT_TRUE(second.try_take_role().value());
  EXPECT_TRUE(std::filesystem::exists(folder.file("a.db-sync"))) << "never deleted";
}

TEST(FileLocks, AKilledProcessHoldsNothing) {
  const TempDir folder;
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    FileLocks locks(folder.file("a.db"));
    const bool fine = locks.enter() && locks.try_take_role().value_or(false);
    (void)!::write(told[1], fine ? "y" : "n", 1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(told[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  FileLocks locks(folder.file("a.db"));
  EXPECT_FALSE(locks.try_take_role().value());
  EXPECT_FALSE(locks.try_alone().value());
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(locks.try_take_role().value());
  EXPECT_TRUE(locks.try_alone().value());
  ::close(told[0]);
  ::close(told[1]);
}

TEST(FileLocks, AHandleIsAloneWhenNoOtherHasTheFileOpen) {
  const TempDir folder;
  FileLocks first(folder.file("a.db"));
  std::optional<FileLocks> second(folder.file("a.db"));
  ASSERT_TRUE(first.enter());
  ASSERT_TRUE(second->enter());
  EXPECT_FALSE(first.try_alone().value());
  EXPECT_TRUE(first.has_others());
  second.reset();
  EXPECT_FALSE(first.has_others());
  EXPECT_TRUE(first.try_alone().value());
  ASSERT_TRUE(first.enter()) << "it shares the file again";
  FileLocks third(folder.file("a.db"));
  EXPECT_TRUE(third.enter());
}

TEST(FileLocks, TwoNamesOfOneStoreLeadToOneLockFile) {
  const TempDir folder;
  std::ofstream(folder.file("a.db")) << "x";
  std::filesystem::create_symlink(folder.file("a.db"), folder.file("link.db"));
  FileLocks first(folder.file("a.db"));
  FileLocks second(folder.file("link.db"));
  EXPECT_EQ(first.path(), second.path());
  EXPECT_TRUE(first.try_take_role().value());
  EXPECT_FALSE(second.try_take_role().value());
}

TEST(FileLocks, TheLockFileHasTheStoresPermissions) {
  const TempDir folder;
  std::ofstream(folder.file("a.db")) << "x";
  ASSERT_EQ(::chmod(folder.file("a.db").c_str(), 0660), 0);
  FileLocks locks(folder.file("a.db"));
  ASSERT_TRUE(locks.enter());
  struct stat status {};
  ASSERT_EQ(::stat(locks.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660U);
}

TEST(FileLocks, AFolderThatCannotHoldTheFileIsANamedError) {
  const TempDir folder;
  FileLocks missing(folder.file("no/such/folder/a.db"));
  const auto taken = missing.try_take_role();
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::io_error);
  EXPECT_NE(taken.error().message.find("a.db-sync"), std::string::npos) << taken.error().message;
  EXPECT_FALSE(missing.enter());

  // A link in its place would lead the locks elsewhere.
  std::filesystem::create_symlink(folder.file("elsewhere"), folder.file("b.db-sync"));
  FileLocks linked(folder.file("b.db"));
  EXPECT_FALSE(linked.try_take_role());
  EXPECT_FALSE(std::filesystem::exists(folder.file("elsewhere")));
}

}  // namespace
}  // namespace nizhal::net
