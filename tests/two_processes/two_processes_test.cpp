// Two handles on one store file, in two processes or in one, against a real server (S8).
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "tests/two_processes/world.hpp"

namespace nizhal::testing {
namespace {

using TwoProcesses = ServerWorld;

std::string note(std::string_view id) { return fmt::format(R"({{"id":"{}","body":"b"}})", id); }
std::string add(std::string_view id) { return "mutate addNote " + note(id); }

constexpr const char* kCount = "SELECT count(*) FROM notes";

/// Goes online, and has the role to sync or stands by when that is told.
enum class Role { syncs, stands_by };
::testing::AssertionResult is_online_and(Role role, DeviceProcess& device) {
  if (const std::string said = device.ask("online"); said != "online") return ::testing::AssertionFailure() << said;
  const std::string said = device.ask(role == Role::syncs ? "until-online" : "until-standby yes");
  return said == "yes" ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << said;
}

/// Opens a store in this process.
Store open_here(const std::string& file, const std::string& url, bool online = true) {
  auto store = open_store({.path = file,
                           .domain = gated_notes(),
                           .actor = {.user_id = "u1", .owner_id = "o1"},
                           .server = url,
                           .token = [] { return token_of("u1", "o1"); },
                           .start_online = online});
  EXPECT_TRUE(store) << store.error().message;
  return std::move(*store);
}

TEST_F(TwoProcesses, OneSyncsTheOtherSeesItAndIsPushedForAndTakesOver) {
  DeviceProcess holder(folder.file("a.db"), url);
  ASSERT_TRUE(is_online_and(Role::syncs, holder));
  DeviceProcess standby(folder.file("a.db"), url);
  ASSERT_TRUE(is_online_and(Role::stands_by, standby));

  // What the holder pulls is seen by the standby.
  DeviceProcess elsewhere(folder.file("c.db"), url);
  ASSERT_EQ(elsewhere.ask(add("theirs")).find("error"), std::string::npos);
  ASSERT_EQ(elsewhere.ask("sync"), "applied 1 rejected 0 pulled 1 pending 0");
  EXPECT_EQ(standby.ask(fmt::format("until 1 {}", kCount)), "yes");

  // What the standby writes is pushed by the holder, and the standby learns what became of it.
  ASSERT_EQ(standby.ask(add("mine")).find("error"), std::string::npos);
  ASSERT_EQ(standby.ask(R"(mutate addNote {"id":"bad","body":"reject"})").find("error"), std::string::npos);
  EXPECT_EQ(standby.ask("until-pending 0"), "yes");
  EXPECT_EQ(standby.ask("until 1 SELECT count(*) FROM nizhal_dead_letter"), "yes");
  EXPECT_EQ(standby.ask("sql SELECT count(*) FROM notes"), "2");
  EXPECT_EQ(notes_there(), (std::vector<std::string>{"mine", "theirs"}));

  // A holder that goes offline gives the role up; it has it again when the other ends.
  ASSERT_EQ(holder.ask("offline"), "offline");
  ASSERT_EQ(standby.ask("until-standby no"), "yes");
  ASSERT_EQ(standby.ask("until-online"), "yes");
  ASSERT_TRUE(is_online_and(Role::stands_by, holder));
  standby.quit();
  ASSERT_EQ(holder.ask("until-standby no"), "yes");
  ASSERT_EQ(holder.ask(add("last")).find("error"), std::string::npos);
  EXPECT_EQ(holder.ask("until-pending 0"), "yes");
  EXPECT_EQ(notes_there().size(), 3U);
  expect_nothing_doubled();
}

TEST_F(TwoProcesses, LiveQueriesInBothAreToldOfWhatEitherWritesAndOfWhatIsPulled) {
  DeviceProcess holder(folder.file("a.db"), url);
  DeviceProcess standby(folder.file("a.db"), url);
  for (DeviceProcess* device : {&holder, &standby}) {
    ASSERT_EQ(device->ask(std::string("live ") + kCount), "live");
    ASSERT_EQ(device->ask("until-live 0"), "yes");
  }
  ASSERT_EQ(holder.ask(add("n1")).find("error"), std::string::npos);
  for (DeviceProcess* device : {&holder, &standby}) EXPECT_EQ(device->ask("until-live 1"), "yes");
  ASSERT_EQ(standby.ask(add("n2")).find("error"), std::string::npos);
  for (DeviceProcess* device : {&holder, &standby}) EXPECT_EQ(device->ask("until-live 2"), "yes");

  ASSERT_TRUE(is_online_and(Role::syncs, holder));
  DeviceProcess elsewhere(folder.file("c.db"), url);
  ASSERT_EQ(elsewhere.ask(add("theirs")).find("error"), std::string::npos);
  ASSERT_EQ(elsewhere.ask("sync").find("error"), std::string::npos);
  for (DeviceProcess* device : {&holder, &standby}) EXPECT_EQ(device->ask("until-live 3"), "yes");
  // A refusal that the holder learns takes the row away in both.
  ASSERT_EQ(standby.ask(R"(mutate addNote {"id":"bad","body":"reject"})").find("error"), std::string::npos);
  for (DeviceProcess* device : {&holder, &standby}) EXPECT_EQ(device->ask("until-pending 0"), "yes");
  for (DeviceProcess* device : {&holder, &standby}) EXPECT_EQ(device->ask("until-live 3"), "yes");
}

/// What a `many` acknowledged: client mutation ids in order.
std::vector<std::string> acknowledged(const std::string& out, const std::string& prefix) {
  std::vector<std::string> ids;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) {
    // A killed process may have written a part of its last line only.
    std::istringstream words(line);
    std::string made, id, client_mutation_id;
    words >> made >> id >> client_mutation_id;
    if (made == "made" && id.starts_with(prefix + "-") && client_mutation_id.size() == 36)
      ids.push_back(client_mutation_id);
  }
  return ids;
}

TEST_F(TwoProcesses, BothWriteAndTheHolderIsKilledInTheMiddleOfAPushNothingIsLostOrDoubledAndTheOrderIsKept) {
  DeviceProcess holder(folder.file("a.db"), url);
  ASSERT_TRUE(is_online_and(Role::syncs, holder));
  DeviceProcess standby(folder.file("a.db"), url);
  ASSERT_TRUE(is_online_and(Role::stands_by, standby));

  gate.close_after(150);
  holder.tell("many a 500");
  standby.tell("many b 500");
  ASSERT_TRUE(gate.wait_until_reached(kPatience));
  holder.kill();
  gate.open();

  ASSERT_TRUE(standby.process().wait_for_line("done", kPatience)) << standby.process().out();
  EXPECT_EQ(standby.ask("until-pending 0"), "yes");
  const auto first = acknowledged(holder.process().out(), "a");
  const auto second = acknowledged(standby.process().out(), "b");
  EXPECT_EQ(second.size(), 500U);
  EXPECT_GE(first.size() + second.size(), 500U);
  std::cout << first.size() << " acknowledged by the killed process, " << second.size() << " by the other\n";

  const std::vector<std::string> ran = runs();
  std::map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < ran.size(); ++i) place[ran[i]] = i;
  EXPECT_EQ(place.size(), ran.size()) << "something ran twice";
  for (const auto* ids : {&first, &second}) {
    for (std::size_t i = 0; i < ids->size(); ++i) {
      ASSERT_TRUE(place.contains((*ids)[i])) << (*ids)[i] << " was acknowledged and is lost";
      if (i > 0) {
        EXPECT_LT(place[(*ids)[i - 1]], place[(*ids)[i]]);
      }
    }
  }
  // A mutation that was committed and not yet acknowledged when the kill struck may be there as well.
  EXPECT_LE(ran.size(), first.size() + second.size() + 1);
  EXPECT_EQ(on_server(kCount), std::vector<std::string>{std::to_string(ran.size())});
  EXPECT_EQ(standby.ask(std::string("sql ") + kCount), std::to_string(ran.size()));
  EXPECT_EQ(standby.ask("sql SELECT count(*) FROM nizhal_dead_letter"), "0");
  EXPECT_EQ(on_server("SELECT count(*) FROM nizhal_client"), std::vector<std::string>{"1"}) << "one device, one id";
}

TEST_F(TwoProcesses, AStandbyThatIsKilledChangesNothingForTheHolder) {
  DeviceProcess holder(folder.file("a.db"), url);
  ASSERT_TRUE(is_online_and(Role::syncs, holder));
  DeviceProcess standby(folder.file("a.db"), url);
  ASSERT_TRUE(is_online_and(Role::stands_by, standby));
  standby.tell("many b 100000");
  ASSERT_TRUE(standby.process().wait_for_line("made b-50 ", kPatience));
  standby.kill();
  const auto ids = acknowledged(standby.process().out(), "b");
  ASSERT_EQ(holder.ask(add("after")).find("error"), std::string::npos);
  EXPECT_EQ(holder.ask("until-pending 0"), "yes");
  const auto ran = runs();
  for (const std::string& id : ids) EXPECT_TRUE(std::find(ran.begin(), ran.end(), id) != ran.end()) << id;
  expect_nothing_doubled();
}

TEST_F(TwoProcesses, ASyncNowOfTheStandbyIsDoneByTheHolderOrByItselfWhenThatIsKilled) {
  DeviceProcess holder(folder.file("a.db"), url);
  ASSERT_TRUE(is_online_and(Role::syncs, holder));
  DeviceProcess standby(folder.file("a.db"), url);  // stays offline: it wants the network for its syncs only
  ASSERT_EQ(standby.ask(add("n1")).find("error"), std::string::npos);
  std::string report = standby.ask("sync");
  EXPECT_NE(report.find("pending 0"), std::string::npos) << report;
  EXPECT_EQ(notes_there(), std::vector<std::string>{"n1"});

  // The terminal works beside a running app, too.
  const ClientCommand terminal{"notes", folder.file("a.db"), url, token_of("u1", "o1")};
  ASSERT_EQ(terminal.run({"mutate", "addNote", note("n2")}).status.code, 0);
  const Finished synced = terminal.run({"sync", "--json"});
  EXPECT_EQ(synced.status.code, 0) << synced.err;
  EXPECT_NE(synced.out.find("\"pending\":0"), std::string::npos) << synced.out;
  EXPECT_EQ(notes_there(), (std::vector<std::string>{"n1", "n2"}));

  // The holder is killed while it does what the standby asked for.
  gate.close_after(0);
  ASSERT_EQ(standby.ask(R"(mutate addNoteThroughGate {"id":"n3","body":"b"})").find("error"), std::string::npos);
  standby.tell("sync");
  ASSERT_TRUE(gate.wait_until_reached(kPatience));
  holder.kill();
  gate.open();
  report = standby.next_line();
  EXPECT_NE(report.find("pending 0"), std::string::npos) << report;
  EXPECT_EQ(notes_there().size(), 3U);
  expect_nothing_doubled();
}

TEST_F(TwoProcesses, TwoHandlesInOneProcessExcludeEachOtherToo) {
  Store first = open_here(folder.file("a.db"), url);
  ASSERT_TRUE(first.sync_now());
  {
    Store second = open_here(folder.file("a.db"), url);
    ASSERT_TRUE(second.mutate_json("addNote", note("n1")));
    const auto report = second.sync_now(kPatience);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(second.status().standby);
    EXPECT_FALSE(first.status().standby);
    EXPECT_EQ(notes_there(), std::vector<std::string>{"n1"});
    first.set_online(false);
    ASSERT_TRUE(first.mutate_json("addNote", note("n2")));
    ASSERT_TRUE(second.sync_now(kPatience));
    EXPECT_EQ(second.status().pending, 0U);
  }
  ASSERT_TRUE(first.sync_now());
  EXPECT_EQ(first.status().pending, 0U);
  EXPECT_EQ(notes_there(), (std::vector<std::string>{"n1", "n2"}));
}

TEST_F(TwoProcesses, AnotherActorCannotPullTheFileFromUnderARunningProcess) {
  DeviceProcess running(folder.file("a.db"), url);
  ASSERT_EQ(running.ask(add("n1")).find("error"), std::string::npos);
  StoreOptions options{.path = folder.file("a.db"),
                       .domain = gated_notes(),
                       .actor = {.user_id = "u2", .owner_id = "o2"},
                       .server = url,
                       .other_actor = OtherActor::Archive,
                       .start_online = false};
  const auto refused = open_store(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::busy) << refused.error().message;
  EXPECT_EQ(running.ask(std::string("sql ") + kCount), "1");
  ASSERT_EQ(running.ask(add("n2")).find("error"), std::string::npos);
  running.quit();
  const auto opened = open_store(options);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->status().pending, 0U);
}

}  // namespace
}  // namespace nizhal::testing
