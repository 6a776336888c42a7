// A device of docs/first-app.md. Usage: first_app_device FILE URL [TITLE]…
// Adds a task for each title, syncs, and prints the open tasks. Works without a server, too.
#include <cstdlib>
#include <iostream>
#include <string>

#include <nizhal/store.hpp>

#include "tasks.hpp"

namespace {

std::string token() {
  const char* text = std::getenv("NIZHAL_TOKEN");
  return text == nullptr ? std::string() : text;
}

int show(nizhal::Store& store) {
  const auto open = store.query(nizhal::from(tasks::tasks).where(nizhal::eq("is_done", false)).order_by("title"));
  if (!open) {
    std::cerr << open.error().message << "\n";
    return 1;
  }
  for (const tasks::Task& task : *open) std::cout << "[ ] " << task.title << "\n";

  const auto refused = store.dead_letters();
  if (!refused) {
    std::cerr << refused.error().message << "\n";
    return 1;
  }
  for (const nizhal::DeadLetter& letter : *refused)
    std::cout << "refused: " << letter.args << " because " << letter.message << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: first_app_device FILE URL [TITLE]…\n";
    return 2;
  }
  auto store = nizhal::open_store({.path = argv[1],
                                   .domain = tasks::domain(),
                                   .actor = {.user_id = "ana", .owner_id = "home"},
                                   .server = argv[2],
                                   .token = token,
                                   .start_online = false});
  if (!store) {
    std::cerr << store.error().message << "\n";
    return 1;
  }

  for (int i = 3; i < argc; ++i) {
    const auto ticket = store->mutate("addTask", tasks::AddTask{.id = nizhal::new_id(), .title = argv[i]});
    if (!ticket) std::cerr << "not added: " << ticket.error().message << "\n";
  }

  if (const auto report = store->sync_now(std::chrono::seconds(10)); !report)
    std::cerr << "not synced, all is kept for the next time: " << report.error().message << "\n";
  return show(*store);
}
