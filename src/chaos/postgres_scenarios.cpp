// What needs PostgreSQL: several instances, and a database server that goes away.
#include <fmt/format.h>

#include "base/json.hpp"
#include "chaos/scenarios.hpp"
#include "chaos/world_state.hpp"

namespace nizhal::chaos {
namespace {

void rolling_restart(World& world) {
  world.step("two instances serve one database, told of each other's commits by LISTEN and NOTIFY");
  for (std::size_t number : {0U, 1U}) {
    world.server(number).stop();
    world.server(number).start({"--realtime", "listen-notify"});
  }
  std::vector<Device*> devices;
  for (const char* name : {"A", "B", "C", "D"}) devices.push_back(&world.device(name, {.online = true}));
  for (Device* device : devices) device->set_online(true);
  for (std::size_t number : {0U, 1U}) {
    world.step(
        fmt::format("instance {} is ended with SIGTERM and started again, while four devices write", number + 1));
    for (Device* device : devices) device->write(8);
    world.server(number).stop();
    for (Device* device : devices) device->write(8);
    world.wait_until("the other instance takes everything", [&] {
      for (Device* device : devices)
        if (device->status().pending > 0) return false;
      return true;
    });
    world.server(number).start();
  }
  world.converge();
}

void postgres_killed(World& world) {
  Device& a = world.device("A", {.online = true});
  Device& b = world.device("B", {.online = true});
  for (Device* device : {&a, &b}) device->set_online(true);
  world.step(
      "this PostgreSQL is somebody's, so it is not killed: every session of the server is terminated instead, again "
      "and again, while devices push");
  for (int round = 0; round < 6; ++round) {
    a.write(10);
    b.write(10);
    std::string ended = "0";
    world.wait_until("the server has sessions, and all of them are ended", [&] {
      ended = world.value(
          "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
          "pg_backend_pid()");
      return ended != "0";
    });
  }
  world.converge();
}

}  // namespace

std::vector<Scenario> postgres_scenarios() {
  return {
      {.name = "rolling-restart",
       .what = "two instances are restarted one after the other",
       .needs_postgres = true,
       .run = rolling_restart},
      {.name = "postgres-killed",
       .what = "the database's processes are killed under the server",
       .needs_postgres = true,
       .run = postgres_killed},
  };
}

}  // namespace nizhal::chaos
