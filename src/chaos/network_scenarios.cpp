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

}  // namespace

std::vector<Scenario> network_scenarios() {
  return {
      {.name = "partition-during-push",
       .what = "the network goes while a push is on its way",
       .run = partition_during_push},
      {.name = "lost-acknowledgement-storm",
       .what = "the server applies pushes whose replies get lost",
       .run = lost_acknowledgement_storm},
      {.name = "server-restart-mid-outbox",
       .what = "the server is killed while a device empties its outbox",
       .run = server_restart_mid_outbox},
  };
}

}  // namespace nizhal::chaos
