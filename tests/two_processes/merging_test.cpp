// Clock stamps and conflicts of one store file that two processes have open.
#include <chrono>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "tests/two_processes/world.hpp"

namespace nizhal::testing {
namespace {

using MergingProcesses = ServerWorld;

std::string title(const std::string& text) {
  return fmt::format(R"(mutate titleCard {{"id":"c1","title":"{}"}})", text);
}

void let_time_pass() {
  const auto now = [] { return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()); };
  const auto before = now();
  while (now() <= before) std::this_thread::yield();
}

TEST_F(MergingProcesses, StampsOfBothAreDifferentAndOnlyGoUp) {
  {
    DeviceProcess first(folder.file("a.db"), url);
    ASSERT_EQ(first.ask(title("first")).find("error"), std::string::npos);
    first.quit();
  }
  {
    // Made when the device's clock was far ahead: no clock tells the two processes apart now, only what is in the file.
    const auto file = sqlite::Connection::open(folder.file("a.db"), {});
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE((*file)->execute("UPDATE nizhal_outbox SET hlc = '2090-01-01T00:00:00.000Z' || substr(hlc, 25)"));
  }
  DeviceProcess one(folder.file("a.db"), url), other(folder.file("a.db"), url);
  for (int round = 0; round < 10; ++round)
    for (DeviceProcess* device : {&one, &other})
      ASSERT_EQ(device->ask(title(fmt::format("in turns {}", round))).find("error"), std::string::npos);
  // And at once.
  one.tell("many a 150");
  other.tell("many b 150");
  for (DeviceProcess* device : {&one, &other})
    ASSERT_TRUE(device->process().wait_for_line("done", kPatience)) << device->process().out();
  const auto connection = sqlite::Connection::open(folder.file("a.db"), {.read_only = true});
  ASSERT_TRUE(connection) << connection.error().message;
  const auto stamps = select_text(**connection, "SELECT hlc FROM nizhal_outbox ORDER BY ordinal");
  ASSERT_EQ(stamps.size(), 321u);
  EXPECT_TRUE(stamps[1].starts_with("2090-")) << stamps[1];
  for (std::size_t i = 1; i < stamps.size(); ++i) ASSERT_LT(stamps[i - 1], stamps[i]) << "entry " << i;
}

TEST_F(MergingProcesses, WhatTheProcessThatSyncsLearnsOfAConflictTheOtherSeesToo) {
  DeviceProcess holder(folder.file("a.db"), url), standby(folder.file("a.db"), url);
  DeviceProcess elsewhere(folder.file("c.db"), url);
  ASSERT_EQ(elsewhere.ask(title("before")).find("error"), std::string::npos);
  ASSERT_EQ(elsewhere.ask("sync").find("error"), std::string::npos);
  ASSERT_EQ(holder.ask("sync").find("error"), std::string::npos);

  // Written by the one that never syncs.
  ASSERT_EQ(standby.ask(title("mine")).find("error"), std::string::npos);
  let_time_pass();
  ASSERT_EQ(elsewhere.ask(title("theirs")).find("error"), std::string::npos);
  ASSERT_EQ(elsewhere.ask("sync").find("error"), std::string::npos);
  EXPECT_EQ(standby.ask("conflicts"), "0");
  const std::string synced = holder.ask("sync");
  EXPECT_NE(synced.find("applied 1 rejected 0"), std::string::npos) << synced;
  constexpr const char* kLost = R"(1, 1 cards c1 title "mine")";
  EXPECT_EQ(holder.ask("conflicts"), kLost);
  EXPECT_EQ(standby.ask("until-conflicts 1"), "yes");
  EXPECT_EQ(standby.ask("conflicts"), kLost);
  EXPECT_EQ(standby.ask("until theirs SELECT title FROM cards"), "yes");

  ASSERT_EQ(standby.ask("dismiss 1"), "dismissed");
  EXPECT_EQ(holder.ask("until-conflicts 0"), "yes");
  EXPECT_EQ(holder.ask("conflicts"), "0");
  EXPECT_NE(holder.ask("dismiss 1").find("error not_found"), std::string::npos);
}

}  // namespace
}  // namespace nizhal::testing
