// Presence on the device: said while the socket is open, forgotten when it is closed, unseen when the bucket is lost.
#include "client/presence_board.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {
namespace {

class Board : public ::testing::Test {
 protected:
  /// What the effects say since the last call: frames, changed buckets, timers.
  std::string said() {
    std::string out;
    for (const Effect& effect : std::exchange(effects, {})) {
      if (const auto* frame = std::get_if<SendFrame>(&effect)) out += frame->text + " ";
      if (const auto* changed = std::get_if<PresenceChanged>(&effect)) out += "changed:" + changed->bucket + " ";
      if (const auto* timer = std::get_if<SetTimer>(&effect))
        out += "timer:" + std::to_string(timer->delay.count()) + " ";
      if (std::holds_alternative<CancelTimer>(effect)) out += "no-timer ";
    }
    return out;
  }
  std::string there(std::string_view bucket) const {
    std::string out;
    for (const Presence& one : board.there(bucket)) out += one.user_id + "/" + one.ref + one.payload + " ";
    return out;
  }
  void open() {
    board.socket_is(effects, true);
    said();
  }
  void pulled(std::vector<std::string> removed, std::vector<std::string> buckets) {
    protocol::PullPage page;
    page.removed_buckets = std::move(removed);
    page.buckets = std::move(buckets);
    board.pulled(effects, page);
  }
  PresenceBoard board{Log()};
  Effects effects;
};

TEST_F(Board, WhatIsTrackedIsSaidOnEachOpeningAndAgainFromTimeToTime) {
  board.track(effects, "b", R"({"at":"till"})");
  EXPECT_EQ(said(), "") << "there is no connection yet";
  board.socket_is(effects, true);
  const std::string frame = R"(presence:track:{"bucket":"b","payload":{"at":"till"}} )";
  EXPECT_EQ(said(), frame + "timer:15000 ");
  board.timer_fired(effects);
  EXPECT_EQ(said(), frame + "timer:15000 ");
  board.track(effects, "c\"d", "{}");
  EXPECT_EQ(said(), R"(presence:track:{"bucket":"c\"d","payload":{}} )");
  board.socket_is(effects, true);
  EXPECT_EQ(said(), "");
  board.socket_is(effects, false);
  EXPECT_EQ(said(), "no-timer ");
  board.timer_fired(effects);
  EXPECT_EQ(said(), "");
  board.untrack(effects, "c\"d");
  board.socket_is(effects, true);
  EXPECT_EQ(said(), frame + "timer:15000 ");
  board.untrack(effects, "b");
  EXPECT_EQ(said(), R"(presence:untrack:{"bucket":"b"} no-timer )");
  board.untrack(effects, "b");
  EXPECT_EQ(said(), "");
}

TEST_F(Board, TheStateIsReplacedAndDiffsAreApplied) {
  open();
  board.heard(effects,
              R"(presence:state:{"bucket":"b","state":{"bob":[{"presence_ref":"2","x":1},{"presence_ref":"1"}]}})");
  EXPECT_EQ(said(), "changed:b ");
  EXPECT_EQ(there("b"), "bob/1{} bob/2{\"x\":1} ");
  board.heard(
      effects,
      R"(presence:diff:{"bucket":"b","joins":{"ann":[{"presence_ref":"3"}],"bob":[{"presence_ref":"2","x":2}]},"leaves":{"bob":[{"presence_ref":"1"}],"eve":[{"presence_ref":"9"}]}})");
  EXPECT_EQ(there("b"), "ann/3{} bob/2{\"x\":2} ");
  board.heard(effects, R"(presence:state:{"bucket":"b","state":{"eve":[{"presence_ref":"4"}]}})");
  EXPECT_EQ(there("b"), "eve/4{} ");
  EXPECT_EQ(there("c"), "");
}

TEST_F(Board, WhatWasSaidBeforeTheActorHadTheBucketIsSaidAgainWhenItHasIt) {
  open();
  board.track(effects, "b", "{}");
  const std::string frame = R"(presence:track:{"bucket":"b","payload":{}} )";
  EXPECT_EQ(said(), frame + "timer:15000 ");
  board.heard(effects, R"(presence:state:{"bucket":"b","state":{}})");
  EXPECT_EQ(said(), frame + "changed:b ");
  board.heard(effects, R"(presence:state:{"bucket":"c","state":{}})");
  EXPECT_EQ(said(), "changed:c ");
}

TEST_F(Board, NobodyIsThereWithoutAConnection) {
  board.heard(effects, R"(presence:state:{"bucket":"b","state":{"bob":[{"presence_ref":"1"}]}})");
  EXPECT_EQ(there("b") + said(), "");
  open();
  board.heard(effects, R"(presence:state:{"bucket":"b","state":{"bob":[{"presence_ref":"1"}]}})");
  said();
  board.socket_is(effects, false);
  EXPECT_EQ(said(), "no-timer changed:b ");
  EXPECT_EQ(there("b"), "");
}

TEST_F(Board, ALostBucketIsNotSeenUntilItIsTheActorsAgain) {
  open();
  const std::string state = R"(presence:state:{"bucket":"b","state":{"bob":[{"presence_ref":"1"}]}})";
  board.heard(effects, state);
  board.heard(effects, R"(presence:state:{"bucket":"c","state":{"bob":[{"presence_ref":"1"}]}})");
  said();
  pulled({"b"}, {"c"});
  EXPECT_EQ(said(), "changed:b ");
  EXPECT_EQ(there("b"), "");
  EXPECT_NE(there("c"), "");
  pulled({"b"}, {"b", "c"});
  EXPECT_EQ(said(), "changed:b ");
  EXPECT_EQ(there("b"), "bob/1{} ");
  // Lost and had again within one pull: the server saw no loss, and what it told stands.
  pulled({"b"}, {"b", "c"});
  EXPECT_EQ(there("b"), "bob/1{} ");
  // The state of the regained bucket shows it at once.
  pulled({"b"}, {"c"});
  board.heard(effects, state);
  EXPECT_EQ(there("b"), "bob/1{} ");
  // A cursor that the server did not take names no losses.
  protocol::PullPage reset;
  reset.cursor_reset = true;
  reset.buckets = std::vector<std::string>{"c"};
  board.pulled(effects, reset);
  EXPECT_EQ(there("b"), "");
}

TEST_F(Board, WhatCannotBeReadIsIgnoredAndMemoryIsBounded) {
  open();
  for (const char* frame : {"presence:", "presence:state:", "presence:state:{", "presence:state:[]",
                            "presence:state:{}", R"(presence:state:{"bucket":7,"state":{}})",
                            R"(presence:other:{"bucket":"b"})", R"(presence:state:{"bucket":"b","state":[]})",
                            R"(presence:state:{"bucket":"b"})", R"(presence:state:{"bucket":"b","state":{"u":{}}})",
                            R"(presence:state:{"bucket":"b","state":{"u":["x",{"ref":1}]}})",
                            R"(presence:diff:{"bucket":"b","joins":{"u":[{}]},"leaves":7})"})
    board.heard(effects, frame);
  EXPECT_EQ(there("b"), "");
  for (int i = 0; i < 200; ++i)
    board.heard(effects, R"(presence:diff:{"bucket":"b","joins":{"u)" + std::to_string(i) +
                             R"(":[{"presence_ref":"1","x":")" + std::string(100'000, 'x') + R"("}]},"leaves":{}})");
  std::size_t bytes = 0;
  for (const Presence& one : board.there("b")) bytes += one.payload.size();
  EXPECT_GT(bytes, kPresenceBytesMax / 2);
  EXPECT_LE(bytes, kPresenceBytesMax);
  board.heard(effects, R"(presence:state:{"bucket":"b","state":{"ann":[{"presence_ref":"1"}]}})");
  EXPECT_EQ(there("b"), "ann/1{} ") << "what is gone leaves room";
}

TEST_F(Board, NoFrameBreaksIt) {
  const std::uint64_t seed = test_seed("presence board");
  SCOPED_TRACE(seed);
  SeededRandom random(seed);
  open();
  const std::string good[] = {
      R"(presence:state:{"bucket":"b","state":{"bob":[{"presence_ref":"2","x":1},{"presence_ref":"1"}]}})",
      R"(presence:diff:{"bucket":"b","joins":{"ann":[{"presence_ref":"3"}]},"leaves":{"bob":[{"presence_ref":"1"}]}})"};
  for (int i = 0; i < 20'000; ++i) {
    std::string frame = good[random.below(2)];
    for (std::uint64_t n = random.below(4); n > 0; --n) {
      const std::size_t at = random.below(frame.size());
      switch (random.below(3)) {
        case 0:
          frame[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          frame.erase(at, random.below(10));
          break;
        default:
          frame.insert(at, frame.substr(random.below(frame.size()), random.below(20)));
      }
    }
    board.heard(effects, frame);
    effects.clear();
  }
  board.heard(effects, good[0]);
  EXPECT_EQ(there("b"), "bob/1{} bob/2{\"x\":1} ");
}

}  // namespace
}  // namespace nizhal::client
