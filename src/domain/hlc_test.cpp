#include "domain/hlc.hpp"

#include <gtest/gtest.h>

#include "base/test_seed.hpp"

namespace nizhal {
namespace {

const std::string kNode(32, 'a');

TEST(Hlc, TextHasTheFormOfTheProtocol) {
  const Hlc stamp{1'767'323'045'678, 0x1f, hlc_node("c1")};
  EXPECT_EQ(stamp.text(), "2026-01-02T03:04:05.678Z-001f-000000000000000000000000000000c1");
}

TEST(Hlc, ParsingGivesBackWhatWasPrinted) {
  const Hlc stamp{1'767'323'045'678, 0xffff, kNode};
  const auto parsed = parse_hlc(stamp.text());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, stamp);
}

TEST(Hlc, OnlyTheOneFormIsAccepted) {
  const std::string good = "2026-01-02T03:04:05.678Z-001f-" + kNode;
  ASSERT_TRUE(parse_hlc(good));
  const std::string bad[] = {
      "",
      good + "0",
      good.substr(1),
      "2026-01-02T03:04:05.678Z-001F-" + kNode,
      "2026-01-02T03:04:05.678Z-001g-" + kNode,
      "2026-02-30T03:04:05.678Z-001f-" + kNode,
      "2026-01-02T24:04:05.678Z-001f-" + kNode,
      "2026-01-02 03:04:05.678Z-001f-" + kNode,
      "2026-01-02T03:04:05,678Z-001f-" + kNode,
      "2026-01-02T03:04:05.678z-001f-" + kNode,
      "2026-01-02T03:04:05.678Z_001f-" + kNode,
      "2026-01-02T03:04:05.678Z-001f_" + kNode,
      "2026-01-02T03:04:05.678Z-001f-" + std::string(32, 'A'),
      "2026-01-02T03:04:05.678Z- 01f-" + kNode,
  };
  for (const std::string& text : bad) EXPECT_FALSE(parse_hlc(text)) << text;
}

TEST(Hlc, TheNodeIsTheHexDigitsOfTheClientId) {
  EXPECT_EQ(hlc_node(""), std::string(32, '0'));
  EXPECT_EQ(hlc_node("0C9b6A52-1111-4222-8333-444455556666"), "0c9b6a52111142228333444455556666");
  EXPECT_EQ(hlc_node("x" + std::string(40, 'f')), std::string(32, 'f'));
  EXPECT_EQ(hlc_node("12" + std::string(32, '3')), std::string(32, '3'));
}

TEST(Hlc, AFullCounterMovesTheWallTimeOnByAMillisecond) {
  HybridClock clock(kNode, Hlc{1000, 0xffff, kNode});
  EXPECT_EQ(clock.tick(Timestamp{500'000}), (Hlc{1001, 0, kNode}));
  EXPECT_EQ(clock.tick(Timestamp{500'000}), (Hlc{1001, 1, kNode}));
  EXPECT_EQ(clock.tick(Timestamp{2'000'999}), (Hlc{2000, 0, kNode}));
}

TEST(Hlc, AStampSeenFromElsewhereIsPassed) {
  HybridClock clock(kNode, Hlc{});
  const Hlc seen{5000, 7, std::string(32, 'f')};
  clock.observe(seen);
  const Hlc issued = clock.tick(Timestamp{1'000'000});
  EXPECT_GT(issued.text(), seen.text());
  EXPECT_EQ(issued.node, kNode);
  clock.observe(Hlc{1, 1, kNode});
  EXPECT_EQ(clock.last(), issued);
}

TEST(Hlc, StampsOnlyGoUpUnderRandomClockJumps) {
  SeededRandom random(test_seed());
  for (int run = 0; run < 20; ++run) {
    HybridClock clock(kNode, Hlc{});
    std::int64_t wall = 1'767'323'045'678'901;
    Hlc last = clock.tick(Timestamp{wall});
    for (int i = 0; i < 2'000; ++i) {
      const std::uint64_t kind = random.below(10);
      if (kind == 0) wall += static_cast<std::int64_t>(random.below(86'400'000'000));
      if (kind == 1) wall -= static_cast<std::int64_t>(random.below(86'400'000'000));
      if (kind == 2) wall += static_cast<std::int64_t>(random.below(2'000));
      if (kind == 3) {
        Hlc seen{wall / 1000 + static_cast<std::int64_t>(random.below(1'000)),
                 static_cast<std::uint16_t>(0xfff0 + random.below(16)), std::string(32, 'f')};
        clock.observe(seen);
        if (seen > last) last = seen;
      }
      const Hlc issued = clock.tick(Timestamp{wall});
      ASSERT_GT(issued, last);
      ASSERT_GT(issued.text(), last.text());
      ASSERT_EQ(parse_hlc(issued.text()), issued);
      last = issued;
    }
  }
}

TEST(Hlc, MoreStampsThanACounterHoldsInOneMillisecondStillGoUp) {
  HybridClock clock(kNode, Hlc{});
  std::string last = clock.tick(Timestamp{1'000'000}).text();
  for (int i = 0; i < 70'000; ++i) {
    std::string issued = clock.tick(Timestamp{1'000'000}).text();
    ASSERT_GT(issued, last);
    last = std::move(issued);
  }
}

}  // namespace
}  // namespace nizhal
