// What a network does to requests, replies and connections.
#include <fmt/format.h>

#include "chaos/scenarios.hpp"

namespace nizhal::chaos {
namespace {

constexpr std::chrono::milliseconds kPatience{120'000};

void partition_during_push(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  world.step("device A syncs, writes 30 mutations, and its network is cut while the push is on its way");
  a.write(5);
  world.expect(a.sync().has_value(), "with a network, A syncs");
  a.network().hold_after("/sync/push", 0);
  a.write(30);
  a.set_online(true);
  world.expect(a.network().wait_until_held(kPatience), "the push is on its way");
  a.network().cut();
  a.network().drop_held();
  world.step("A goes on writing without a network; B writes meanwhile");
  a.write(10);
  b.write(10);
  world.expect(b.sync().has_value(), "B is not affected");
  world.expect(a.status().pending > 0, fmt::format("A keeps {} mutations until it is back", a.status().pending));
  world.step("the network of A comes back");
  world.converge();
}

void lost_acknowledgement_storm(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  world.step("the server applies what A pushes, and the next 8 replies get lost with their connections");
  a.network().fault("/sync/push", Fault::lose_reply, 8);
  for (int round = 0; round < 8; ++round) {
    a.write(4);
    (void)a.sync();
  }
  b.write(10);
  world.expect(a.network().hits(Fault::lose_reply) >= 8, "8 replies were lost after the server had committed");
  world.step("replies arrive again");
  world.converge();
}

void delayed_push(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  world.step("the push of device A is held up on its way, while B writes and syncs three times");
  a.write(15);
  a.network().hold_after("/sync/push", 0);
  a.set_online(true);
  world.expect(a.network().wait_until_held(kPatience), "the push of A is on its way and does not arrive");
  for (int round = 0; round < 3; ++round) {
    b.write(8);
    world.expect(b.sync().has_value(), "B pushes and pulls as if nothing was");
  }
  a.write(5);
  world.step("the delayed push arrives after all");
  a.network().let_go();
  world.converge();
}

void dropped_realtime(World& world) {
  Device& a = world.device("A", {.online = true, .pull_interval = std::chrono::milliseconds(200)});
  Device& b = world.device("B");
  world.step("the network of device A refuses the WebSocket that would tell it of changes; it pulls every 200 ms");
  a.network().refuse_sockets(true);
  a.set_online(true);
  a.write(5);
  b.write(20);
  world.expect(b.sync().has_value(), "B pushes");
  world.wait_until("A has pushed what it wrote, without being told", [&] { return a.status().pending == 0; });
  const std::size_t pulls = a.network().pulls().size();
  world.wait_until("A goes on pulling by the clock", [&] { return a.network().pulls().size() >= pulls + 3; });
  world.expect(a.network().open_sockets() == 0, "no WebSocket was open");
  world.converge();
}

void duplicate_delivery(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  world.step("every push of A and B reaches the server twice");
  for (Device* device : {&a, &b}) device->network().fault("/sync/push", Fault::duplicate, kAllRequests);
  for (int round = 0; round < 3; ++round) {
    for (Device* device : {&a, &b}) {
      device->write(10);
      world.expect(device->sync().has_value(), fmt::format("{} syncs", device->name()));
    }
  }
  world.expect(a.network().hits(Fault::duplicate) >= 3, "each push of A arrived twice");
  world.step("the network delivers all old pushes of A once more, the last one first");
  const auto pushes = a.network().pushes();
  for (auto push = pushes.rbegin(); push != pushes.rend(); ++push)
    world.expect(a.network().replay(*push) != 0, "the server answers a push that it has had before");
  world.converge();
}

void interrupted_pull(World& world) {
  constexpr int kRows = 6'000;
  const DeviceOptions ann{.user = "ann", .owner = "org"};
  Device& a = world.device("A", ann);
  world.step(
      fmt::format("the server has {} notes; device A loses the network after two pages of its first pull", kRows));
  std::string script;
  for (int row = 0; row < kRows; ++row)
    script += fmt::format("{} ('n{}', 'org', 'body of note {}')",
                          row % 500 == 0 ? (row > 0 ? "; INSERT INTO notes(id, owner_id, body) VALUES"
                                                    : "INSERT INTO notes(id, owner_id, body) VALUES")
                                         : ",",
                          row, row);
  world.sql(script);
  a.network().hold_after_pulls(2);
  a.set_online(true);
  world.expect(a.network().wait_until_held(kPatience), "two pages arrived, the third is asked for");
  const std::string next = a.network().held_request();
  a.network().cut();
  a.network().drop_held();
  world.step("the app ends in the middle of it, and starts again later; meanwhile notes of the first page are edited");
  a.close();
  world.sql("UPDATE notes SET body = 'edited ' || id WHERE id LIKE 'n1%'");
  a.network().heal();
  a.network().forget();
  world.expect(a.sync().has_value(), "A completes the pull");
  const auto pulls = a.network().pulls();
  world.expect(pulls.size() <= 8,
               fmt::format("it went on where it was: {} pages instead of all of them", pulls.size()));
  world.expect(a.value("SELECT count(*) FROM notes") == std::to_string(kRows), "every note is there");
  world.step("while A is away again, all notes are edited, in many transactions");
  for (int part = 0; part < 10; ++part)
    world.sql(fmt::format("UPDATE notes SET body = body || '!' WHERE id LIKE '%{}'", part));
  a.network().forget();
  world.expect(a.sync().has_value(), "A pulls");
  world.expect(a.network().pulls().size() > 1, fmt::format("it took {} pages", a.network().pulls().size()));
  world.converge();
}

void truncated_replies(World& world) {
  Device& a = world.device("A");
  world.device("B").write(40);
  world.expect(world.device("B").sync().has_value(), "B pushes");
  world.step("the next 3 replies to pulls and 3 to pushes of device A are cut off in the middle");
  a.network().fault("/sync/pull", Fault::truncate_reply, 3);
  a.network().fault("/sync/push", Fault::truncate_reply, 3);
  a.write(10);
  for (int round = 0; round < 6; ++round) (void)a.sync();
  world.expect(a.network().hits(Fault::truncate_reply) == 6, "6 replies ended in the middle");
  world.converge();
}

void captive_portal(World& world) {
  Device& a = world.device("A");
  a.write(10);
  world.step("device A is in a network that answers every request with a web page and status 200");
  a.network().fault("", Fault::foreign_page, kAllRequests);
  for (int round = 0; round < 3; ++round) world.expect(!a.sync().has_value(), "A takes no page for an answer");
  world.expect(a.status().pending > 0, fmt::format("A keeps its {} mutations", a.status().pending));
  world.step("somebody accepts the terms");
  world.converge();
}

void half_open_connection(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  a.write(10);
  world.step("the connection of device A takes its push and is silent from then on, without ending");
  a.network().fault("/sync/push", Fault::swallow);
  a.set_online(true);
  world.wait_until("the push was swallowed", [&] { return a.network().hits(Fault::swallow) == 1; });
  a.write(5);
  b.write(10);
  world.expect(b.sync().has_value(), "B is served meanwhile");
  world.step("the silent connection ends at last");
  world.converge();
}

void slow_reader(World& world) {
  Device& a = world.device("A");
  Device& b = world.device("B");
  Device& c = world.device("C", {.online = true});
  c.set_online(true);
  world.wait_until("device C is connected", [&] { return c.network().open_sockets() == 1; });
  world.step(
      "device C stops reading what the server sends it; device B gets 40000 bytes per second; A writes 200 mutations");
  c.network().freeze();
  b.network().slow(40'000);
  for (int round = 0; round < 4; ++round) {
    a.write(50);
    world.expect(a.sync().has_value(), "A is served as if nothing was");
  }
  world.step("B pulls at its pace");
  b.network().forget();
  world.expect(b.sync().has_value(), "B gets everything, slowly");
  world.step("C reads again");
  world.converge();
}

}  // namespace

std::vector<Scenario> network_scenarios() {
  return {
      {.name = "partition-during-push",
       .what = "the network goes while a push is on its way",
       .run = partition_during_push},
      {.name = "delayed-push", .what = "a push arrives long after others wrote", .run = delayed_push},
      {.name = "dropped-realtime",
       .what = "no WebSocket comes through; pulls by the clock do",
       .run = dropped_realtime},
      {.name = "lost-acknowledgement-storm",
       .what = "the server applies pushes whose replies get lost",
       .run = lost_acknowledgement_storm},
      {.name = "duplicate-delivery",
       .what = "the network delivers pushes twice, and old ones again",
       .run = duplicate_delivery},
      {.name = "interrupted-pull",
       .what = "a long first pull is interrupted, and the app ends",
       .domain = "notes",
       .run = interrupted_pull},
      {.name = "truncated-replies", .what = "replies end in the middle", .run = truncated_replies},
      {.name = "captive-portal", .what = "a network answers everything with a web page", .run = captive_portal},
      {.name = "half-open-connection",
       .what = "a connection stays open and carries nothing",
       .run = half_open_connection},
      {.name = "slow-reader", .what = "devices that read slowly, or not at all, hold nobody up", .run = slow_reader},
  };
}

}  // namespace nizhal::chaos
