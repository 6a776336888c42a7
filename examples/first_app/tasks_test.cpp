#include "tasks.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include <nizhal/lint.hpp>
#include <nizhal/store.hpp>

TEST(Tasks, NoRuleGivesAnybodyTheTasksOfAnotherOwner) { ASSERT_TRUE(nizhal::assert_no_leak(tasks::domain())); }

TEST(Tasks, ATaskIsThereBeforeAnyServerHasSeenIt) {
  const auto folder = std::filesystem::temp_directory_path() / ("first_app_" + nizhal::new_id());
  std::filesystem::create_directories(folder);
  {
    auto store = nizhal::open_store({.path = (folder / "device.db").string(),
                                     .domain = tasks::domain(),
                                     .actor = {.user_id = "ana", .owner_id = "home"}});
    ASSERT_TRUE(store) << store.error().message;
    const auto ticket = store->mutate("addTask", tasks::AddTask{.id = "t1", .title = "water the plants"});
    ASSERT_TRUE(ticket) << ticket.error().message;

    const auto task = store->get(tasks::tasks, "t1");
    ASSERT_TRUE(task && task->has_value());
    EXPECT_EQ((*task)->title, "water the plants");
    EXPECT_EQ(store->status().pending, 1U);
  }
  std::filesystem::remove_all(folder);
}
