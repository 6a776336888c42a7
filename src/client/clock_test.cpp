// The device's hybrid clock (S20): stamps only go up, across restarts, jumps of the system's clock, stamps that rows
// bring and other handles of the file; only what a correction finds in the future is left behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/test_seed.hpp"
#include "client/merging_test_support.hpp"
#include "client/tuning.hpp"

namespace nizhal::client::testing {
namespace {

using namespace papers;

const std::string kOther(32, '7');

std::string stamp_at(Timestamp time, std::int64_t ahead_ms, std::uint16_t counter = 0) {
  return Hlc{time.microseconds / 1000 + ahead_ms, counter, kOther}.text();
}

struct Clocks : ::testing::Test {
  TempDir folder;
  ManualClock clock{kStart};
  Server server;
  Writer writer{folder.file("a.db"), clock};

  /// The stamp of a new mutation.
  std::string next(Writer& from) {
    EXPECT_TRUE(from.retitle("p1", "t"));
    return from.device.sql_text("SELECT hlc FROM nizhal_outbox ORDER BY ordinal DESC LIMIT 1");
  }
  std::string next() { return next(writer); }
  void see(const std::string& stamp, std::optional<Timestamp> server_time = {}) {
    auto request = writer.device.store().next_pull(100);
    ASSERT_TRUE(request);
    auto page = server.pull(*request);
    page.hlc = stamp;
    page.server_time = server_time;
    const auto applied = writer.device.store().apply_page(*request, page);
    ASSERT_TRUE(applied) << applied.error().message;
  }
  void SetUp() override {
    server.put("p1", "one", crdt::kEmptyUpdate);
    ASSERT_TRUE(writer.pull(server));
    server.edit("p1", typed({}, 3, "x").bytes);  // so that the next page has a row
  }
};

TEST_F(Clocks, WhatIsEditedAfterSeeingARowIsAboveItsStampAlsoAfterARestart) {
  const std::string seen = stamp_at(clock.now(), 30'000, 5);
  see(seen);
  writer.device.reopen();
  EXPECT_GT(next(), seen);
  clock.jump_wall(std::chrono::hours(-1));
  EXPECT_GT(next(), seen);
}

TEST_F(Clocks, AStampBeyondTheAllowedDriftIsIgnored) {
  see(stamp_at(clock.now(), kClockDriftMaxMs + 1));
  EXPECT_LT(next(), stamp_at(clock.now(), 1));
  see("no stamp");
  EXPECT_LT(next(), stamp_at(clock.now(), 1));
}

TEST_F(Clocks, TheServersTimeDecidesWhatIsBeyondTheDrift) {
  const Timestamp real{clock.now().microseconds + 3'600'000'000};  // this device is an hour behind
  const std::string seen = stamp_at(real, 10'000);
  see(seen, real);
  EXPECT_GT(next(), seen);
}

TEST_F(Clocks, ACorrectionStampsWhatIsPendingBelowTheFutureButAboveWhatWasSeen) {
  const std::string seen = stamp_at(clock.now(), 40'000);
  see(seen);
  const std::string before = next();
  clock.jump_wall(std::chrono::hours(2));
  const std::string future = next();
  EXPECT_GT(future, stamp_at(kStart, 3'600'000));
  server.edit("p1", typed(server.rows.at("p1").body, 4, "y").bytes);
  see(stamp_at(kStart, 0), kStart);  // the server says what time it is
  const std::string again = writer.device.sql_text("SELECT hlc FROM nizhal_outbox ORDER BY ordinal DESC LIMIT 1");
  EXPECT_LT(again, stamp_at(kStart, 3'600'000));
  EXPECT_GT(again, seen);
  EXPECT_GT(again, writer.device.sql_text("SELECT hlc FROM nizhal_outbox ORDER BY ordinal LIMIT 1"));
  EXPECT_GT(next(), again);
}

TEST_F(Clocks, AFullCounterMovesTheWallTimeOn) {
  const std::string seen = stamp_at(clock.now(), 1'000, 0xffff);
  see(seen);
  const auto stamp = parse_hlc(next());
  ASSERT_TRUE(stamp);
  EXPECT_EQ(stamp->milliseconds, parse_hlc(seen)->milliseconds + 1);
  EXPECT_EQ(stamp->counter, 0);
}

TEST_F(Clocks, StampsOnlyGoUpWhateverHappens) {
  SeededRandom random(test_seed("device clock"));
  Writer other(folder.file("a.db"), clock, 2);
  std::string highest;                 // of all stamps that stand
  const Timestamp real = clock.now();  // the server's clock; this test takes no time
  std::set<std::string> issued;
  for (int step = 0; step < 400; ++step) {
    switch (random.below(8)) {
      case 0:
        clock.jump_wall(std::chrono::milliseconds(static_cast<std::int64_t>(random.below(10'000)) - 5'000));
        break;
      case 1:
        clock.jump_wall(std::chrono::hours(static_cast<std::int64_t>(random.below(5)) - 2));
        break;
      case 2:
        (random.below(2) == 0 ? writer : other).device.reopen();
        break;
      case 3: {
        const std::string seen = stamp_at(real, static_cast<std::int64_t>(random.below(59'000)),
                                          static_cast<std::uint16_t>(random.below(4) == 0 ? 0xffff : random.below(9)));
        server.edit("p1", typed(server.rows.at("p1").body, 1000 + static_cast<std::uint64_t>(step), "y").bytes);
        // The device's clock is put right by the same page, so that what it issued in the future is stamped again.
        see(seen, real);
        const auto standing = writer.device.store().sql("SELECT hlc FROM nizhal_outbox ORDER BY ordinal");
        ASSERT_TRUE(standing);
        std::string last;
        for (const auto& row : standing->rows) {
          const std::string stamp = std::get<std::string>(row[0]);
          EXPECT_GT(stamp, last) << "step " << step;
          last = stamp;
        }
        highest = std::max(last, seen);
        break;
      }
      default: {
        const std::string stamp = next(random.below(2) == 0 ? writer : other);
        EXPECT_GT(stamp, highest) << "step " << step;
        highest = stamp;
      }
    }
    if (random.below(20) == 0) {
      // All of it reaches the server, and leaves.
      while (writer.push(server)) {
      }
      ASSERT_TRUE(writer.pull(server));
      EXPECT_TRUE(writer.device.outbox().empty());
    }
  }
}

}  // namespace
}  // namespace nizhal::client::testing
