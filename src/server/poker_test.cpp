// Pokes: after the commit, once per commit and bucket, and only to those who may have the bucket.
#include "server/poker.hpp"

#include <gtest/gtest.h>

#include <string>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

class RecordingPeer : public StreamPeer {
 public:
  void send(std::string frame) override {
    if (!frame.starts_with("presence:")) frames += frame + " ";
  }
  void close(int code, std::string_view reason) override { closed = std::to_string(code) + " " + std::string(reason); }
  /// What came since the last call.
  std::string take() { return std::exchange(frames, {}); }
  std::string frames, closed;
};

struct Stream {
  std::shared_ptr<RecordingPeer> peer;
  StreamId id{};
};

class Poke : public ::testing::Test {
 protected:
  void SetUp() override {
    world.make_teams();
    settle();
  }
  void settle() {
    world.executor.run();
    world.server->tick();
  }
  Stream open(std::string_view user, const std::vector<std::string>& buckets = {}) {
    auto ticket = world.server->authorize_stream(world.stream_request(user, buckets));
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().body);
    if (!ticket) return {};
    auto peer = std::make_shared<RecordingPeer>();
    const StreamId id = world.server->open_stream(*ticket, peer);
    return {peer, id};
  }
  World world;
};

TEST_F(Poke, GoesOutAfterTheCommitAndOutsideTheRequest) {
  world.storage->commits_tell_grants = false;
  Stream stream = open("u2");
  world.run("u1", "addDoc", "d1", "a");
  EXPECT_EQ(stream.peer->take(), "");
  world.executor.run();
  EXPECT_EQ(stream.peer->take(), "repull:team:a ");
  EXPECT_NE(world.pull("u2").text.find("d1"), std::string::npos);
}

TEST_F(Poke, OncePerCommitAndBucket) {
  Stream stream = open("u1");
  world.push("u1", {{.name = "addDoc", .cmid = "p1", .id = "d1", .place = "a"},
                    {.name = "addDoc", .cmid = "p2", .id = "d2", .place = "a"},
                    {.name = "moveDoc", .cmid = "p3", .id = "d1", .place = "b"},
                    {.name = "addNote", .cmid = "p4", .id = "n1"}});
  world.executor.run();
  EXPECT_EQ(stream.peer->take(), "repull:o1 repull:team:a repull:team:b ");
  world.server->tick();
  EXPECT_EQ(stream.peer->take(), "") << "its own commits are not looked at twice";
}

TEST_F(Poke, OnlyThoseWhoHaveTheBucket) {
  Stream one = open("u1"), two = open("u2"), three = open("u3");
  world.run("u1", "addDoc", "d1", "b");
  world.run("u1", "addNote", "n1");
  world.executor.run();
  const std::string told = one.peer->take();
  EXPECT_TRUE(told == "repull:o1 repull:team:b " || told == "repull:team:b repull:o1 ") << told;
  EXPECT_EQ(two.peer->take(), "");
  EXPECT_EQ(three.peer->take(), "");
}

TEST_F(Poke, AfterAStartTheFirstLookTellsOnlyOfWhatIsNewSince) {
  world.run("u1", "addDoc", "d1", "a");
  world.restart(test_domain());
  Stream stream = open("u1");
  world.server->tick();
  settle();
  EXPECT_EQ(stream.peer->take(), "") << "what was there before the start is no news";
  world.restart(test_domain());
  stream = open("u1");
  ASSERT_TRUE(world.storage->run_script("UPDATE docs SET title = 'by another program'"));
  world.server->tick();
  settle();
  EXPECT_EQ(stream.peer->take(), "repull:team:a ");
}

TEST_F(Poke, NamedBucketsOnlyWhenTheyAreNamed) {
  Stream stream = open("u1", {"team:a"});
  world.run("u1", "addDoc", "d1", "b");
  world.run("u1", "addDoc", "d2", "a");
  world.executor.run();
  EXPECT_EQ(stream.peer->take(), "repull:team:a ");
}

TEST_F(Poke, ARefusedMutationPokesNobody) {
  Stream stream = open("u1");
  world.push("u1", {{.name = "addThenRefuse", .cmid = "p1", .id = "n1"}});
  settle();
  EXPECT_EQ(stream.peer->take(), "");
}

TEST_F(Poke, AGainedBucketWakesTheStreamAndIsFollowed) {
  Stream stream = open("u3");
  world.run("u1", "addMember", "m3", "a", "u3");
  world.executor.run();
  EXPECT_EQ(stream.peer->take(), "repull:team:a ");
  world.run("u1", "addDoc", "d1", "a");
  world.executor.run();
  EXPECT_EQ(stream.peer->take(), "repull:team:a ");
}

TEST_F(Poke, ALostBucketWakesTheStreamWithoutNamingItAndIsNotHeardOfAgain) {
  Stream stream = open("u2"), narrow = open("u2", {"team:a"});
  world.run("u1", "removeMember", "m2");
  world.run("u1", "addDoc", "d1", "a");
  world.executor.run();
  EXPECT_EQ(stream.peer->take(), "repull:o2 ");
  EXPECT_EQ(narrow.peer->take(), "repull: ");
  world.run("u1", "addDoc", "d2", "a");
  settle();
  EXPECT_EQ(stream.peer->take() + narrow.peer->take(), "");
  // A named bucket that comes back is followed again.
  world.run("u1", "addMember", "m4", "a", "u2");
  world.executor.run();
  EXPECT_EQ(narrow.peer->take(), "repull:team:a ");
}

TEST_F(Poke, ARevocationByAnotherProgramHoldsBeforeItIsLookedFor) {
  Stream stream = open("u2");
  ASSERT_TRUE(world.storage->run_script("DELETE FROM members WHERE id = 'm2'"));
  world.run("u1", "addDoc", "d1", "a");
  world.executor.run();
  EXPECT_EQ(stream.peer->take().find("team:a"), std::string::npos);
}

TEST_F(Poke, AStreamOpenedAcrossARevocationHearsNothing) {
  auto ticket = world.server->authorize_stream(world.stream_request("u2"));
  ASSERT_TRUE(ticket);
  world.run("u1", "removeMember", "m2");
  settle();
  auto peer = std::make_shared<RecordingPeer>();
  world.server->open_stream(*ticket, peer);
  world.run("u1", "addDoc", "d1", "a");
  world.executor.run();
  EXPECT_EQ(peer->take().find("team:a"), std::string::npos);
}

TEST_F(Poke, AffectedBucketsReplaceThoseOfTheWrittenRows) {
  Stream one = open("u1"), two = open("u2");
  world.run("u1", "addNoteAffecting", "n1", "team:a");
  world.executor.run();
  EXPECT_EQ(one.peer->take(), "repull:team:a ");
  EXPECT_EQ(two.peer->take(), "repull:team:a ");
  world.run("u1", "addNoteAffecting", "n2", "o9");
  world.executor.run();
  EXPECT_EQ(one.peer->take() + two.peer->take(), "");
}

TEST_F(Poke, WritesOfOtherProgramsAreFoundByLooking) {
  Stream one = open("u1"), two = open("u2");
  ASSERT_TRUE(world.storage->run_script("INSERT INTO docs (id, team_id, title) VALUES ('x', 'a', 'by hand')"));
  EXPECT_EQ(one.peer->take(), "");
  world.server->tick();
  EXPECT_EQ(one.peer->take(), "repull:team:a ");
  EXPECT_EQ(two.peer->take(), "repull:team:a ");
  world.server->tick();
  EXPECT_EQ(one.peer->take(), "");
}

TEST_F(Poke, AnotherProgramsTransactionThatIsOpenDuringALookIsPokedOnceItHasCommitted) {
  Stream stream = open("u1");
  // It has its version; nothing of it is committed, so there is nothing to tell yet.
  const auto other = world.backend->other_program();
  other->run("BEGIN; INSERT INTO docs (id, team_id, title) VALUES ('x', 'b', 'by hand')");
  for (int i = 0; i < 3; ++i) world.server->tick();
  EXPECT_EQ(stream.peer->take(), "");
  if (!world.backend->is_sqlite()) {  // which has one writer at a time
    // A later version of ours is committed, poked and looked for meanwhile.
    world.run("u1", "addDoc", "d1", "a");
    settle();
    EXPECT_EQ(stream.peer->take(), "repull:team:a ");
  }
  other->run("COMMIT");
  world.server->tick();
  EXPECT_EQ(stream.peer->take(), "repull:team:b ");
  world.server->tick();
  EXPECT_EQ(stream.peer->take(), "");
}

TEST_F(Poke, WhatCouldNotBeReadIsPokedWithTheNextLook) {
  world.storage->commits_tell_grants = false;
  Stream stream = open("u1");
  world.run("u1", "addDoc", "d1", "a");
  world.storage->plan = fail_call("change_mark", ErrorCode::busy, 4);  // presence asks too
  world.executor.run();
  world.server->tick();
  EXPECT_EQ(stream.peer->take(), "");
  world.server->tick();
  EXPECT_NE(stream.peer->take().find("repull:team:a "), std::string::npos);
}

TEST_F(Poke, ADatabaseThatIsAwayIsToldOnceAndSoIsItsReturn) {
  world.storage->plan = fail_call("change_mark", ErrorCode::busy, 40);
  world.log_lines.clear();
  for (int i = 0; i < 50; ++i) world.server->tick();
  ASSERT_EQ(world.log_lines.size(), 2U);
  EXPECT_TRUE(world.log_lines[0].starts_with("warning poke: cannot look for commits")) << world.log_lines[0];
  EXPECT_EQ(world.log_lines[1], "info poke: looks for commits again");
}

TEST_F(Poke, AFailedPokeNeverFailsTheCommittedPush) {
  Stream stream = open("u2");
  world.storage->plan = fail_call("change_mark", ErrorCode::io_error, 1000);
  EXPECT_EQ(world.push("u1", {{.name = "addDoc", .cmid = "p1", .id = "d1", .place = "a"}}).statuses(), "applied");
  world.executor.run();
  EXPECT_EQ(world.read(doc_table.def(), "d1", "team_id"), "\"a\"");
}

TEST_F(Poke, AServerThatIsGoneLeavesWaitingPokesHarmless) {
  world.storage->commits_tell_grants = false;
  Stream stream = open("u1");
  world.run("u1", "addDoc", "d1", "a");
  world.server.reset();
  world.executor.run();
  EXPECT_EQ(stream.peer->take(), "");
}

TEST_F(Poke, StreamsEndWithTheirCredential) {
  Stream stream = open("u1");
  world.clock.advance(std::chrono::minutes(59));
  world.server->tick();
  EXPECT_EQ(stream.peer->closed, "");
  world.clock.advance(std::chrono::minutes(1));
  world.server->tick();
  EXPECT_EQ(stream.peer->closed, "1008 the credential expired");
  world.run("u1", "addDoc", "d1", "a");
  settle();
  EXPECT_EQ(stream.peer->take(), "");
}

TEST_F(Poke, PingsAreAnswered) {
  Stream stream = open("u1");
  world.server->stream_frame(stream.id, "ping");
  EXPECT_EQ(stream.peer->take(), "pong ");
}

TEST_F(Poke, PresenceFramesPokeNobodyAndAreNotCountedAsBad) {
  Stream stream = open("u1");
  for (int i = 0; i < 100; ++i) {
    world.server->stream_frame(stream.id, R"(presence:track:{"bucket":"team:a","payload":{"at":"desk"}})");
    world.server->stream_frame(stream.id, R"(presence:heartbeat:{"bucket":"team:a"})");
    world.server->stream_frame(stream.id, R"(presence:untrack:{"bucket":"team:a"})");
  }
  EXPECT_EQ(stream.peer->take() + stream.peer->closed, "");
}

TEST_F(Poke, AClosedStreamHearsNothing) {
  Stream stream = open("u1");
  world.server->close_stream(stream.id);
  world.server->close_stream(stream.id);
  world.server->stream_frame(stream.id, "ping");
  world.run("u1", "addDoc", "d1", "a");
  settle();
  EXPECT_EQ(stream.peer->take(), "");
}

TEST_F(Poke, BucketsThatTheActorLacksAreNotSubscribed) {
  for (const std::string bucket : {"team:b", "o1", "team:unheard", "", "nonsense"}) {
    const auto refused = world.server->authorize_stream(world.stream_request("u2", {"team:a", bucket}));
    ASSERT_FALSE(refused) << bucket;
    const Answer answer = World::answer_of(refused.error());
    EXPECT_EQ(answer.status, 403);
    EXPECT_EQ(answer.code(), "bucket_not_allowed");
    EXPECT_EQ(answer.string_of("error"), "bucket not allowed");
  }
}

TEST_F(Poke, AStreamNeedsACredential) {
  protocol::HttpRequest request;
  request.path = "/sync/stream";
  EXPECT_EQ(world.server->authorize_stream(request).error().status, 401);
  request.query.emplace("token", "nonsense");
  EXPECT_EQ(world.server->authorize_stream(request).error().status, 401);
  request.query.clear();
  request.query.emplace("token", world.token("u1"));
  EXPECT_TRUE(world.server->authorize_stream(request));
  request.path = "/sync/other";
  EXPECT_EQ(world.server->authorize_stream(request).error().status, 404);
}

TEST(PokeLimits, MoreStreamsThanAllowedAreBusy) {
  Limits limits;
  limits.streams_max = 1;
  World world(limits);
  const auto request = world.stream_request("u1");
  auto ticket = world.server->authorize_stream(request);
  ASSERT_TRUE(ticket);
  const StreamId id = world.server->open_stream(*ticket, std::make_shared<RecordingPeer>());
  const auto refused = world.server->authorize_stream(request);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 503);
  world.server->close_stream(id);
  EXPECT_TRUE(world.server->authorize_stream(request));
}

TEST_F(Poke, EqualIdsOfDifferentKindsShareNoPokes) {
  // An owner with the same id as a team: the rule's prefix keeps their buckets apart.
  protocol::HttpRequest request;
  request.path = "/sync/stream";
  const std::string token = token_for("u9", "a", Timestamp{world.clock_now() + 60'000'000});
  request.headers["authorization"] = "Bearer " + token;
  auto ticket = world.server->authorize_stream(request);
  ASSERT_TRUE(ticket);
  auto owner = std::make_shared<RecordingPeer>();
  world.server->open_stream(*ticket, owner);
  Stream member = open("u2");
  world.run("u1", "addDoc", "d1", "a");
  world.executor.run();
  EXPECT_EQ(owner->take(), "");
  EXPECT_EQ(member.peer->take(), "repull:team:a ");
  world.request("POST", "/sync/push", token, World::push_body({{.name = "addNote", .cmid = "p1", .id = "n1"}}, true));
  world.executor.run();
  EXPECT_EQ(owner->take(), "repull:a ");
  EXPECT_EQ(member.peer->take(), "");
}

TEST(Trap, AMalformedFrameEndsAtMostItsOwnStream) {
  World world;
  const auto request = world.stream_request("u1");
  const auto open = [&] {
    auto peer = std::make_shared<RecordingPeer>();
    return Stream{peer, world.server->open_stream(*world.server->authorize_stream(request), peer)};
  };
  Stream bad = open(), good = open();
  const std::vector<std::string> frames = {"",
                                           "{",
                                           "presence:",
                                           "presence:track:",
                                           "presence:track:{",
                                           "presence:track:[]",
                                           R"(presence:track:{"bucket":1,"payload":{}})",
                                           R"(presence:track:{"bucket":"a"})",
                                           R"(presence:track:{"bucket":"a","payload":1})",
                                           "presence:heartbeat:null",
                                           "repull:team:a",
                                           "PING",
                                           std::string("\0\0", 2),
                                           "\xff\xfe",
                                           "presence:track:" + std::string(5000, '['),
                                           std::string(100'000, 'x'),
                                           "pong",
                                           "ping ",
                                           "unknown:frame",
                                           "null"};
  ASSERT_EQ(frames.size(), 20U);
  for (const auto& frame : frames) world.server->stream_frame(bad.id, frame);
  EXPECT_EQ(bad.peer->closed, "");
  world.server->stream_frame(bad.id, "one too many");
  EXPECT_EQ(bad.peer->closed, "1008 too many malformed frames");
  EXPECT_EQ(bad.peer->take(), "");
  world.server->stream_frame(good.id, "ping");
  EXPECT_EQ(good.peer->take(), "pong ");
}

}  // namespace
}  // namespace nizhal::server::testing
