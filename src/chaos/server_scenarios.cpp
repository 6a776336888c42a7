// What happens to servers and their databases.
#include <fmt/format.h>

#include "base/json.hpp"
#include "chaos/scenarios.hpp"
#include "chaos/world_state.hpp"

namespace nizhal::chaos {
namespace {

void server_restart_mid_outbox(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  world.step("device A has 250 mutations to push, three batches; the server is killed with -9 after the first one");
  a.write(250);
  a.network().hold_after("/sync/push", 1);
  a.set_online(true);
  world.expect(a.network().wait_until_held(kPatience), "the first batch was answered, the second is on its way");
  world.server().kill();
  a.network().let_go();
  b.write(5);
  world.expect(a.status().pending > 0, "A keeps the rest of its outbox");
  world.step("the server starts again on the same database");
  world.server().start();
  world.converge();
}

void server_killed_under_load(World& world) {
  Device& a = world.device("A", {.online = true});
  Device& b = world.device("B", {.online = true});
  for (Device* device : {&a, &b}) device->set_online(true);
  for (int round = 0; round < 4; ++round) {
    world.step("two devices write and push; the server is killed with -9 in the middle, and started again");
    for (int i = 0; i < 4; ++i) {
      a.write(10);
      b.write(10);
    }
    world.server().kill();
    a.write(5);
    world.server().start();
  }
  world.converge();
}

void long_transaction(World& world) {
  const DeviceOptions ann{.user = "ann", .owner = "org"};
  Device& a = world.device("A", ann);
  Device& b = world.device("B", ann);
  a.write(5);
  world.expect(a.sync().has_value() && b.sync().has_value(), "both devices are in sync");
  world.step("another program opens a transaction on the server's database, inserts a note and does not commit");
  const auto commit =
      world.hold_transaction("INSERT INTO notes(id, owner_id, body) VALUES('held', 'org', 'written long ago')");
  a.write(10);
  if (world.is_postgres()) {
    world.expect(a.sync().has_value(), "A pushes beside it, with later versions");
    world.expect(b.sync().has_value(), "B pulls meanwhile");
  } else {
    a.set_online(true);
    world.expect(b.sync().has_value(), "B reads on while the writer's turn is taken");
  }
  world.expect(b.value("SELECT count(*) FROM notes WHERE id = 'held'") == "0",
               "nobody sees the note before its commit");
  world.step("the transaction commits");
  commit();
  world.converge();
  world.expect(b.value("SELECT body FROM notes WHERE id = 'held'") == "written long ago",
               "the note arrived, although others with later versions had been pulled before it");
}

void tombstones_pruned(World& world) {
  const DeviceOptions ann{.user = "ann", .owner = "org"};
  Device& a = world.device("A", ann);
  std::vector<Device*> fleet;
  for (const char* name : {"B", "C", "D"}) fleet.push_back(&world.device(name, ann));
  a.write(40);
  world.expect(a.sync().has_value(), "A pushes 40 mutations");
  for (Device* device : fleet) {
    world.expect(device->sync().has_value(), fmt::format("{} has them", device->name()));
    device->write(4);
    device->close();
  }
  world.step("three devices are away with work of their own; A deletes all notes and writes others");
  for (;;) {
    const std::string id = a.value("SELECT id FROM notes LIMIT 1");
    if (id.empty()) break;
    a.mutate("deleteNote", to_text({{"id", id}}));
  }
  a.mutate("addNote", R"({"id":"after","body":"written after all that"})");
  world.expect(a.sync().has_value(), "A pushes");
  world.step("`nizhal gc --retention 0s` prunes every tombstone while the fleet is away");
  world.command({"gc", "--retention", "0s"});
  world.step("the fleet comes back");
  for (Device* device : fleet) {
    device->network().forget();
    world.expect(device->sync().has_value(), fmt::format("{} syncs", device->name()));
    const auto is_reset = [](const FaultProxy::Exchange& pull) {
      return pull.answer.find("\"cursorReset\":true") != std::string::npos;
    };
    bool was_reset = false;
    for (const auto& pull : device->network().pulls()) was_reset = was_reset || is_reset(pull);
    world.expect(was_reset,
                 fmt::format("{} was told to begin afresh, because deletions it lacks are forgotten", device->name()));
  }
  world.converge();
}

void restore_from_backup(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  a.write(20);
  world.expect(a.sync().has_value() && b.sync().has_value(), "both devices are in sync");
  world.step("the server's database is copied, and goes on: A pushes 20 mutations that the copy lacks");
  world.server().stop();
  world.backup();
  world.server().start();
  a.write(20);
  world.expect(a.sync().has_value() && b.sync().has_value(), "both devices have the 20");
  b.write(15);
  world.step(
      "the database is lost; the copy is put in its place and `nizhal epoch --rotate` run, as docs/postgresql.md says; "
      "B has 15 mutations pending");
  world.server().stop();
  world.restore();
  world.command({"epoch", "--rotate"});
  world.server().start();
  a.write(5);
  world.converge();
}

void full_disk_server(World& world) {
  Device& a = world.device("A");
  a.write(5);
  world.expect(a.sync().has_value(), "A is in sync");
  const std::size_t letters = a.dead_letters().size();
  if (world.is_postgres()) {
    world.step("PostgreSQL answers every write of a push with \"disk full\" (SQLSTATE 53100)");
    world.sql(
        "CREATE FUNCTION chaos_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'No space left on "
        "device' USING ERRCODE = '53100'; END $$; CREATE TRIGGER chaos_full BEFORE INSERT ON nizhal.mutation FOR "
        "EACH ROW EXECUTE FUNCTION chaos_full()");
  } else {
    world.step("no file of the server may grow any more: its disk is full");
    world.server().process().limit_files(1);
  }
  a.write(20);
  a.network().forget();
  a.set_online(true);
  const auto is_put_off = [](const FaultProxy::Exchange& exchange) {
    return exchange.path == "/sync/push" && exchange.answer.find("\"status\":\"retry\"") != std::string::npos;
  };
  world.expect(a.network().wait_for(is_put_off, 2, kPatience),
               "the server says that it cannot now, and A tries again by itself");
  world.expect(a.status().pending >= 20, fmt::format("A keeps its {} mutations", a.status().pending));
  world.expect(a.dead_letters().size() == letters, "none of them counts as refused");
  world.step("there is room again");
  if (world.is_postgres())
    world.sql("DROP TRIGGER chaos_full ON nizhal.mutation; DROP FUNCTION chaos_full()");
  else
    world.server().process().limit_files(std::nullopt);
  world.converge();
}

void reconnect_storm(World& world) {
  constexpr int kDevices = 16;
  std::vector<Device*> fleet;
  for (int i = 0; i < kDevices; ++i)
    fleet.push_back(&world.device(fmt::format("D{}", i), {.person = static_cast<std::size_t>(i), .online = true}));
  for (Device* device : fleet) device->set_online(true);
  const auto all_connected = [&] {
    std::size_t connected = 0;
    for (Device* device : fleet) connected += device->network().open_sockets();
    return connected == fleet.size();
  };
  world.wait_until(fmt::format("{} devices are connected", kDevices), all_connected);
  world.step("the server is killed with -9; all connections end at once; everybody writes");
  world.server().kill();
  for (Device* device : fleet) device->write(3);
  world.step("the server starts again, and everybody comes back at once");
  world.server().start();
  world.wait_until("every device is connected again, by itself", all_connected);
  world.wait_until("every device has pushed what it wrote, by itself", [&] {
    for (Device* device : fleet)
      if (device->status().pending > 0) return false;
    return true;
  });
  world.converge();
}

}  // namespace

std::vector<Scenario> server_scenarios() {
  return {
      {.name = "server-restart-mid-outbox",
       .what = "the server is killed while a device empties its outbox",
       .run = server_restart_mid_outbox},
      {.name = "server-killed-under-load",
       .what = "the server is killed again and again while devices push",
       .run = server_killed_under_load},
      {.name = "long-transaction",
       .what = "another program's transaction stays open for long",
       .domain = "notes",
       .run = long_transaction},
      {.name = "tombstones-pruned-under-an-offline-fleet",
       .what = "deletions are forgotten before devices have heard of them",
       .domain = "notes",
       .run = tombstones_pruned},
      {.name = "restore-from-backup",
       .what = "the server's database is put back to an older copy",
       .run = restore_from_backup},
      {.name = "full-disk-server", .what = "the server's disk is full for a while", .run = full_disk_server},
      {.name = "reconnect-storm",
       .what = "all devices lose the server at once and come back at once",
       .run = reconnect_storm},
  };
}

}  // namespace nizhal::chaos
