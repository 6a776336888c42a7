// Presence on the streams of a server core, with the grants of a real database: who may not have a bucket hears nothing
// of who is in it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "realtime/realtime.hpp"
#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

using std::chrono::seconds;

class PresencePeer : public StreamPeer {
 public:
  void send(std::string frame) override { (frame.starts_with("presence:") ? frames : others) += frame + " "; }
  void close(int code, std::string_view) override { closed = code; }
  std::string take() { return std::exchange(frames, {}); }
  std::string frames, others;
  int closed = 0;
};

struct Stream {
  std::shared_ptr<PresencePeer> peer;
  StreamId id{};
};

/// "u1 joined team:a" and so on, in place of the frames.
std::string told(PresencePeer& peer) {
  std::string out, frames = peer.take();
  while (!frames.empty()) {
    const auto end = frames.find("} presence:");
    const std::string frame = frames.substr(0, end == std::string::npos ? frames.size() - 1 : end + 1);
    frames = end == std::string::npos ? "" : frames.substr(end + 2);
    const auto body = parse_json(frame.substr(frame.find('{')));
    EXPECT_TRUE(body) << frame;
    if (!body) return frame;
    const std::string bucket(*string_member(*body, "bucket"));
    for (const char* part : {"state", "leaves", "joins"}) {
      const json::value* users = member(*body, part);
      if (!users) continue;
      if (std::string_view(part) == "state" && users->get_object().empty()) out += bucket + ":nobody ";
      for (const auto& [user, entries] : users->get_object())
        out += bucket + ":" + part + ":" + std::string(user) +
               (entries.get_array().size() == 1 ? "" : "*" + std::to_string(entries.get_array().size())) + " ";
    }
  }
  return out;
}

Stream open_on(World& world, ServerSync& server, std::string_view user, const std::vector<std::string>& buckets = {}) {
  auto ticket = server.authorize_stream(world.stream_request(user, buckets));
  EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().body);
  if (!ticket) return {};
  auto peer = std::make_shared<PresencePeer>();
  const StreamId id = server.open_stream(*ticket, peer);
  return {peer, id};
}

class Present : public ::testing::Test {
 protected:
  explicit Present(Limits limits = {}) : world(std::move(limits)) {}
  void SetUp() override {
    world.make_teams();
    settle();
  }
  /// Long enough for the next frames to go out at once.
  void settle() {
    world.clock.advance(seconds(1));
    world.executor.run();
    world.server->tick();
    world.executor.run();
  }
  Stream open(std::string_view user, const std::vector<std::string>& buckets = {}) {
    return open_on(world, *world.server, user, buckets);
  }
  void track(const Stream& stream, const std::string& bucket, const std::string& payload = "{}") {
    world.server->stream_frame(stream.id, R"(presence:track:{"bucket":")" + bucket + R"(","payload":)" + payload + "}");
  }
  World world;
};

TEST_F(Present, AStreamIsToldTheStateOfEachBucketThatItHasAndThenWhatChanges) {
  Stream one = open("u1"), two = open("u2"), narrow = open("u1", {"team:b"});
  track(one, "team:a");
  world.executor.run();
  EXPECT_EQ(told(*one.peer), "o1:nobody team:a:state:u1 team:b:nobody ");
  EXPECT_EQ(told(*two.peer), "o2:nobody team:a:state:u1 ");
  EXPECT_EQ(told(*narrow.peer), "team:b:nobody ");
  world.clock.advance(seconds(1));
  track(narrow, "team:a");
  track(two, "team:a");
  world.executor.run();
  EXPECT_EQ(told(*one.peer), "team:a:joins:u2 ");
  EXPECT_EQ(told(*narrow.peer), "") << "it does not follow that bucket, so it is not present there either";
  world.clock.advance(seconds(1));
  world.server->close_stream(one.id);
  world.executor.run();
  EXPECT_EQ(told(*two.peer), "team:a:joins:u2 team:a:leaves:u1 ");
}

class StatsOfPresence : public Present {
 protected:
  StatsOfPresence() : Present(limits()) {}
  static Limits limits() {
    Limits limits;
    limits.admin_password = "let me in";
    limits.presence_per_stream_max = 1;
    return limits;
  }
  std::int64_t figure(const char* name) {
    const Answer answer = world.request("GET", "/nizhal/stats", "let me in");
    const json::value* presence = answer.body.if_contains("presence");
    EXPECT_TRUE(presence) << to_text(answer.body);
    return presence ? as_integer(presence->at(name)).value_or(-1) : -1;
  }
};

TEST_F(StatsOfPresence, TellWhoIsThereAndWhatItTook) {
  Stream one = open("u1"), two = open("u2");
  world.executor.run();
  EXPECT_EQ(figure("told"), 5) << "the states of o1, team:a and team:b, of o2 and team:a";
  EXPECT_EQ(figure("present"), 0);
  EXPECT_EQ(figure("bytes"), 0);
  settle();
  track(one, "team:a");
  track(one, "team:a");
  track(one, "team:b");
  settle();
  EXPECT_EQ(figure("tracked"), 1) << "the second says nothing new";
  EXPECT_EQ(figure("refused"), 1) << "the third is one too many";
  EXPECT_EQ(figure("present"), 1);
  EXPECT_GT(figure("bytes"), 0);
  EXPECT_EQ(figure("told"), 7) << "both were told once";
  EXPECT_EQ(figure("evicted"), 0);
  world.clock.advance(limits().presence_timeout);
  settle();
  EXPECT_EQ(figure("evicted"), 1);
  EXPECT_EQ(figure("present"), 0);
  EXPECT_EQ(figure("told"), 9);
  EXPECT_EQ(figure("late"), 0);
}

TEST_F(Present, ALostMembershipIsToldToTheOthersAndSilenceToTheLoser) {
  Stream one = open("u1"), two = open("u2");
  track(two, "team:a");
  settle();
  told(*one.peer), told(*two.peer);
  world.run("u1", "removeMember", "m2");
  settle();
  EXPECT_EQ(told(*one.peer), "team:a:leaves:u2 ");
  track(one, "team:a", R"({"secret":1})");
  track(two, "team:a");
  settle();
  EXPECT_EQ(told(*one.peer), "team:a:joins:u1 ");
  EXPECT_EQ(told(*two.peer), "");
  // Back again: the state of now, and present when it says so again.
  world.run("u1", "addMember", "m4", "a", "u2");
  settle();
  EXPECT_EQ(told(*two.peer), "team:a:state:u1 ");
  EXPECT_EQ(told(*one.peer), "");
  track(two, "team:a");
  settle();
  EXPECT_EQ(told(*one.peer), "team:a:joins:u2 ");
}

TEST_F(Present, ARevocationByAnotherProgramHoldsBeforeItIsLookedFor) {
  Stream one = open("u1"), two = open("u2");
  settle();
  told(*one.peer), told(*two.peer);
  ASSERT_TRUE(world.storage->run_script("DELETE FROM members WHERE id = 'm2'"));
  world.clock.advance(seconds(1));
  track(one, "team:a");
  world.executor.run();
  EXPECT_EQ(told(*one.peer) + told(*two.peer), "") << "who may hear of it is not known yet";
  settle();
  EXPECT_EQ(told(*one.peer), "team:a:joins:u1 ");
  EXPECT_EQ(told(*two.peer), "");
}

TEST_F(Present, AStreamOpenedAcrossARevocationIsToldNothingOfTheBucket) {
  Stream one = open("u1");
  track(one, "team:a");
  settle();
  const auto request = world.stream_request("u2");
  auto ticket = world.server->authorize_stream(request);
  ASSERT_TRUE(ticket);
  world.run("u1", "removeMember", "m2");
  settle();
  const auto peer = std::make_shared<PresencePeer>();
  world.server->open_stream(*ticket, peer);
  settle();
  EXPECT_EQ(told(*peer), "o2:nobody ");
}

TEST_F(Present, WhileGrantsCannotBeReadNobodyIsToldAnything) {
  Stream one = open("u1"), two = open("u2");
  settle();
  told(*one.peer), told(*two.peer);
  world.storage->plan = fail_call("snapshot", ErrorCode::busy, 1'000);
  ASSERT_TRUE(world.storage->run_script("DELETE FROM members WHERE id = 'm2'"));
  track(one, "team:a");
  settle();
  EXPECT_EQ(told(*two.peer), "");
  world.storage->plan = nullptr;
  settle();
  EXPECT_EQ(told(*one.peer), "team:a:joins:u1 ");
  EXPECT_EQ(told(*two.peer), "");
}

TEST_F(Present, MalformedFramesAreCountedAndThoseAboutALostBucketAreNot) {
  Stream good = open("u2"), bad = open("u2");
  for (int i = 0; i < 100; ++i) track(good, "team:b");
  EXPECT_EQ(good.peer->closed, 0);
  for (int i = 0; i < 20; ++i) world.server->stream_frame(bad.id, "presence:track:{}");
  EXPECT_EQ(bad.peer->closed, 0);
  world.server->stream_frame(
      bad.id, R"(presence:track:{"bucket":"team:a","payload":{"x":")" + std::string(70'000, 'x') + "\"}}");
  EXPECT_EQ(bad.peer->closed, 1008);
  settle();
  EXPECT_EQ(told(*bad.peer), "");
}

TEST_F(Present, AStreamWhoseCredentialExpiresLeaves) {
  Stream one = open("u1");
  protocol::HttpRequest request;
  request.path = "/sync/stream";
  request.headers["authorization"] = "Bearer " + token_for("u2", "o2", Timestamp{world.clock_now() + 5'000'000});
  auto ticket = world.server->authorize_stream(request);
  ASSERT_TRUE(ticket);
  const auto peer = std::make_shared<PresencePeer>();
  track({peer, world.server->open_stream(*ticket, peer)}, "team:a");
  settle();
  told(*one.peer);
  world.clock.advance(seconds(5));
  settle();
  EXPECT_EQ(peer->closed, 1008);
  EXPECT_EQ(told(*one.peer), "team:a:leaves:u2 ");
}

TEST_F(Present, TwoInstancesOnOneBusAreOne) {
  realtime::InProcessBus bus;
  const auto here = bus.join(), there = bus.join();
  const auto serve = [&](realtime::Realtime& realtime) {
    return std::make_unique<ServerSync>(world.domain,
                                        ServerOutside{.clock = world.clock,
                                                      .random = world.random,
                                                      .executor = world.executor,
                                                      .storage = *world.storage,
                                                      .authenticator = world.authenticator,
                                                      .log = Log(),
                                                      .realtime = &realtime},
                                        Limits{});
  };
  auto a = serve(*here), b = serve(*there);
  const auto round = [&] {
    for (int i = 0; i < 2; ++i) {
      world.clock.advance(seconds(1));
      for (const auto* server : {&a, &b})
        if (*server) (*server)->tick();
      world.executor.run();
    }
  };
  Stream one = open_on(world, *a, "u1"), two = open_on(world, *b, "u2"), three = open_on(world, *b, "u3");
  round();
  told(*one.peer), told(*two.peer), told(*three.peer);
  b->stream_frame(two.id, R"(presence:track:{"bucket":"team:a","payload":{}})");
  round();
  EXPECT_EQ(told(*one.peer) + told(*two.peer), "team:a:joins:u2 team:a:joins:u2 ");
  // Membership is lost: the instance that has the stream says so.
  ASSERT_TRUE(world.storage->run_script("DELETE FROM members WHERE id = 'm2'"));
  round();
  EXPECT_EQ(told(*one.peer), "team:a:leaves:u2 ");
  a->stream_frame(one.id, R"(presence:track:{"bucket":"team:a","payload":{}})");
  round();
  EXPECT_EQ(told(*two.peer) + told(*three.peer), "");
  Stream late = open_on(world, *b, "u1");
  round();
  EXPECT_EQ(told(*late.peer), "o1:nobody team:a:state:u1 team:b:nobody ");
  // An instance that stops takes its streams with it, and is not waited for.
  a->begin_shutdown();
  round();
  a.reset();
  EXPECT_EQ(told(*late.peer), "team:a:leaves:u1 ");
}

/// Trap 16: a shop and a team with one id, a user and an owner with one id.
TEST(Trap, EqualIdsOfDifferentKindsShareNoPresence) {
  World world;
  world.run("u1", "createTeam", "x", "o2");  // the key of u2's own bucket is "o2", that of the team is "team:o2"
  Stream team = open_on(world, *world.server, "u1"), owner = open_on(world, *world.server, "u2");
  const auto settle = [&] {
    world.clock.advance(seconds(1));
    world.server->tick();
    world.executor.run();
  };
  settle();
  told(*team.peer), told(*owner.peer);
  world.server->stream_frame(team.id, R"(presence:track:{"bucket":"team:o2","payload":{}})");
  world.server->stream_frame(team.id, R"(presence:track:{"bucket":"o2","payload":{}})");
  settle();
  EXPECT_EQ(told(*team.peer), "team:o2:joins:u1 ");
  EXPECT_EQ(told(*owner.peer), "");
  world.server->stream_frame(owner.id, R"(presence:track:{"bucket":"o2","payload":{}})");
  world.server->stream_frame(owner.id, R"(presence:track:{"bucket":"team:o2","payload":{}})");
  settle();
  EXPECT_EQ(told(*owner.peer), "o2:joins:u2 ");
  EXPECT_EQ(told(*team.peer), "");
}

}  // namespace
}  // namespace nizhal::server::testing
