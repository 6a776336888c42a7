#include "server/recent_updates.hpp"

#include <gtest/gtest.h>

#include "base/environment.hpp"
#include "base/test_seed.hpp"

namespace nizhal::server {
namespace {

using crdt::Bytes;
using Updates = std::vector<Bytes>;

RecentUpdates two_columns() {
  RecentUpdates recent;
  recent.begin("body", Version{10});
  recent.begin("notes", Version{300});
  recent.add("body", Version{11}, {1, 2, 3});
  recent.add("body", Version{1'000'000'000'000}, {});
  recent.add("notes", Version{301}, Bytes(300, 7));
  return recent;
}

TEST(RecentUpdates, TellsWhatLiesAboveAPosition) {
  const RecentUpdates recent = two_columns();
  EXPECT_EQ(recent.since("body", Version{9}), std::nullopt);
  EXPECT_EQ(recent.since("body", Version{10}), (Updates{{1, 2, 3}, {}}));
  EXPECT_EQ(recent.since("body", Version{11}), (Updates{{}}));
  EXPECT_EQ(recent.since("body", Version{1'000'000'000'000}), Updates{});
  EXPECT_EQ(recent.since("notes", Version{299}), std::nullopt);
  EXPECT_EQ(recent.since("other", Version{5'000}), std::nullopt);
}

TEST(RecentUpdates, AnUnknownColumnTakesNone) {
  RecentUpdates recent;
  recent.add("body", Version{4}, {1});
  EXPECT_EQ(recent.bytes(), "");
  EXPECT_FALSE(recent.knows("body"));
}

TEST(RecentUpdates, AreReadBackAsTheyWere) {
  const RecentUpdates recent = two_columns();
  const RecentUpdates again(recent.bytes());
  EXPECT_EQ(again.bytes(), recent.bytes());
  EXPECT_EQ(again.since("body", Version{10}), recent.since("body", Version{10}));
  EXPECT_EQ(again.since("notes", Version{300}), (Updates{Bytes(300, 7)}));
  EXPECT_EQ(RecentUpdates("").bytes(), "");
}

TEST(RecentUpdates, ABeginningForgetsWhatWasKnown) {
  RecentUpdates recent = two_columns();
  recent.begin("body", Version{20});
  EXPECT_EQ(recent.since("body", Version{19}), std::nullopt);
  EXPECT_EQ(recent.since("body", Version{20}), Updates{});
}

TEST(RecentUpdates, TheOldestGoFirstAndTheFloorRises) {
  RecentUpdates recent;
  recent.begin("a", Version{1});
  recent.begin("b", Version{1});
  for (std::uint64_t version = 2; version < 40; ++version)
    recent.add(version % 2 == 0 ? "a" : "b", Version{version}, Bytes(20, static_cast<std::uint8_t>(version)));
  for (std::size_t bytes_max = recent.bytes().size(); bytes_max > 20; bytes_max -= 7) {
    recent.shrink(bytes_max);
    ASSERT_LE(recent.bytes().size(), bytes_max);
    // Nobody is told less than there was: whoever is answered gets all above the position.
    for (std::uint64_t position = 0; position < 40; ++position) {
      const auto updates = recent.since("a", Version{position});
      if (!updates) continue;
      std::size_t expected = 0;
      for (std::uint64_t version = position + 1; version < 40; ++version) expected += version >= 2 && version % 2 == 0;
      ASSERT_EQ(updates->size(), expected) << position << " of " << bytes_max;
    }
  }
  EXPECT_EQ(recent.since("a", Version{39}), Updates{});
  recent.shrink(3);
  EXPECT_EQ(recent.bytes(), "");
}

TEST(RecentUpdates, VersionsOutOfOrderRaiseTheFloorToTheNewestThatWasDropped) {
  RecentUpdates recent;
  recent.begin("body", Version{1});
  recent.add("body", Version{9}, Bytes(100, 1));
  recent.add("body", Version{4}, Bytes(100, 2));
  recent.shrink(130);
  EXPECT_EQ(recent.since("body", Version{8}), std::nullopt);
  EXPECT_EQ(recent.since("body", Version{3}), std::nullopt);
  EXPECT_EQ(recent.since("body", Version{9}), Updates{});
}

TEST(RecentUpdates, AnUpdateLargerThanAllIsForgotten) {
  RecentUpdates recent;
  recent.begin("body", Version{1});
  recent.add("body", Version{5}, Bytes(1'000, 1));
  recent.shrink(500);
  EXPECT_EQ(recent.since("body", Version{4}), std::nullopt);
  EXPECT_EQ(recent.since("body", Version{5}), Updates{});
}

// Another program may write what it likes into the column.
TEST(RecentUpdates, BytesFromElsewhereHoldNothingAndHarmNobody) {
  const std::string good = two_columns().bytes();
  for (std::size_t size = 1; size < good.size(); ++size) {
    const RecentUpdates cut(good.substr(0, size));
    if (!cut.bytes().empty()) {
      // Cut between columns it is whole again.
      EXPECT_EQ(cut.bytes(), good.substr(0, size));
    }
  }
  for (const std::string_view hostile :
       {"\x02", "\x01\x7f", "\x01\x01", "\x01\x01z", "\x01\x01z\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        "\x01\x01z\x01\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        "\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"})
    EXPECT_EQ(RecentUpdates(hostile).bytes(), "");

  SeededRandom random(test_seed("RecentUpdates"));
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good;
    for (std::uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
      const auto at = static_cast<std::size_t>(random.below(bytes.size()));
      switch (random.below(3)) {
        case 0:
          bytes[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          bytes.erase(at, static_cast<std::size_t>(random.below(5)));
          break;
        default:
          bytes.insert(at, static_cast<std::size_t>(random.below(4)), static_cast<char>(random.below(256)));
      }
      if (bytes.empty()) bytes = "\x01";
    }
    RecentUpdates recent(bytes);
    // What is taken is written as it was read: one form, one meaning.
    if (!recent.bytes().empty() && recent.bytes().size() == bytes.size()) {
      ASSERT_EQ(RecentUpdates(recent.bytes()).bytes(), recent.bytes());
    }
    (void)recent.since("body", Version{random.below(400)});
    recent.add("body", Version{random.below(400)}, {1});
    recent.shrink(static_cast<std::size_t>(random.below(200)));
  }
}

}  // namespace
}  // namespace nizhal::server
