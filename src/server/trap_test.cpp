// Traps that another engine fell into, each with the test that keeps this one out, on every kind of database. (Frames:
// poker_test.cpp.)
#include <gtest/gtest.h>

#include <string>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

using std::chrono::milliseconds;

Sent stamped(World& world, std::string cmid, std::uint64_t mutation_id, milliseconds ahead, std::string client = "c1") {
  Sent sent{.name = "stampNote", .cmid = cmid, .id = cmid, .client = client, .mutation_id = mutation_id};
  sent.hlc = world.hlc_at(ahead, client);
  return sent;
}

class Trap : public ::testing::TestWithParam<BackendKind> {};
INSTANTIATE_TEST_SUITE_P(On, Trap, nizhal::testing::every_backend(), nizhal::testing::kind_name);

TEST_P(Trap, OneFarFutureClockDoesNotBlockOthers) {
  World world(GetParam());
  const Answer future = world.push("u1", {stamped(world, "far", 1, std::chrono::hours(24 * 365 * 100))});
  EXPECT_EQ(future.statuses(), "applied");
  EXPECT_EQ(future.number_of("clockSkewMs"), milliseconds(std::chrono::hours(24 * 365 * 100)).count());
  // Nobody's time moved: not the next mutation's of the same client, not another client's, not another actor's.
  EXPECT_EQ(world.push("u1", {stamped(world, "next", 2, milliseconds(0))}).statuses(), "applied");
  EXPECT_EQ(world.push("u1", {stamped(world, "other", 1, milliseconds(0), "c2")}).statuses(), "applied");
  EXPECT_EQ(world.push("u2", {stamped(world, "else", 1, milliseconds(0), "c3")}).statuses(), "applied");
  for (const char* id : {"far", "next", "other", "else"})
    EXPECT_TRUE(world.read(note_table.def(), id, "body").starts_with("\"2026-01-02T03:04:05.0")) << id;
}

TEST_P(Trap, ADeviceClockSixtyOneSecondsFastLosesNothing) {
  World world(GetParam());
  std::vector<Sent> mutations;
  for (std::uint64_t i = 1; i <= 5; ++i)
    mutations.push_back(stamped(world, "m" + std::to_string(i), i, std::chrono::seconds(61)));
  const Answer answer = world.push("u1", mutations);
  EXPECT_EQ(answer.statuses(), "applied applied applied applied applied");
  EXPECT_EQ(answer.number_of("clockSkewMs"), 61'000);
  const Answer plain = world.push_plain("u1", {stamped(world, "m6", 6, std::chrono::seconds(61))});
  EXPECT_EQ(plain.status, 200);
  EXPECT_EQ(plain.number_of("clockSkewMs"), 61'000);
}

TEST_P(Trap, StampsGivenToOneClientOnlyGoUp) {
  World world(GetParam());
  const auto last_stamp = [&] {
    const auto transaction = world.storage->write(world.clock.now());
    return (**(*transaction)->client("c1")).last_hlc;
  };
  std::string before;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    if (i == 10) world.clock.jump_wall(std::chrono::seconds(-30));  // the server's own clock is corrected
    ASSERT_EQ(world.push("u1", {stamped(world, "m" + std::to_string(i), i, std::chrono::hours(1))}).statuses(),
              "applied");
    EXPECT_GT(last_stamp(), before);
    before = last_stamp();
  }
  EXPECT_TRUE(before.starts_with("2026-01-02T03:04:05.000Z")) << before << ": the device's hour never got in";
}

TEST_P(Trap, APrunedTombstoneEndsNoBootstrapAndResetsNoQuietDevice) {
  World world(GetParam());
  for (int i = 0; i < 12; ++i) world.run("u1", "addNote", "n" + std::to_string(10 + i));
  Device quiet(world, "u1"), away(world, "u1");
  away.sync();
  for (int i = 0; i < 4; ++i) world.run("u1", "removeNote", "n" + std::to_string(10 + i));
  quiet.sync();
  world.clock.advance(std::chrono::hours(24 * 31));
  const auto report = world.server->gc();
  ASSERT_TRUE(report);
  ASSERT_GT(report->removals, 0U);
  // A paged bootstrap after the pruning ends, and without a reset.
  Device fresh(world, "u1");
  fresh.limit = 3;
  fresh.sync();
  EXPECT_EQ(fresh.answers.size(), 3U);
  for (const Answer& answer : fresh.answers) EXPECT_FALSE(answer.has("cursorReset"));
  EXPECT_EQ(fresh.rows, fresh.expected());
  // A device that had read everything goes on quietly; one that missed pruned tombstones starts afresh, once.
  for (int round = 0; round < 3; ++round) {
    quiet.sync();
    EXPECT_FALSE(quiet.answers[0].has("cursorReset"));
    EXPECT_EQ(quiet.answers[0].list("changed"), "");
  }
  away.sync();
  EXPECT_TRUE(away.answers[0].has("cursorReset"));
  EXPECT_EQ(away.rows, away.expected());
  away.sync();
  EXPECT_FALSE(away.answers[0].has("cursorReset"));
}

TEST_P(Trap, DeletingAndRecreatingAnIdWithinOnePageKeepsTheRow) {
  World world(GetParam());
  world.run("u1", "addNote", "n1", "", "old");
  Device device(world, "u1");
  device.sync();
  world.run("u1", "removeNote", "n1");
  world.run("u1", "addNote", "n1", "", "new");
  world.push("u1", {{.name = "removeNote", .cmid = "a", .id = "n1"},
                    {.name = "addNote", .cmid = "b", .id = "n1", .text = "newest"}});
  device.sync();
  EXPECT_EQ(device.ids("notes"), "n1");
  EXPECT_EQ(device.rows, device.expected());
  EXPECT_EQ(to_text(device.answers[0].body.at("tombstoned")), "[]");
}

TEST_P(Trap, ALostResponseLosesNeitherABucketsHistoryNorARevocation) {
  World world(GetParam());
  world.run("u1", "createTeam", "x", "a");
  for (int i = 0; i < 5; ++i) world.run("u1", "addDoc", "d" + std::to_string(i), "a");
  Device device(world, "u2");
  device.sync();
  world.run("u1", "addMember", "m2", "a", "u2");
  int lose = 3;
  device.lose_reply = [&] { return lose-- > 0; };
  device.sync();
  EXPECT_EQ(device.ids("docs"), "d0 d1 d2 d3 d4");
  world.run("u1", "removeMember", "m2");
  lose = 3;
  device.sync();
  EXPECT_EQ(device.answers[0].list("removedBuckets"), "team:a");
  EXPECT_EQ(device.ids("docs"), "");
}

TEST_P(Trap, ATransientSqlErrorInsideAMutatorIsNoRefusalAndLeaksNothing) {
  for (const char* call : {"get", "find", "insert", "grants"}) {
    World world(GetParam());
    world.run("u1", "createTeam", "x", "a");
    world.storage->plan = fail_call(call, ErrorCode::busy, 1000);
    const bool reads = std::string_view(call) == "find" || std::string_view(call) == "get";
    const Sent sent{.name = reads ? "lookAtDocs" : "addDoc",
                    .cmid = "m1",
                    .id = "d1",
                    .place = "a",
                    .client = "c1",
                    .mutation_id = 1};
    const Answer busy = world.push("u1", {sent});
    EXPECT_EQ(busy.statuses(), "retry:busy") << call;
    EXPECT_EQ(busy.text.find("SELECT"), std::string::npos);
    world.storage->plan = nullptr;
    const std::string after = world.push("u1", {sent}).statuses();
    EXPECT_EQ(after, reads ? "rejected:saw" : "applied") << call;
  }
}

TEST_P(Trap, PagingGoesByBytesAndKeepsEqualIdsOfTwoTablesApart) {
  World world(GetParam());
  world.run("u1", "createTeam", "x", "a");
  // Orders that differ between byte order and a dictionary's.
  const std::vector<std::string> ids = {"a", "B", "b", "A", "ä", "z", "Z", "_", "-", "10", "9", "é", "~", "aa", "a b"};
  for (const std::string& id : ids) {
    const Answer answer = world.push("u1", {{.name = "addNote", .cmid = "n" + id, .id = id},
                                            {.name = "addDoc", .cmid = "d" + id, .id = id, .place = "a"}});
    ASSERT_EQ(answer.statuses(), "applied applied");
  }
  for (const std::size_t limit : {1U, 2U, 3U, 7U}) {
    Device device(world, "u1");
    device.limit = limit;
    device.sync();
    EXPECT_EQ(device.rows, device.expected()) << "limit " << limit;
    for (const std::string& id : ids)  // one transaction for both tables
      world.push("u1", {{.name = "setNote", .cmid = "s" + id + std::to_string(limit), .id = id, .text = "x"},
                        {.name = "setDoc", .cmid = "t" + id + std::to_string(limit), .id = id, .text = "x"}});
    device.sync();
    EXPECT_EQ(device.rows, device.expected()) << "limit " << limit;
  }
}

TEST_P(Trap, AnotherActorCannotUseUpOrReadADevicesMutationIds) {
  World world(GetParam());
  world.push("u1", {{.name = "addNote", .cmid = "m1", .id = "a", .client = "c1", .mutation_id = 1}});
  for (const std::uint64_t id : {1U, 2U, 3U}) {
    const std::vector<Sent> attack = {{.name = "nizhal.skip", .cmid = "m1", .client = "c1", .mutation_id = id}};
    const Answer answer = world.push("u2", attack);
    EXPECT_EQ(answer.statuses(), "client_id_taken:client_id_taken");
    EXPECT_FALSE(answer.has("lastMutationId") || answer.has("clientSequences")) << answer.text;
    const Answer plain = world.push_plain("u2", attack);
    EXPECT_EQ(plain.status, 403);
    EXPECT_FALSE(plain.has("lastMutationId")) << plain.text;
  }
  const Answer pulled = world.pull("u2", R"({"deviceId":"c1"})");
  EXPECT_FALSE(pulled.has("lastMutationId") || pulled.has("lastClientMutationId")) << pulled.text;
  EXPECT_EQ(
      world.push("u1", {{.name = "addNote", .cmid = "m2", .id = "b", .client = "c1", .mutation_id = 2}}).statuses(),
      "applied");
}

TEST_P(Trap, AnOwnerChangeOfTheSameUserIsAnotherActor) {
  World world(GetParam());
  world.push("u1", {{.name = "addNote", .cmid = "m1", .id = "a", .client = "c1", .mutation_id = 1}});
  const std::string moved = token_for("u1", "o2", Timestamp{world.clock_now() + 60'000'000});
  const Answer answer = world.request(
      "POST", "/sync/push", moved,
      World::push_body({{.name = "addNote", .cmid = "m2", .id = "b", .client = "c1", .mutation_id = 2}}, true));
  EXPECT_EQ(answer.statuses(), "client_id_taken:client_id_taken");
}

TEST_P(Trap, TheDefaultPageIsNotEverythingAtOnce) {
  World world(GetParam());
  std::string script;
  for (int i = 0; i < 1'500; ++i)
    script += "INSERT INTO notes (id, owner_id, body) VALUES ('n" + std::to_string(i) + "', 'o1', 'x');";
  ASSERT_TRUE(world.storage->run_script(script));
  const Answer first = world.pull("u1");
  EXPECT_EQ(first.body.at("changed").get_array()[0].at("rows").get_array().size(), 1'000U);
  EXPECT_TRUE(first.body.at("hasMore").get_bool());
}

TEST_P(Trap, AnIdlePullWritesNothing) {
  World world(GetParam());
  world.run("u1", "addNote", "n1");
  Device device(world, "u1");
  device.sync();
  const std::size_t writes = world.storage->writes;
  const std::uint64_t version = world.last_version();
  const std::string written = world.backend->written();
  for (int i = 0; i < 20; ++i) device.sync();
  Device fresh(world, "u1");
  fresh.sync();
  EXPECT_EQ(world.storage->writes, writes);
  EXPECT_EQ(world.last_version(), version);
  EXPECT_EQ(world.backend->written(), written);
}

TEST_P(Trap, ARowThatLeavesAndComesBackIsNotRemoved) {
  World world(GetParam());
  world.run("u1", "createTeam", "x", "a");
  world.run("u1", "createTeam", "x", "b");
  world.run("u1", "addMember", "m2", "a", "u2");
  world.run("u1", "addDoc", "d1", "a");
  Device device(world, "u2");
  device.sync();
  world.run("u1", "moveDoc", "d1", "b");
  world.run("u1", "moveDoc", "d1", "a");
  device.limit = 1;
  device.sync();
  EXPECT_EQ(device.ids("docs"), "d1");
  // There and back inside one transaction, and deleted and made again elsewhere in between.
  world.push("u1", {{.name = "moveDoc", .cmid = "a1", .id = "d1", .place = "b"},
                    {.name = "removeDoc", .cmid = "a2", .id = "d1"},
                    {.name = "addDoc", .cmid = "a3", .id = "d1", .place = "a", .text = "again"}});
  device.sync();
  EXPECT_EQ(device.rows, device.expected());
}

/// Looks at the moment of the poke whether what it is about can be pulled.
class PullingPeer : public StreamPeer {
 public:
  PullingPeer(World& world, std::string user) : world_(world), user_(std::move(user)) {}
  void send(std::string frame) override {
    if (!frame.starts_with("repull:")) return;
    ++pokes;
    seen = world_.pull(user_).text;
  }
  void close(int, std::string_view) override {}
  std::size_t pokes = 0;
  std::string seen;  // with the last poke

 private:
  World& world_;
  const std::string user_;
};

StreamId open_stream(World& world, std::string_view user, std::shared_ptr<StreamPeer> peer) {
  const auto request = world.stream_request(user);
  auto ticket = world.server->authorize_stream(request);
  EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().body);
  return ticket ? world.server->open_stream(*ticket, std::move(peer)) : StreamId{};
}

TEST_P(Trap, APokeComesWhenItsRowIsVisibleAndOneAlwaysComes) {
  World world(GetParam());
  world.run("u1", "createTeam", "x", "a");
  world.run("u1", "addMember", "m2", "a", "u2");
  world.executor.run();
  world.server->tick();
  const auto peer = std::make_shared<PullingPeer>(world, "u2");
  open_stream(world, "u2", peer);
  world.run("u1", "addDoc", "pushed", "a");
  world.executor.run();
  EXPECT_EQ(peer->pokes, 1U);
  EXPECT_NE(peer->seen.find("pushed"), std::string::npos);

  // Another program has its version, is looked for many times, and commits then; others commit later versions first.
  const auto other = world.backend->other_program();
  other->run("BEGIN; INSERT INTO docs (id, team_id, title) VALUES ('slow', 'a', 'by hand')");
  const auto faster = world.backend->other_program();
  for (int i = 0; i < 5; ++i) {
    if (!world.backend->is_sqlite())  // which has one writer at a time
      faster->run("INSERT INTO docs (id, team_id, title) VALUES ('fast" + std::to_string(i) + "', 'a', 'by hand')");
    world.server->tick();
    EXPECT_EQ(peer->seen.find("slow"), std::string::npos);
  }
  const std::size_t pokes = peer->pokes;
  other->run("COMMIT");
  world.server->tick();
  EXPECT_GT(peer->pokes, pokes);
  EXPECT_NE(peer->seen.find("slow"), std::string::npos);
}

TEST_P(Trap, APushWaitsForNoFanOutAndTheFanOutAsksOnceForAllSockets) {
  World world(GetParam());
  world.run("u1", "createTeam", "x", "a");
  for (int i = 2; i <= 200; ++i) world.run("u1", "addMember", "m" + std::to_string(i), "a", "u" + std::to_string(i));
  world.executor.run();
  world.server->tick();
  class Silent : public StreamPeer {
   public:
    void send(std::string frame) override { pokes += frame == "repull:team:a" ? 1 : 0; }
    void close(int, std::string_view) override {}
    std::size_t pokes = 0;
  };
  const auto peer = std::make_shared<Silent>();
  for (int i = 1; i <= 200; ++i) open_stream(world, "u" + std::to_string(i), peer);
  world.executor.run();  // what opening them has to tell
  std::size_t marks = 0;
  world.storage->alter_mark = [&](storage::ChangeMark&) { ++marks; };
  const std::size_t snapshots = world.storage->snapshots, positions = world.storage->positions;
  EXPECT_EQ(world.push("u1", {{.name = "addDoc", .cmid = "p1", .id = "d1", .place = "a"}}).statuses(), "applied");
  EXPECT_EQ(peer->pokes, 0U) << "it is answered before anybody is poked";
  EXPECT_EQ(marks, 0U);
  const std::size_t pushed = world.storage->snapshots;
  world.executor.run();
  EXPECT_EQ(peer->pokes, 200U);
  EXPECT_LE(marks, 1U) << "none where the commit tells where the grants stand";
  EXPECT_EQ(world.storage->snapshots, pushed);
  EXPECT_EQ(pushed, snapshots);
  EXPECT_EQ(world.storage->positions, positions);
}

struct Item {
  std::string id, owner_id, text;
};
struct ColoredItem {
  std::string id, owner_id, text;
  std::optional<std::string> color;
};
struct Extra {
  std::string id, owner_id;
};
const auto extra_table = table<Extra>("extras").key("id", &Extra::id).column("owner_id", &Extra::owner_id);

Domain before_upgrade() {
  static const auto items =
      table<Item>("items").key("id", &Item::id).column("owner_id", &Item::owner_id).column("text", &Item::text);
  Domain d("app");
  d.add(items).add(extra_table);
  d.rule("mine").parameter("ownerId", actor::owner_id).data(items, eq("owner_id", "ownerId"));
  return d;
}

Domain after_upgrade() {
  static const auto items = table<ColoredItem>("items")
                                .key("id", &ColoredItem::id)
                                .column("owner_id", &ColoredItem::owner_id)
                                .column("text", &ColoredItem::text)
                                .column("color", &ColoredItem::color, default_value("red"));
  Domain d("app");
  d.add(items).add(extra_table);
  d.rule("mine")
      .parameter("ownerId", actor::owner_id)
      .data(items, eq("owner_id", "ownerId"))
      .data(extra_table, eq("owner_id", "ownerId"));
  return d;
}

Domain after_narrowing() {
  static const auto items = table<ColoredItem>("items")
                                .key("id", &ColoredItem::id)
                                .column("owner_id", &ColoredItem::owner_id)
                                .column("text", &ColoredItem::text)
                                .column("color", &ColoredItem::color, default_value("red"));
  Domain d("app");
  d.add(items).add(extra_table);
  d.rule("mine")
      .parameter("ownerId", actor::owner_id)
      .data(items, eq("owner_id", "ownerId"), ne("text", literal("hidden")))
      .data(extra_table, eq("owner_id", "ownerId"));
  return d;
}

TEST_P(Trap, ANewColumnOrTableIsFilledForRowsThatDoNotChange) {
  World world(before_upgrade(), Limits{}, GetParam());
  ASSERT_TRUE(
      world.storage->run_script("INSERT INTO items (id, owner_id, text) VALUES ('i1', 'o1', 'x'),"
                                "('i2', 'o1', 'hidden'); INSERT INTO extras VALUES ('e1', 'o1')"));
  Device device(world, "u1");
  device.sync();
  EXPECT_EQ(device.ids("items") + "," + device.ids("extras"), "i1 i2,");
  world.restart(after_upgrade());
  device.sync();
  EXPECT_EQ(device.ids("extras"), "e1");
  EXPECT_NE(device.answers[0].text.find(R"("color":"red")"), std::string::npos) << device.answers[0].text;
  EXPECT_EQ(device.rows, device.expected());
  device.sync();
  EXPECT_EQ(device.answers[0].list("changed"), "") << "once is enough";
  // Rules that give less make the bucket lost and gained, so that what fell out goes.
  world.restart(after_narrowing());
  device.sync();
  EXPECT_EQ(device.answers[0].list("removedBuckets"), "o1");
  EXPECT_NE(device.answers[0].text.find("i1"), std::string::npos);
  EXPECT_EQ(device.answers[0].text.find("hidden"), std::string::npos);
}

class FrameKeeper : public StreamPeer {
 public:
  void send(std::string frame) override { frames += frame + " "; }
  void close(int, std::string_view) override {}
  std::string take() { return std::exchange(frames, {}); }
  std::string frames;
};

// 16: the team "o2" and the owner "o2".
TEST_P(Trap, EqualIdsOfDifferentKindsShareNoPokes) {
  World world(GetParam());
  world.run("u1", "createTeam", "x", "o2");
  const auto request = [&](std::string_view user, const char* bucket) {
    protocol::HttpRequest stream;
    stream.path = "/sync/stream";
    stream.headers["authorization"] = "Bearer " + world.token(user);
    if (bucket) stream.query.emplace("bucket", bucket);
    return world.server->authorize_stream(stream);
  };
  EXPECT_EQ(request("u1", "o2").error().status, 403) << "the member of the team is not the owner";
  EXPECT_EQ(request("u2", "team:o2").error().status, 403) << "nor the owner a member";
  const auto member = std::make_shared<FrameKeeper>(), owner = std::make_shared<FrameKeeper>();
  world.server->open_stream(*request("u1", nullptr), member);
  world.server->open_stream(*request("u2", nullptr), owner);
  const auto settle = [&] {
    world.executor.run();
    world.server->tick();
    world.executor.run();
  };
  settle();
  member->take(), owner->take();
  world.run("u1", "addDoc", "d1", "o2");
  settle();
  EXPECT_NE(member->frames.find("repull:team:o2 "), std::string::npos) << member->frames;
  EXPECT_EQ(owner->frames.find("repull:"), std::string::npos) << owner->frames;
  member->take(), owner->take();
  world.run("u2", "addNote", "n1");
  settle();
  EXPECT_NE(owner->frames.find("repull:o2 "), std::string::npos) << owner->frames;
  EXPECT_EQ(member->frames.find("repull:"), std::string::npos) << member->frames;
}

}  // namespace
}  // namespace nizhal::server::testing
