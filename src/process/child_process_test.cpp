#include "process/child_process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace nizhal::process {
namespace {

constexpr std::chrono::seconds kPatience{120};

std::unique_ptr<ChildProcess> shell(const std::string& script, const SpawnOptions& options = {}) {
  auto child = ChildProcess::spawn({"/bin/sh", "-c", script}, options);
  EXPECT_TRUE(child) << child.error().message;
  return std::move(*child);
}

TEST(ChildProcess, LinesComeOneByOneAndTheLastNeedsNoNewline) {
  auto child = shell("echo one; echo two; printf three");
  EXPECT_EQ(child->next_line(kPatience), "one");
  EXPECT_EQ(child->next_line(kPatience), "two");
  EXPECT_EQ(child->next_line(kPatience), "three");
  EXPECT_EQ(child->next_line(kPatience), std::nullopt);
  EXPECT_EQ(child->wait(kPatience), (ExitStatus{0, 0}));
}

TEST(ChildProcess, TheExitCodeAndTheSignalAreToldApart) {
  EXPECT_EQ(shell("exit 3")->wait(kPatience), (ExitStatus{3, 0}));
  auto child = shell("echo ready; read line");
  EXPECT_EQ(child->next_line(kPatience), "ready");
  child->signal(SIGKILL);
  EXPECT_EQ(child->wait(kPatience), (ExitStatus{-1, SIGKILL}));
  EXPECT_FALSE(child->write("line\n"));
}

TEST(ChildProcess, AChildHoldsNothingOfItsParentOpen) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);  // both are inherited over an exec
  auto child = shell("echo ready; read line");
  EXPECT_EQ(child->next_line(kPatience), "ready");
  ::close(ends[1]);
  char byte = 0;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0) << "somebody else can still write";
  ::close(ends[0]);
}

TEST(ChildProcess, InputReachesTheChildAndMuchOutputNeverBlocksIt) {
  const auto finished = run_process({"/bin/sh", "-c", "cat; head -c 300000 /dev/zero >&2"}, {}, "hello\n");
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_EQ(finished->out, "hello\n");
  EXPECT_EQ(finished->err.size(), 300000u);
  EXPECT_FALSE(finished->timed_out);
}

TEST(ChildProcess, WhatItSaysOnItsStandardErrorCanBeWaitedFor) {
  auto child = shell("read line; echo \"it said $line\" >&2; read line");
  EXPECT_FALSE(child->wait_for_error("it said", std::chrono::milliseconds(0)));
  child->write("yes\n");
  EXPECT_TRUE(child->wait_for_error("it said yes", kPatience));
  EXPECT_TRUE(child->wait_for_error("it said", kPatience)) << "it is still said";
  child->close_input();
  EXPECT_FALSE(child->wait_for_error("no", kPatience)) << "it has ended";
}

TEST(ChildProcess, AllThatItWroteIsThereWhenItHasEndedAlthoughAGrandchildLivesOn) {
  for (int i = 0; i < 20; ++i) {
    // The grandchild keeps the pipes open until its input ends, which is when the child is dropped.
    auto child = shell("exec 3<&0; (read line <&3) & head -c 60000 /dev/zero >&2; echo last");
    ASSERT_EQ(child->wait(kPatience), (ExitStatus{0, 0}));
    EXPECT_EQ(child->err().size(), 60'000U);
    EXPECT_EQ(child->out(), "last\n");
  }
}

TEST(ChildProcess, ItsEnvironmentAndDirectoryAreTheOnesGiven) {
  const auto finished = run_process({"/bin/sh", "-c", "echo $NIZHAL_X; pwd"}, {{{"NIZHAL_X", "y"}}, "/", false});
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_EQ(finished->out, "y\n/\n");
}

TEST(ChildProcess, AProgramThatDoesNotExistIsAnErrorThatNamesIt) {
  const auto child = ChildProcess::spawn({"/nowhere/program"});
  ASSERT_FALSE(child);
  EXPECT_NE(child.error().message.find("/nowhere/program"), std::string::npos);
}

TEST(ChildProcess, OneThatIsDroppedIsKilled) {
  pid_t pid = 0;
  {
    auto child = shell("echo ready; read line");
    child->next_line(kPatience);
    pid = child->pid();
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

}  // namespace
}  // namespace nizhal::process
