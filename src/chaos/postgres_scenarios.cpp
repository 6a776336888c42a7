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

constexpr const char* kSessionsOfTheServer =
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client "
    "backend'";

/// Any process of PostgreSQL that dies of SIGKILL takes all of them with it; the postmaster recovers from the log.
void kill_postgres(World& world) {
  Database& database = *world.state().database;
  std::string pid;
  world.wait_until("the server has sessions", [&] {
    const auto found = database.query(fmt::format("SELECT pid {} LIMIT 1", kSessionsOfTheServer));
    if (found && !found->empty()) pid = found->front();
    return !pid.empty();
  });
  const auto done = database.run(fmt::format("COPY (SELECT 1) TO PROGRAM 'kill -9 {}'", pid));
  // The session that asked for it ends too, or not before it has its answer.
  if (!done && done.error().message.find("42501") != std::string::npos)
    world.state().end("only a superuser of PostgreSQL can kill its processes: " + done.error().message);
  world.wait_until("PostgreSQL is killed with -9, and has recovered", [&] {
    const auto found = database.query("SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid);
    return found && !found->empty() && found->front() == "0";
  });
}

void end_sessions(World& world) {
  std::string ended;
  world.wait_until("the server has sessions, and all of them are ended", [&] {
    ended = world.value(fmt::format("SELECT count(pg_terminate_backend(pid)) {}", kSessionsOfTheServer));
    return ended != "0";
  });
}

void postgres_killed(World& world) {
  const bool kills = world.state().surroundings.may_kill_postgres;
  Device& a = world.device("A", {.online = true});
  Device& b = world.device("B", {.online = true});
  for (Device* device : {&a, &b}) device->set_online(true);
  world.step(kills ? "while two devices push, PostgreSQL is killed with -9, three times"
                   : "this PostgreSQL may be somebody's: without --may-kill-postgres every session of the server is "
                     "ended instead, six times, while two devices push");
  for (int round = 0; round < (kills ? 3 : 6); ++round) {
    a.write(10);
    b.write(10);
    if (kills)
      kill_postgres(world);
    else
      end_sessions(world);
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
       .what = "PostgreSQL is killed under the server",
       .needs_postgres = true,
       .run = postgres_killed},
  };
}

}  // namespace nizhal::chaos
