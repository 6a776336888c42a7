// What must hold for the tasks when things go wrong: scenarios of the app's own, for `nizhal chaos`.
#include <nizhal/chaos.hpp>

namespace {

using nizhal::chaos::Device, nizhal::chaos::Fault, nizhal::chaos::World;

void too_many_tasks(World& world) {
  const nizhal::chaos::DeviceOptions ann{.user = "ann", .owner = "ann"};
  Device& phone = world.device("the phone", ann);
  Device& tablet = world.device("the tablet", ann);
  world.step("the phone and the tablet are offline; each adds two tasks, where three may be open");
  for (Device* device : {&phone, &tablet})
    for (const char* id : {"first", "second"})
      device->mutate("addTask", R"({"id":")" + device->name() + "-" + id + R"(","title":"something to do"})");
  world.step("both come back, and the server's first answer to each gets lost");
  for (Device* device : {&phone, &tablet}) device->network().fault("/sync/push", Fault::lose_reply);
  world.converge();
  world.expect(world.value("SELECT count(*) FROM tasks") == "3", "the server took three tasks");
  const auto refused = tablet.dead_letters();
  world.expect(phone.dead_letters().empty() && refused.size() == 1 && refused[0].code == "too_many_open",
               "the tablet, which came second, had one refused and knows why");
}

std::vector<nizhal::chaos::Scenario> scenarios() {
  return {{.name = "too-many-tasks",
           .what = "two devices together add more than may be open",
           .domain = "tasks",
           .run = too_many_tasks}};
}

}  // namespace

NIZHAL_CHAOS(scenarios)
