// Presence: who is there is told to those who have the bucket, and to nobody else; what is not said again is gone.
#include "server/presence.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/test_seed.hpp"

namespace nizhal::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Ear : public StreamPeer {
 public:
  void send(std::string frame) override {
    if (!reads) waiting += frame.size();
    frames.push_back(std::move(frame));
  }
  void close(int, std::string_view) override {}
  std::size_t waiting_bytes() const override { return waiting; }
  /// What came since the last call, with "|" between frames.
  std::string take() {
    std::string all;
    for (const std::string& frame : std::exchange(frames, {})) all += (all.empty() ? "" : "|") + frame;
    return all;
  }
  std::vector<std::string> frames;
  bool reads = true;
  std::size_t waiting = 0;
};

std::string track(const std::string& bucket, const std::string& payload = "{}") {
  return R"(presence:track:{"bucket":")" + bucket + R"(","payload":)" + payload + "}";
}
std::string untrack(const std::string& bucket) { return R"(presence:untrack:{"bucket":")" + bucket + R"("})"; }
std::string heartbeat(const std::string& bucket) { return R"(presence:heartbeat:{"bucket":")" + bucket + R"("})"; }

Limits limits(std::size_t Limits::*member, std::size_t value) {
  Limits limits;
  limits.*member = value;
  return limits;
}

/// A server's presence, whose streams have the buckets that the test says.
class Instance {
 public:
  Instance(ManualClock& clock, Random& random, const Limits& limits = {}, realtime::Realtime* realtime = nullptr,
           PresencePace pace = {})
      : presence(std::make_shared<Presence>(
            clock, random, limits,
            Log([this](LogLevel, std::string_view, std::string_view line) { log.emplace_back(line); }), realtime,
            [this](const std::weak_ptr<Presence>&) { ++wakes; }, pace)) {}

  struct Stream {
    std::uint64_t id = 0;
    std::shared_ptr<Ear> peer;
    std::set<std::string> buckets;
  };
  Stream open(const std::string& user, std::set<std::string> buckets) {
    Stream stream{++last, std::make_shared<Ear>(), std::move(buckets)};
    presence->opened(StreamId{stream.id}, user, stream.peer);
    presence->buckets_changed(StreamId{stream.id}, {}, stream.buckets);
    return stream;
  }
  void has(Stream& stream, std::set<std::string> buckets) {
    presence->buckets_changed(StreamId{stream.id}, stream.buckets, buckets);
    stream.buckets = std::move(buckets);
  }
  void close(Stream& stream) {
    has(stream, {});
    presence->closed(StreamId{stream.id});
  }
  bool say(const Stream& stream, const std::string& text) { return presence->frame(StreamId{stream.id}, text); }
  /// Says it, and what comes of it goes out.
  void does(const Stream& stream, const std::string& text) {
    EXPECT_TRUE(say(stream, text)) << text;
    presence->flush();
  }
  void tick() {
    presence->tick();
    presence->flush();
  }

  std::vector<std::string> log;
  std::size_t wakes = 0;
  std::uint64_t last = 0;
  std::shared_ptr<Presence> presence;
};

class PresenceTest : public ::testing::Test {
 protected:
  ManualClock clock{Timestamp{1'767'323'045'000'000}};
  SeededRandom random{7};
  /// The refs are the instance's id and the stream's number.
  static std::string plain(std::string frames) {
    std::size_t at = 0;
    while ((at = frames.find("presence_ref\":\"", at)) != std::string::npos) {
      at += std::string_view("presence_ref\":\"").size();
      frames.erase(at, 17);  // 16 digits and a dash
    }
    return frames;
  }
};

TEST_F(PresenceTest, TheStateComesOncePerBucketAndThenWhatChanges) {
  Instance server(clock, random);
  auto ann = server.open("ann", {"shop-1"});
  server.does(ann, track("shop-1", R"({"at":"till"})"));
  EXPECT_EQ(plain(ann.peer->take()),
            R"(presence:state:{"bucket":"shop-1","state":{"ann":[{"presence_ref":"1","at":"till"}]}})");
  auto bob = server.open("bob", {"shop-1", "shop-2"});
  server.presence->flush();
  EXPECT_EQ(plain(bob.peer->take()),
            R"(presence:state:{"bucket":"shop-1","state":{"ann":[{"presence_ref":"1","at":"till"}]}}|)"
            R"(presence:state:{"bucket":"shop-2","state":{}})");
  server.does(bob, track("shop-1", R"({"at":"door"})"));
  const std::string joined =
      R"(presence:diff:{"bucket":"shop-1","joins":{"bob":[{"presence_ref":"2","at":"door"}]},"leaves":{}})";
  EXPECT_EQ(plain(ann.peer->take()), joined);
  EXPECT_EQ(plain(bob.peer->take()), joined) << "a connection hears of itself as of others";
  server.does(bob, untrack("shop-1"));
  EXPECT_EQ(plain(ann.peer->take()),
            R"(presence:diff:{"bucket":"shop-1","joins":{},"leaves":{"bob":[{"presence_ref":"2","at":"door"}]}})");
  server.does(bob, untrack("shop-1"));
  server.does(bob, heartbeat("shop-1"));
  EXPECT_EQ(ann.peer->take(), "") << "what changes nothing is not told";
  EXPECT_EQ(server.presence->size(), 1U);
}

TEST_F(PresenceTest, EachConnectionOfAUserIsOneEntryAndLeavesAlone) {
  Instance server(clock, random);
  auto phone = server.open("ann", {"b"}), till = server.open("ann", {"b"}), other = server.open("bob", {"b"});
  server.say(phone, track("b", R"({"d":"phone"})"));
  server.say(till, track("b", R"({"d":"till"})"));
  server.presence->flush();
  EXPECT_EQ(
      plain(other.peer->take()),
      R"(presence:state:{"bucket":"b","state":{"ann":[{"presence_ref":"1","d":"phone"},{"presence_ref":"2","d":"till"}]}})");
  server.close(phone);
  server.presence->flush();
  EXPECT_EQ(plain(other.peer->take()),
            R"(presence:diff:{"bucket":"b","joins":{},"leaves":{"ann":[{"presence_ref":"1","d":"phone"}]}})");
  EXPECT_EQ(server.presence->size(), 1U);
}

TEST_F(PresenceTest, AnotherPayloadIsAJoinUnderTheSameRefAndTheSamePayloadIsAHeartbeat) {
  Instance server(clock, random);
  auto ann = server.open("ann", {"b"});
  server.does(ann, track("b", R"({"x":1})"));
  ann.peer->take();
  server.does(ann, track("b", R"({"x":1})"));
  EXPECT_EQ(ann.peer->take(), "");
  server.does(ann, track("b", R"({"x":2})"));
  EXPECT_EQ(plain(ann.peer->take()),
            R"(presence:diff:{"bucket":"b","joins":{"ann":[{"presence_ref":"1","x":2}]},"leaves":{}})");
}

TEST_F(PresenceTest, APayloadsOwnPresenceRefDoesNotWin) {
  Instance server(clock, random);
  auto ann = server.open("ann", {"b"});
  server.does(ann, track("b", R"({"presence_ref":"somebody else","name":"Ann"})"));
  EXPECT_EQ(plain(ann.peer->take()),
            R"(presence:state:{"bucket":"b","state":{"ann":[{"presence_ref":"1","name":"Ann"}]}})");
}

TEST_F(PresenceTest, WhoeverSendsNoHeartbeatLeavesAfterTheTimeout) {
  Instance server(clock, random);
  auto quiet = server.open("quiet", {"b"}), alive = server.open("alive", {"b"});
  server.say(quiet, track("b"));
  server.say(alive, track("b"));
  server.presence->flush();
  for (int i = 0; i < 2; ++i) {
    clock.advance(seconds(15));
    server.does(alive, heartbeat("b"));
    server.tick();
  }
  alive.peer->take();
  EXPECT_EQ(server.presence->size(), 2U) << "30 s are not over yet";
  clock.advance(seconds(1));
  server.tick();
  EXPECT_EQ(plain(alive.peer->take()),
            R"(presence:diff:{"bucket":"b","joins":{},"leaves":{"quiet":[{"presence_ref":"1"}]}})");
  // A heartbeat does not bring it back: what it would show is no longer known. A track does.
  server.does(quiet, heartbeat("b"));
  EXPECT_EQ(alive.peer->take(), "");
  server.does(quiet, track("b"));
  clock.advance(seconds(1));
  server.tick();
  EXPECT_EQ(plain(alive.peer->take()),
            R"(presence:diff:{"bucket":"b","joins":{"quiet":[{"presence_ref":"1"}]},"leaves":{}})");
}

TEST_F(PresenceTest, ALostBucketIsLeftAndNotHeardOfAgain) {
  Instance server(clock, random);
  auto ann = server.open("ann", {"b"}), bob = server.open("bob", {"b", "c"});
  server.say(ann, track("b"));
  server.say(bob, track("b"));
  server.presence->flush();
  ann.peer->take();
  bob.peer->take();
  // What had not gone out yet does not go out either.
  server.say(ann, track("b", R"({"secret":1})"));
  server.has(bob, {"c"});
  server.presence->flush();
  EXPECT_EQ(bob.peer->take(), "");
  EXPECT_EQ(
      plain(ann.peer->take()),
      R"(presence:diff:{"bucket":"b","joins":{"ann":[{"presence_ref":"1","secret":1}]},"leaves":{"bob":[{"presence_ref":"2"}]}})");
  for (const std::string& text : {track("b"), heartbeat("b"), untrack("b")}) server.does(bob, text);
  clock.advance(seconds(1));
  server.tick();
  EXPECT_EQ(bob.peer->take() + ann.peer->take(), "");
  // With the bucket comes its state anew.
  server.has(bob, {"b", "c"});
  clock.advance(seconds(1));
  server.tick();
  EXPECT_EQ(plain(bob.peer->take()),
            R"(presence:state:{"bucket":"b","state":{"ann":[{"presence_ref":"1","secret":1}]}})");
}

TEST_F(PresenceTest, ChangesThatUndoEachOtherAreNotTold) {
  Instance server(clock, random);
  auto ann = server.open("ann", {"b"}), bob = server.open("bob", {"b"});
  server.does(ann, track("b", R"({"x":1})"));
  bob.peer->take();
  server.say(bob, track("b"));
  server.say(ann, track("b", R"({"x":2})"));
  server.say(bob, untrack("b"));
  server.say(ann, track("b", R"({"x":1})"));
  server.presence->flush();
  EXPECT_EQ(bob.peer->take(), "");
}

TEST_F(PresenceTest, FloodsGoOutTogetherAndNotMoreOftenThanTheGapAllows) {
  Instance server(clock, random);
  auto ann = server.open("ann", {"b"}), bob = server.open("bob", {"b"});
  server.presence->flush();
  bob.peer->take();
  const std::size_t wakes = server.wakes;
  for (int i = 0; i < 1000; ++i) server.say(ann, track("b", R"({"i":)" + std::to_string(i) + "}"));
  EXPECT_EQ(server.wakes, wakes) << "it was flushed just now: the next tick brings it";
  server.tick();
  EXPECT_EQ(plain(bob.peer->take()),
            R"(presence:diff:{"bucket":"b","joins":{"ann":[{"presence_ref":"1","i":999}]},"leaves":{}})");
  clock.advance(milliseconds(50));
  server.say(ann, untrack("b"));
  server.say(ann, track("b", R"({"i":0})"));
  EXPECT_EQ(server.wakes, wakes + 1);
}

TEST_F(PresenceTest, FramesThatMeanNothingAreToldApart) {
  Instance server(clock, random, limits(&Limits::presence_payload_bytes_max, 100));
  const auto ann = server.open("ann", {"b"});
  std::string deep;
  for (int i = 0; i < 49; ++i) deep += R"({"a":)";
  deep += "1" + std::string(49, '}');
  for (const std::string& bad :
       {std::string("presence:"), std::string("presence:state:{}"), std::string("presence:track:"),
        std::string("presence:track:[]"), std::string(R"(presence:track:{"bucket":"b"})"),
        std::string(R"(presence:track:{"bucket":"b","payload":[]})"),
        std::string(R"(presence:track:{"bucket":7,"payload":{}})"), std::string("presence:untrack:{}"),
        std::string("presence:heartbeat:\"b\""), std::string("presence:track:{\"bucket\":\"\xff\",\"payload\":{}}"),
        track("b", R"({"x":")" + std::string(100, 'x') + "\"}"), track("b", deep)})
    EXPECT_FALSE(server.say(ann, bad)) << bad;
  for (const std::string& idle : {track("other"), heartbeat("other"), untrack("other"), heartbeat("b")})
    EXPECT_TRUE(server.say(ann, idle)) << "about what it does not have, or never said";
  EXPECT_EQ(server.presence->size(), 0U);
}

TEST_F(PresenceTest, AStreamIsPresentInSoManyBucketsOnly) {
  Instance server(clock, random, limits(&Limits::presence_per_stream_max, 3));
  std::set<std::string> buckets;
  for (int i = 0; i < 10; ++i) buckets.insert("b" + std::to_string(i));
  auto ann = server.open("ann", buckets);
  for (const std::string& bucket : buckets) server.say(ann, track(bucket));
  EXPECT_EQ(server.presence->size(), 3U);
  server.say(ann, untrack("b0"));
  server.say(ann, track("b9"));
  EXPECT_EQ(server.presence->size(), 3U);
}

TEST_F(PresenceTest, BeyondItsMemoryNobodyNewIsTrackedAndNobodyGrows) {
  Instance server(clock, random, limits(&Limits::presence_bytes_max, 4000));
  std::vector<Instance::Stream> streams;
  for (int i = 0; i < 100; ++i) {
    streams.push_back(server.open("user-" + std::to_string(i), {"b"}));
    server.say(streams.back(), track("b", R"({"x":"y"})"));
  }
  const std::size_t fitted = server.presence->size();
  EXPECT_GT(fitted, 5U);
  EXPECT_LT(fitted, 20U);
  EXPECT_LE(server.presence->bytes(), 4000U);
  ASSERT_EQ(server.log.size(), 1U) << "told once";
  EXPECT_NE(server.log[0].find("nobody new"), std::string::npos);
  for (const auto& stream : streams) server.say(stream, track("b", R"({"x":")" + std::string(2000, 'z') + "\"}"));
  EXPECT_LE(server.presence->bytes(), 4000U);
  for (auto& stream : streams) server.close(stream);
  EXPECT_EQ(server.presence->bytes(), 0U);
  EXPECT_EQ(server.presence->size(), 0U);
}

/// Folds frames as a device does.
struct Folded {
  std::map<std::string, std::map<std::string, std::string>> buckets;  // → ref → entry
  std::size_t longest = 0;

  void fold(const std::string& frame) {
    longest = std::max(longest, frame.size());
    const bool is_state = frame.starts_with("presence:state:");
    const auto body = parse_json(frame.substr(frame.find('{')));
    ASSERT_TRUE(body) << frame;
    auto& bucket = buckets[std::string(*string_member(*body, "bucket"))];
    if (is_state) bucket.clear();
    const auto each = [&](std::string_view name, auto act) {
      for (const auto& [user, entries] : member(*body, name)->get_object())
        for (const json::value& entry : entries.get_array())
          act(std::string(*string_member(entry, "presence_ref")), entry);
    };
    if (!is_state) each("leaves", [&](const std::string& ref, const json::value&) { bucket.erase(ref); });
    each(is_state ? "state" : "joins",
         [&](const std::string& ref, const json::value& entry) { bucket[ref] = to_text(entry); });
  }
  void fold(Ear& peer) {
    for (const std::string& frame : std::exchange(peer.frames, {})) fold(frame);
  }
};

TEST_F(PresenceTest, ALargeBucketIsToldInPiecesAndASlowReaderLater) {
  PresencePace pace;
  pace.frame_bytes = 1000;
  pace.waiting_bytes = 3000;
  Instance server(clock, random, {}, nullptr, pace);
  std::vector<Instance::Stream> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(server.open("user-" + std::to_string(i), {"b"}));
    crowd.back().peer->reads = false;
    crowd.back().peer->waiting = 10'000;  // reads nothing at all
    server.say(crowd.back(), track("b", R"({"text":"0123456789"})"));
  }
  auto slow = server.open("slow", {"b"});
  slow.peer->reads = false;
  Folded seen;
  std::size_t ticks = 0;
  for (; seen.buckets["b"].size() < 100 && ticks < 100; ++ticks) {
    clock.advance(milliseconds(250));
    // It changes meanwhile.
    server.say(crowd[ticks % 100], track("b", R"({"text":"changed"})"));
    server.tick();
    EXPECT_LE(slow.peer->waiting, 3000U);
    slow.peer->waiting = 0;
    seen.fold(*slow.peer);
  }
  EXPECT_GT(ticks, 2U) << "it did not fit into what may wait";
  for (int i = 0; i < 5; ++i) {
    clock.advance(milliseconds(250));
    server.tick();
    slow.peer->waiting = 0;
    seen.fold(*slow.peer);
  }
  EXPECT_LE(seen.longest, 1200U);
  EXPECT_EQ(seen.buckets["b"].size(), 100U);
  std::size_t changed = 0;
  for (const auto& [ref, entry] : seen.buckets["b"]) changed += entry.find("changed") != std::string::npos;
  EXPECT_EQ(changed, ticks);
  for (const auto& silent : crowd) EXPECT_EQ(silent.peer->frames.size(), 0U) << "what does not read is sent nothing";
}

TEST_F(PresenceTest, CountsThatASlowReaderWasLeftForLater) {
  Instance server(clock, random);
  auto slow = server.open("slow", {"b"}), quick = server.open("quick", {"b"});
  server.presence->flush();
  slow.peer->reads = false;
  slow.peer->waiting = 1'000'000;
  server.does(quick, track("b"));
  EXPECT_EQ(server.presence->figures().late, 1U);
  EXPECT_EQ(server.presence->figures().told, 3U) << "two states, and the quick one of itself";
  slow.peer->waiting = 0;
  server.presence->flush();
  EXPECT_EQ(server.presence->figures().told, 4U);
}

// Several instances

class Hears : public realtime::Listener {
 public:
  explicit Hears(Instance& instance) : instance_(instance) {}
  void heard(realtime::Message message) override {
    for (const std::string& text : message.presence) longest = std::max(longest, text.size());
    instance_.presence->heard(message.presence);
  }
  void missed() override { instance_.presence->missed(); }
  std::size_t longest = 0;

 private:
  Instance& instance_;
};

struct Node {
  Node(realtime::InProcessBus& bus, ManualClock& clock, Random& random, Limits limits = {})
      : realtime(bus.join()),
        instance(clock, random, limits, realtime.get()),
        hears(std::make_shared<Hears>(instance)) {
    realtime->start(hears);
  }
  ~Node() { realtime->stop(); }
  std::unique_ptr<realtime::Realtime> realtime;
  Instance instance;
  std::shared_ptr<Hears> hears;
};

class PresenceAcross : public PresenceTest {
 protected:
  void both(Node& a, Node& b) {
    for (Node* node : {&a, &b, &a, &b}) node->instance.tick();
  }
  realtime::InProcessBus bus;
};

TEST_F(PresenceAcross, JoinsAndLeavesAreToldAtOnce) {
  Node a(bus, clock, random), b(bus, clock, random);
  both(a, b);
  auto ann = a.instance.open("ann", {"shop"}), bob = b.instance.open("bob", {"shop"});
  b.instance.presence->flush();
  bob.peer->take();
  a.instance.does(ann, track("shop", R"({"at":"till"})"));
  b.instance.presence->flush();
  EXPECT_EQ(plain(bob.peer->take()),
            R"(presence:diff:{"bucket":"shop","joins":{"ann":[{"presence_ref":"1","at":"till"}]},"leaves":{}})");
  a.instance.does(ann, untrack("shop"));
  b.instance.presence->flush();
  EXPECT_EQ(plain(bob.peer->take()),
            R"(presence:diff:{"bucket":"shop","joins":{},"leaves":{"ann":[{"presence_ref":"1","at":"till"}]}})");
  EXPECT_EQ(b.instance.presence->size(), 0U);
}

TEST_F(PresenceAcross, AnInstanceThatStartsLaterIsToldWhoIsThere) {
  Node a(bus, clock, random);
  auto ann = a.instance.open("ann", {"shop"});
  a.instance.does(ann, track("shop"));
  a.instance.tick();
  Node b(bus, clock, random);
  b.instance.tick();
  for (int i = 0; i < 8 && b.instance.presence->size() == 0; ++i) {
    clock.advance(milliseconds(250));
    both(a, b);
  }
  EXPECT_EQ(b.instance.presence->size(), 1U);
}

TEST_F(PresenceAcross, WhatAnInstanceHasNotRepeatedIsGoneAfterTheTimeout) {
  Node a(bus, clock, random), b(bus, clock, random);
  both(a, b);
  auto ann = a.instance.open("ann", {"shop"}), bob = b.instance.open("bob", {"shop"});
  a.instance.does(ann, track("shop"));
  b.instance.presence->flush();
  // As long as it repeats its list, and its connection beats, it stays.
  for (int i = 0; i < 120; ++i) {
    clock.advance(seconds(1));
    a.instance.does(ann, heartbeat("shop"));
    both(a, b);
    ASSERT_EQ(b.instance.presence->size(), 1U) << "after " << i << " s";
  }
  a.realtime->stop();
  bob.peer->take();
  for (int i = 0; i < 32; ++i) {
    clock.advance(seconds(1));
    b.instance.tick();
  }
  EXPECT_EQ(plain(bob.peer->take()),
            R"(presence:diff:{"bucket":"shop","joins":{},"leaves":{"ann":[{"presence_ref":"1"}]}})");
}

TEST_F(PresenceAcross, AMissedMessageIsMadeGoodByTheNextList) {
  Node a(bus, clock, random), b(bus, clock, random);
  both(a, b);
  auto ann = a.instance.open("ann", {"shop"});
  b.realtime->stop();
  a.instance.does(ann, track("shop"));
  b.realtime->start(b.hears);
  EXPECT_EQ(b.instance.presence->size(), 0U);
  b.hears->missed();
  for (int i = 0; i < 8 && b.instance.presence->size() == 0; ++i) {
    clock.advance(milliseconds(250));
    both(a, b);
  }
  EXPECT_EQ(b.instance.presence->size(), 1U);
}

TEST_F(PresenceAcross, AnInstanceThatShutsDownTakesItsConnectionsWithIt) {
  Node a(bus, clock, random), b(bus, clock, random);
  both(a, b);
  auto ann = a.instance.open("ann", {"shop"});
  a.instance.does(ann, track("shop"));
  EXPECT_EQ(b.instance.presence->size(), 1U);
  const std::size_t wakes = a.instance.wakes;
  a.instance.presence->begin_shutdown();
  EXPECT_GT(a.instance.wakes, wakes);
  a.instance.presence->flush();
  EXPECT_EQ(b.instance.presence->size(), 0U);
  clock.advance(seconds(20));
  both(a, b);
  EXPECT_EQ(b.instance.presence->size(), 0U) << "and does not list them again";
}

TEST_F(PresenceAcross, ALongListGoesInMessagesThatFitANotification) {
  Node a(bus, clock, random), b(bus, clock, random);
  std::vector<Instance::Stream> crowd;
  for (int i = 0; i < 2000; ++i) {
    const std::string shop = "shop-" + std::to_string(i);
    crowd.push_back(a.instance.open("user-" + std::to_string(i), {shop}));
    a.instance.say(crowd.back(), track(shop, R"({"text":")" + std::string(static_cast<std::size_t>(i), 'x') + "\"}"));
  }
  for (int i = 0; i < 80; ++i) {
    clock.advance(milliseconds(250));
    both(a, b);
  }
  EXPECT_EQ(b.instance.presence->size(), 2000U);
  EXPECT_LT(b.hears->longest, 5'200U);
}

TEST_F(PresenceAcross, EqualConnectionsOfTwoInstancesStayApart) {
  Node a(bus, clock, random), b(bus, clock, random);
  both(a, b);
  auto here = a.instance.open("ann", {"shop"}), there = b.instance.open("ann", {"shop"});
  a.instance.does(here, track("shop"));
  b.instance.does(there, track("shop"));
  EXPECT_EQ(a.instance.presence->size(), 2U);
  a.instance.close(here);
  a.instance.presence->flush();
  EXPECT_EQ(b.instance.presence->size(), 1U);
}

TEST_F(PresenceAcross, WhatCannotBeReadIsIgnored) {
  Node a(bus, clock, random);
  const std::vector<std::string> texts{
      "",
      "{",
      "[]",
      "{}",
      R"({"from":"x"})",
      R"({"from":"x","kind":"of another build","joins":[],"leaves":[]})",
      R"({"from":"","kind":"gone"})",
      R"({"from":"x","kind":"changes"})",
      R"({"from":"x","kind":"changes","joins":[["b","u","no entry"]],"leaves":[]})",
      R"({"from":"x","kind":"changes","joins":[["b","u",{"name":"no ref"}]],"leaves":[]})",
      R"({"from":"x","kind":"changes","joins":[["b",{"presence_ref":"r"}]],"leaves":[]})",
      R"({"from":"x","kind":"changes","joins":[],"leaves":[["b","u",7]]})",
  };
  a.instance.presence->heard(texts);
  EXPECT_EQ(a.instance.presence->size(), 0U);
  a.instance.presence->heard({R"({"from":"x","kind":"changes","joins":[["b","u",{"presence_ref":"r"}]],"leaves":[]})",
                              R"({"from":"y","kind":"changes","joins":[],"leaves":[["b","u","r"]]})"});
  EXPECT_EQ(a.instance.presence->size(), 1U) << "an instance speaks for its own connections only";
  a.instance.presence->heard({R"({"from":"x","kind":"gone"})"});
  EXPECT_EQ(a.instance.presence->size(), 0U);
}

TEST_F(PresenceAcross, NoFrameAndNoMessageBreaksItOrGrowsItsMemory) {
  const std::uint64_t seed = test_seed("presence");
  SeededRandom dice(seed);
  const Limits bounds = limits(&Limits::presence_bytes_max, 20'000);
  Node a(bus, clock, random, bounds);
  std::vector<Instance::Stream> streams;
  for (int i = 0; i < 5; ++i) streams.push_back(a.instance.open("u" + std::to_string(i), {"b", "c"}));
  const auto spoilt = [&](std::string text) {
    for (std::uint64_t n = dice.below(4); n > 0 && !text.empty(); --n) {
      const std::size_t at = dice.below(text.size());
      switch (dice.below(3)) {
        case 0:
          text[at] = static_cast<char>(dice.below(256));
          break;
        case 1:
          text.erase(at, dice.below(10));
          break;
        default:
          text.insert(at, text.substr(dice.below(text.size()), dice.below(30)));
      }
    }
    return text;
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string bucket = dice.below(2) == 0 ? "b" : "c", name = "x" + std::to_string(dice.below(1'000));
    Instance::Stream& stream = streams[dice.below(streams.size())];
    switch (dice.below(4)) {
      case 0:
        a.instance.say(stream, spoilt(track(bucket, R"({"name":")" + name + "\"}")));
        break;
      case 1:
        a.instance.say(stream, spoilt(dice.below(2) == 0 ? untrack(bucket) : heartbeat(bucket)));
        break;
      case 2:
        a.instance.presence->heard(
            {spoilt(R"({"from":"other","kind":"changes","joins":[[")" + bucket + R"(",")" + name +
                    R"(",{"presence_ref":")" + name + R"("}]],"leaves":[[")" + bucket + R"(","x1","x1"]]})")});
        break;
      default:
        clock.advance(milliseconds(dice.below(500)));
        a.instance.tick();
        stream.peer->frames.clear();
    }
    ASSERT_LE(a.instance.presence->bytes(), 20'000U);
  }
  a.instance.presence->heard({R"({"from":"other","kind":"gone"})"});
  clock.advance(seconds(31));
  a.instance.tick();
  EXPECT_EQ(a.instance.presence->size(), 0U);
  EXPECT_EQ(a.instance.presence->bytes(), 0U);
}

}  // namespace
}  // namespace nizhal::server
