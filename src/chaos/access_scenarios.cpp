// Refusals, memberships that come and go, and invariants that only the server can know.
#include <fmt/format.h>

#include "base/json.hpp"
#include "chaos/scenarios.hpp"
#include "chaos/world_state.hpp"

namespace nizhal::chaos {
namespace {

void poison_mutation(World& world) {
  Device& a = world.device("A", {.user = "ann", .owner = "org"});
  a.mutate("addNote", R"({"id":"old","body":"as it was"})");
  world.expect(a.sync().has_value(), "A is in sync");
  world.step(
      "device A writes a note that the server will refuse, two and an edit that depend on it, and five that do not");
  const std::string poison = a.mutate("addNote", R"({"id":"poison","body":"reject"})");
  const std::string second = a.mutate("addNote", R"({"id":"second","body":"b"})", {.depends_on = {poison}});
  a.mutate("addNote", R"({"id":"third","body":"c"})", {.depends_on = {second}});
  a.mutate("editNote", R"({"id":"old","body":"changed"})", {.depends_on = {poison}});
  for (int i = 0; i < 5; ++i) a.mutate("addNote", fmt::format(R"({{"id":"good-{}","body":"fine"}})", i));
  world.expect(a.value("SELECT count(*) FROM notes") == "9", "offline all of it is shown");
  const auto report = a.sync();
  world.expect(report && report->rejected >= 1, "the server refuses the first");
  const auto letters = a.dead_letters();
  world.expect(letters.size() == 4, "it and the three that depend on it are dead letters");
  bool names_cause = true;
  for (const DeadLetter& letter : letters)
    names_cause = names_cause &&
                  (letter.client_mutation_id == poison || (!letter.chain.empty() && letter.chain.back() == poison) ||
                   (!letter.chain.empty() && letter.chain.front() == poison));
  world.expect(names_cause, "each says which refusal it goes back to");
  world.expect(
      a.value("SELECT count(*) FROM notes") == "6" && a.value("SELECT body FROM notes WHERE id = 'old'") == "as it was",
      "what they had shown is rolled back, the others stay");
  world.converge();
}

void team_of_two(World& world, Device& ann, Device& bob) {
  ann.mutate("createTeam", R"({"team_id":"t1"})");
  world.expect(ann.sync().has_value(), "ann has opened a team");
  ann.mutate("addTeamMember", R"({"id":"m-bob","user_id":"bob","team_id":"t1"})");
  for (int i = 0; i < 5; ++i)
    ann.mutate("addTeamNote", fmt::format(R"({{"id":"tn-{}","team_id":"t1","body":"team {}"}})", i, i));
  world.expect(ann.sync().has_value() && bob.sync().has_value(), "bob is in it, and both are in sync");
  world.expect(bob.value("SELECT count(*) FROM team_notes") == "5", "bob has the five notes of the team");
}

void revoked_membership(World& world) {
  Device& ann = world.device("ann's", {.user = "ann", .owner = "a"});
  Device& bob = world.device("bob's", {.user = "bob", .owner = "b"});
  team_of_two(world, ann, bob);
  world.step("bob goes offline and edits a note of the team; ann takes him out of it meanwhile");
  bob.mutate("editTeamNote", R"({"id":"tn-0","body":"bob was here"})");
  bob.mutate("addNote", R"({"id":"own","body":"bob's own"})");
  ann.mutate("removeTeamMember", R"({"user_id":"bob","team_id":"t1"})");
  ann.mutate("addTeamNote", R"({"id":"secret","team_id":"t1","body":"not for bob"})");
  ann.mutate("editTeamNote", R"({"id":"tn-0","body":"this is not for bob either"})");
  world.expect(ann.sync().has_value(), "ann pushes");
  bob.network().forget();
  world.expect(bob.sync().has_value(), "bob comes back");
  world.expect(bob.value("SELECT count(*) FROM team_notes") == "0", "nothing of the team is left on bob's device");
  world.expect(bob.dead_letters().size() == 1, "his edit is a dead letter");
  bool leaked = false;
  for (const auto& exchange : bob.network().exchanges())
    leaked = leaked || exchange.answer.find("not for bob") != std::string::npos;
  world.expect(!leaked, "no byte of what was written after he left reached his device, not in the refusal either");
  world.expect(bob.value("SELECT count(*) FROM notes WHERE id = 'own'") == "1", "his own note is there");
  world.converge();
}

void moved_out_of_reach(World& world) {
  Device& ann = world.device("ann's", {.user = "ann", .owner = "a"});
  Device& bob = world.device("bob's", {.user = "bob", .owner = "b"});
  ann.mutate("createTeam", R"({"team_id":"t2"})");
  team_of_two(world, ann, bob);
  world.step("while bob is offline, ann moves three notes to a team of her own, and one of them back");
  for (const char* id : {"tn-1", "tn-2", "tn-3"})
    ann.mutate("moveTeamNote", fmt::format(R"({{"id":"{}","team_id":"t2"}})", id));
  world.expect(ann.sync().has_value(), "ann pushes");
  ann.mutate("moveTeamNote", R"({"id":"tn-3","team_id":"t1"})");
  ann.mutate("editTeamNote", R"({"id":"tn-1","body":"not for bob"})");
  world.expect(ann.sync().has_value(), "ann pushes");
  bob.network().forget();
  world.expect(bob.sync().has_value(), "bob comes back");
  world.expect(bob.value("SELECT group_concat(id) FROM (SELECT id FROM team_notes ORDER BY id)") == "tn-0,tn-3,tn-4",
               "bob has what is in his team, and not the two that were moved away");
  world.converge();
}

void refusal_gets_lost(World& world) {
  const DeviceOptions options{.user = "ann", .owner = "org", .online = true};
  Device& a = world.device("A", options);
  Device& b = world.device("B", {.user = "ann", .owner = "org"});
  a.set_online(true);
  world.wait_until("device A is connected", [&] { return a.network().open_sockets() == 1; });
  world.step(
      "device A writes a note that the server refuses; four times the answer gets lost, while B writes and A pulls");
  a.network().fault("/sync/push", Fault::lose_reply, 4);
  const std::string poison = a.mutate("addNote", R"({"id":"poison","body":"reject"})");
  for (std::size_t lost = 1; lost <= 4; ++lost) {
    world.wait_until("the answer got lost", [&] { return a.network().hits(Fault::lose_reply) >= lost; });
    b.mutate("addNote", fmt::format(R"({{"id":"b-{}","body":"b"}})", lost));
    world.expect(b.sync().has_value(), "B pushes, and A is told to pull");
  }
  world.wait_until("A has what B wrote", [&] { return a.value("SELECT count(*) FROM notes WHERE body = 'b'") == "4"; });
  world.converge();
  const auto letters = a.dead_letters();
  world.expect(letters.size() == 1 && letters[0].client_mutation_id == poison && letters[0].code == "refused_body",
               "A has heard of the refusal, once, and why");
}

void gained_membership_lost_reply(World& world) {
  Device& ann = world.device("ann's", {.user = "ann", .owner = "a"});
  Device& bob = world.device("bob's", {.user = "bob", .owner = "b"});
  bob.mutate("addNote", R"({"id":"own","body":"bob's own"})");
  world.expect(bob.sync().has_value(), "bob is in sync");
  ann.mutate("createTeam", R"({"team_id":"t1"})");
  world.expect(ann.sync().has_value(), "ann has opened a team");
  for (int i = 0; i < 30; ++i)
    ann.mutate("addTeamNote", fmt::format(R"({{"id":"tn-{}","team_id":"t1","body":"team"}})", i));
  ann.mutate("addTeamMember", R"({"id":"m-bob","user_id":"bob","team_id":"t1"})");
  world.expect(ann.sync().has_value(), "ann takes bob into a team that has 30 notes already");
  world.step("the replies of the next three pulls of bob, which bring him the team, get lost or end in the middle");
  bob.network().fault("/sync/pull", Fault::lose_reply, 2);
  bob.network().fault("/sync/pull", Fault::truncate_reply);
  for (int round = 0; round < 3; ++round) (void)bob.sync();
  ann.mutate("editTeamNote", R"({"id":"tn-7","body":"edited meanwhile"})");
  ann.mutate("deleteTeamNote", R"({"id":"tn-8"})");
  world.expect(ann.sync().has_value(), "ann goes on writing");
  world.step("bob's replies arrive again");
  world.expect(bob.sync().has_value(), "bob syncs");
  world.expect(bob.value("SELECT count(*) FROM team_notes") == "29", "bob has every note of the team");
  world.expect(bob.value("SELECT body FROM team_notes WHERE id = 'tn-7'") == "edited meanwhile", "as they are now");
  world.converge();
}

void shop_with_customer(World& world, Device& device) {
  device.mutate("createShop", R"({"id":"s1","name":"Corner shop"})");
  device.mutate("addCustomer", R"({"id":"c1","shop_id":"s1","name":"Bakery"})");
  world.expect(device.sync().has_value(), "there is a shop with a customer");
}

std::vector<Device*> tills_with_item(World& world, std::string_view quantity) {
  const DeviceOptions ann{.user = "ann", .owner = "org"};
  std::vector<Device*> tills;
  for (const char* name : {"till 1", "till 2", "till 3", "till 4"}) tills.push_back(&world.device(name, ann));
  tills[0]->mutate("addItem", fmt::format(R"({{"id":"i1","name":"flour","quantity":"{}"}})", quantity));
  for (Device* till : tills)
    world.expect(till->sync().has_value(), fmt::format("{} sees that {} are left", till->name(), quantity));
  return tills;
}

void expect_quantity(World& world, const std::vector<Device*>& tills, const std::string& quantity) {
  world.expect(world.value("SELECT quantity FROM items") == quantity, fmt::format("{} are left", quantity));
  for (Device* till : tills)
    world.expect(till->value("SELECT quantity FROM items") == quantity,
                 fmt::format("{} shows {}", till->name(), quantity));
}

void concurrent_stock_race(World& world) {
  const auto tills = tills_with_item(world, "100");
  world.step("four tills each take 40 of the 100 while offline, then all come back at once");
  for (Device* till : tills) till->mutate("take", R"({"item_id":"i1","amount":"40"})");
  for (Device* till : tills) till->set_online(true);
  world.wait_until("every till has heard what became of it", [&] {
    for (Device* till : tills)
      if (till->status().pending > 0) return false;
    return true;
  });
  std::size_t refused = 0;
  for (Device* till : tills) refused += till->dead_letters().size();
  world.expect(refused == 2, "two of them got it, two were refused and know why");
  world.converge();
  expect_quantity(world, tills, "20");
}

void counted_once(World& world) {
  const auto tills = tills_with_item(world, "100000");
  world.step(
      "four tills take from one number 25 times each, while every push of one arrives twice, replies to the second get "
      "lost, the third one's arrive in halves, and the server is killed under all of them");
  std::int64_t left = 100'000;
  tills[0]->network().fault("/sync/push", Fault::duplicate, kAllRequests);
  for (int round = 0; round < 25; ++round) {
    if (round % 4 == 0) tills[1]->network().fault("/sync/push", Fault::lose_reply);
    if (round % 4 == 1) tills[2]->network().fault("/sync/push", Fault::truncate_reply);
    for (Device* till : tills) {
      const auto amount = static_cast<std::int64_t>(1 + world.draw(50));
      till->mutate("take", fmt::format(R"({{"item_id":"i1","amount":"{}"}})", amount));
      left -= amount;
      if (round % 3 == 0) (void)till->sync();
    }
    if (round == 12) {
      for (Device* till : tills) till->set_online(true);
      world.server().kill();
      world.server().start();
    }
  }
  world.converge();
  expect_quantity(world, tills, std::to_string(left));
}

void ledger_folds(World& world) {
  const DeviceOptions ann{.user = "ann", .owner = "org"};
  std::vector<Device*> devices;
  for (const char* name : {"A", "B", "C"}) devices.push_back(&world.device(name, ann));
  shop_with_customer(world, *devices[0]);
  for (Device* device : devices)
    world.expect(device->sync().has_value(), fmt::format("{} has the customer", device->name()));
  world.step("three devices append 40 credits each at once, online, while replies get lost");
  std::int64_t sum = 0;
  for (Device* device : devices) {
    device->network().fault("/sync/push", Fault::lose_reply, 2);
    device->set_online(true);
  }
  for (int i = 0; i < 40; ++i) {
    for (Device* device : devices) {
      const auto amount = static_cast<std::int64_t>(1 + world.draw(500));
      sum += amount;
      device->mutate("recordCredit",
                     fmt::format(R"({{"id":"{}-{}","customer_id":"c1","amount":"{}"}})", device->name(), i, amount));
    }
  }
  world.converge();
  const std::string expected = std::to_string(sum);
  world.expect(world.value("SELECT sum(amount) FROM ledger_entries") == expected,
               fmt::format("the server's fold is the sum of all that was appended, {}", expected));
  for (Device* device : devices)
    world.expect(device->value("SELECT sum(amount) FROM ledger_entries") == expected,
                 fmt::format("so is {}'s", device->name()));
}

void delete_and_recreate(World& world) {
  const DeviceOptions ann{.user = "ann", .owner = "org"};
  Device& a = world.device("A", ann);
  Device& b = world.device("B", ann);
  a.mutate("addNote", R"({"id":"n","body":"first"})");
  world.expect(a.sync().has_value() && b.sync().has_value(), "both have the note");
  world.step(
      "A deletes the note and creates it again under the same id, with lost replies in between; B edits it offline");
  b.mutate("editNote", R"({"id":"n","body":"edited by B"})");
  for (int round = 0; round < 3; ++round) {
    a.network().fault("/sync/push", Fault::lose_reply);
    a.mutate("deleteNote", R"({"id":"n"})");
    (void)a.sync();
    a.mutate("addNote", fmt::format(R"({{"id":"n","body":"again {}"}})", round));
    (void)a.sync();
    if (round == 1) {
      world.expect(b.sync().has_value(), "B pushes its edit in between");
      b.mutate("deleteNote", R"({"id":"n"})");
      b.mutate("addNote", R"({"id":"n","body":"made anew by B"})");
    }
  }
  world.converge();
  world.expect(world.value("SELECT count(*) FROM notes WHERE id = 'n'") == "1" &&
                   a.value("SELECT count(*) FROM notes") == "1" && b.value("SELECT count(*) FROM notes") == "1",
               "there is one note of that id, everywhere the same");
}

}  // namespace

std::vector<Scenario> access_scenarios() {
  return {
      {.name = "poison-mutation",
       .what = "the server refuses a mutation that others depend on",
       .domain = "notes",
       .run = poison_mutation},
      {.name = "revoked-membership",
       .what = "somebody loses access while offline",
       .domain = "notes",
       .run = revoked_membership},
      {.name = "moved-out-of-reach",
       .what = "rows move to where somebody may not see them",
       .domain = "notes",
       .run = moved_out_of_reach},
      {.name = "refusal-gets-lost",
       .what = "the answer that tells of a refusal gets lost",
       .domain = "notes",
       .run = refusal_gets_lost},
      {.name = "gained-membership-lost-reply",
       .what = "somebody gains access and the replies that bring it get lost",
       .domain = "notes",
       .run = gained_membership_lost_reply},
      {.name = "concurrent-stock-race",
       .what = "several devices take from what is not enough for all",
       .domain = "stock",
       .run = concurrent_stock_race},
      {.name = "counted-once",
       .what = "everybody changes one number, and pushes arrive twice or seem to be lost",
       .domain = "stock",
       .run = counted_once},
      {.name = "ledger-folds-concurrent-appends",
       .what = "sums over what many append at once",
       .domain = "ledger",
       .run = ledger_folds},
      {.name = "delete-and-recreate",
       .what = "a row is deleted and made anew under the same id",
       .domain = "notes",
       .run = delete_and_recreate},
  };
}

}  // namespace nizhal::chaos
