// What happens on devices: apps that are killed, disks, clocks, copies, tokens, upgrades.
#include <fmt/format.h>

#include "base/json.hpp"
#include "chaos/scenarios.hpp"
#include "chaos/world_state.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::chaos {
namespace {

constexpr std::chrono::seconds kYear{365 * 24 * 3'600};

void garbage_cursor(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  a.write(15);
  world.expect(a.sync().has_value() && b.sync().has_value(), "both devices are in sync");
  b.write(10);
  world.expect(b.sync().has_value(), "B pushes more");
  const char* const cursors[] = {"garbage", "", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "\xf0\x9f\x92\xa5"};
  for (const char* cursor : cursors) {
    world.step(fmt::format("the cursor in A's file becomes \"{}\"", cursor));
    a.write(3);
    a.close();
    auto file = sqlite::Connection::open(a.file(), {.create = false});
    auto statement = file ? (*file)->prepare("UPDATE nizhal_meta SET value = ?1 WHERE key = 'cursor'")
                          : Result<sqlite::Statement>(tl::unexpected(file.error()));
    world.expect(statement && statement->bind_text(1, cursor).run() && (*file)->changes() == 1, "the file is changed");
  }
  world.converge();
}

void crash_during_flush(World& world) {
  Device& a = world.device("A", {.user = "ann", .owner = "org"});
  std::size_t acknowledged = 0;
  for (int round = 0; round < 5; ++round) {
    world.step("an app writes one note after the other and is killed with -9 in the middle of one");
    Process app = a.client({"mutate", "-", "--json"});
    const auto take = [&](const std::string& line) {
      const auto answer = parse_json(line);
      const auto id = answer ? string_member(*answer, "clientMutationId") : std::nullopt;
      if (!id) return;
      a.acknowledged(std::string(*id));
      ++acknowledged;
    };
    const std::uint64_t count = 1 + world.draw(4);
    for (std::uint64_t i = 0; i <= count; ++i) {
      app.write(fmt::format("addNote {{\"id\":\"r{}-{}\",\"body\":\"x\"}}\n", round, i));
      if (i == count) break;  // this one is under way when the signal comes
      const auto line = app.next_line();
      world.expect(line.has_value(), "the app acknowledges a note");
      take(*line);
    }
    app.kill();
    while (const auto line = app.next_line()) take(*line);
    world.step("another one syncs, and is killed with -9 while its push is on its way");
    a.network().hold_after("/sync/push", 0);
    Process sync = a.client({"sync"});
    world.expect(a.network().wait_until_held(kPatience), "the push is on its way");
    sync.kill();
    if (round % 2 == 0)
      a.network().let_go();  // the server gets it, and nobody hears of it
    else
      a.network().drop_held();
  }
  world.expect(acknowledged >= 5, fmt::format("{} notes had been acknowledged", acknowledged));
  world.converge();
}

void two_device_soak(World& world) {
  Device& a = world.device("A", {.online = true});
  Device& b = world.device("B", {.online = true});
  for (Device* device : {&a, &b}) device->set_online(true);
  constexpr int kRounds = 40;
  world.step(
      fmt::format("two devices write for {} rounds, while their networks are cut and healed, lose requests and "
                  "replies, and the server restarts",
                  kRounds));
  for (int round = 0; round < kRounds; ++round) {
    Device& device = world.draw(2) == 0 ? a : b;
    device.write(1 + world.draw(6));
    switch (world.draw(9)) {
      case 0:
        device.network().cut();
        break;
      case 1:
        device.network().heal();
        break;
      case 2:
        device.network().fault("/sync/push", Fault::lose_reply);
        break;
      case 3:
        device.network().fault("", Fault::lose_request, 2);
        break;
      case 4:
        device.network().fault("/sync/pull", Fault::truncate_reply);
        break;
      case 5:
        device.network().fault("", Fault::duplicate);
        break;
      case 6:
        device.network().cut_connections();
        break;
      case 7:
        if (world.draw(4) == 0) {
          world.server().kill();
          world.server().start();
        }
        break;
      default:
        (void)device.sync();
    }
  }
  world.converge();
}

void token_expiry_offline(World& world) {
  Device& a = world.device("A");
  a.write(5);
  world.expect(a.sync().has_value(), "A is in sync");
  const std::size_t letters = a.dead_letters().size();
  world.step("A is offline for so long that its token expires, and writes 30 mutations");
  a.network().cut();
  a.write(30);
  a.expire_token(true);
  a.network().heal();
  for (int round = 0; round < 2; ++round) {
    const auto report = a.sync();
    world.expect(!report && report.error().code == ErrorCode::unauthorized,
                 "the server refuses the expired token, and the app is told");
  }
  world.expect(a.status().pending >= 30 && a.dead_letters().size() == letters, "nothing of what A wrote is given up");
  world.step("somebody logs in again");
  a.expire_token(false);
  world.converge();
}

void clock_off(World& world, std::chrono::seconds offset, std::string_view word) {
  Device& a = world.device("A", {.clock_offset = offset});
  Device& b = world.device("B");
  world.step(fmt::format("the clock of device A is a year {}; A and B write the same tables in turns", word));
  for (int round = 0; round < 3; ++round) {
    a.write(8);
    world.expect(a.sync().has_value(), "A syncs");
    b.write(8);
    world.expect(b.sync().has_value(), "B syncs");
  }
  const auto days = [](std::int64_t milliseconds) { return milliseconds / 86'400'000; };
  const std::int64_t skew = a.status().clock_skew_ms;
  world.expect(std::abs(days(skew)) >= 364 && (skew < 0) == (offset.count() > 0),
               fmt::format("A has learned from the server that its clock is {} days off, and corrects it",
                           std::abs(days(skew))));
  world.converge();
}
void clock_ahead(World& world) { clock_off(world, kYear, "ahead"); }
void clock_behind(World& world) { clock_off(world, -kYear, "behind"); }

void full_disk_device(World& world) {
  Device& a = world.device("A", {.user = "ann", .owner = "org"});
  Process app = a.client({"mutate", "-", "--json"});
  const auto write = [&](const std::string& id) {
    app.write(fmt::format("addNote {{\"id\":\"{}\",\"body\":\"x\"}}\n", id));
    return app.next_line();
  };
  const auto take = [&](const std::optional<std::string>& line) {
    const auto answer = line ? parse_json(*line) : Result<json::value>(failure(ErrorCode::io_error, ""));
    const auto id = answer ? string_member(*answer, "clientMutationId") : std::nullopt;
    if (id) a.acknowledged(std::string(*id));
    return id.has_value();
  };
  world.expect(take(write("before")), "the app writes a note");
  world.step("no file of the app may grow any more: the device's disk is full");
  app.limit_files(1);
  world.expect(!take(write("full")), "the app is told that the note was not written");
  app.kill();
  world.step("there is room again, and the app starts anew");
  Process again = a.client({"mutate", "addNote", R"({"id":"after","body":"x"})", "--json"});
  world.expect(again.wait() == 0 && take(again.out()), "it writes a note");
  world.converge();
  world.expect(a.value("SELECT group_concat(id) FROM (SELECT id FROM notes ORDER BY id)") == "after,before",
               "what was acknowledged is there, and nothing else");
}

void clone_of_a_device(World& world) {
  Device& a = world.device("A");
  a.write(10);
  world.expect(a.sync().has_value(), "A is in sync");
  a.write(6);
  world.step(
      "A's file is copied to another device (a restored phone backup) with 6 mutations pending in both; both go on");
  Device& copy = a.clone("copy of A");
  a.write(5);
  copy.write(5);
  world.expect(a.sync().has_value(), "A pushes");
  (void)copy.sync();
  a.write(3);
  copy.write(3);
  world.converge();
  world.expect(a.status().client_id != copy.status().client_id, "the copy has become a device of its own");
}

void upgrade_with_pending_work(World& world) {
  World::State& state = world.state();
  const auto next = state.surroundings.examples->find("shop_2");
  if (next == state.surroundings.examples->end())
    state.end("the example domain \"shop_2\" is not beside this binary; `make build` makes it");
  const DeviceOptions ann{.user = "ann", .owner = "org"};
  Device& a = world.device("A", ann);
  Device& b = world.device("B", ann);
  a.write(10);
  world.expect(a.sync().has_value() && b.sync().has_value(), "two devices with version 1 of the app are in sync");
  a.write(8);
  b.write(4);
  world.step(
      "A has 8 mutations pending, B 4; the server gets version 2, with a column and a table more and other arguments");
  world.server().stop();
  a.close();
  state.adopt(next->second);
  world.command({"migrate"});
  world.server().start();
  world.expect(b.sync().has_value(), "B, still version 1, syncs with the new server");
  world.step("the app on A is upgraded with its work pending, then B's");
  a.write(5);
  world.expect(a.sync().has_value(), "A syncs");
  b.close();
  b.write(5);
  world.converge();
  world.expect(world.value("SELECT count(*) FROM tasks") != "0", "the tasks of both versions are on the server");
}

}  // namespace

std::vector<Scenario> device_scenarios() {
  return {
      {.name = "garbage-cursor", .what = "a device sends cursors that mean nothing", .run = garbage_cursor},
      {.name = "crash-during-flush",
       .what = "apps are killed while they write and while they push",
       .domain = "notes",
       .run = crash_during_flush},
      {.name = "two-device-soak",
       .what = "two devices, a bad network and a server that restarts, for long",
       .run = two_device_soak},
      {.name = "token-expiry-offline",
       .what = "a token expires while the device is offline",
       .run = token_expiry_offline},
      {.name = "clock-a-year-ahead", .what = "a device's clock is a year ahead", .run = clock_ahead},
      {.name = "clock-a-year-behind", .what = "a device's clock is a year behind", .run = clock_behind},
      {.name = "full-disk-device",
       .what = "the device's disk is full for a while",
       .domain = "notes",
       .run = full_disk_device},
      {.name = "clone-of-a-device", .what = "a device's file is copied to another one", .run = clone_of_a_device},
      {.name = "upgrade-of-the-app-with-pending-work",
       .what = "the app and the server are upgraded while work is pending",
       .domain = "shop_1",
       .run = upgrade_with_pending_work},
  };
}

}  // namespace nizhal::chaos
