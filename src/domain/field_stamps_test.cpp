#include "domain/field_stamps.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/environment.hpp"
#include "base/test_seed.hpp"

namespace nizhal {
namespace {

const std::string kNode(32, 'a');
Hlc at(std::int64_t milliseconds, std::uint16_t counter = 0, std::string node = kNode) {
  return Hlc{milliseconds, counter, std::move(node)};
}

TEST(FieldStamps, NothingKnownIsBelowEveryStamp) {
  const FieldStamps none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.text(), "");
  EXPECT_LT(none.of("title"), at(0, 0, std::string(foreign_node())));
  EXPECT_EQ(none.highest(), Hlc{});
  EXPECT_TRUE(FieldStamps("").empty());
}

TEST(FieldStamps, ANewRowsStampIsThatOfEveryColumn) {
  FieldStamps stamps;
  stamps.set("title", at(1));
  stamps.set_all(at(5));
  EXPECT_EQ(stamps.of("title"), at(5));
  EXPECT_EQ(stamps.of("body"), at(5));
  EXPECT_EQ(stamps.text(), "*=" + at(5).text());
  stamps.set("title", at(7));
  EXPECT_EQ(stamps.of("title"), at(7));
  EXPECT_EQ(stamps.of("body"), at(5));
  EXPECT_EQ(stamps.highest(), at(7));
}

TEST(FieldStamps, AColumnIsNeverBelowTheStampOfAll) {
  const FieldStamps stamps("title=" + at(3).text() + ";*=" + at(5).text());
  EXPECT_EQ(stamps.of("title"), at(5));
  EXPECT_EQ(stamps.highest(), at(5));
}

TEST(FieldStamps, TheTextComesBackWithItsColumnsInOrder) {
  FieldStamps stamps;
  stamps.set("b", at(2));
  stamps.set_all(at(1));
  stamps.set("b", at(3));
  stamps.set("a", at(2, 9));
  const std::string text = "*=1970-01-01T00:00:00.001Z-0000-" + kNode + ";a=1970-01-01T00:00:00.002Z-0009-" + kNode +
                           ";b=1970-01-01T00:00:00.003Z-0000-" + kNode;
  EXPECT_EQ(stamps.text(), text);
  EXPECT_EQ(FieldStamps(stamps.text()).text(), stamps.text());
}

TEST(FieldStamps, OfAColumnNamedSeveralTimesTheHighestStampCounts) {
  const FieldStamps stamps("a=" + at(3).text() + ";a=" + at(9).text() + ";a=" + at(4).text() + ";*=" + at(2).text() +
                           ";*=" + at(1).text());
  EXPECT_EQ(stamps.of("a"), at(9));
  EXPECT_EQ(stamps.of("b"), at(2));
  EXPECT_EQ(stamps.text(), "*=" + at(2).text() + ";a=" + at(9).text());
}

TEST(FieldStamps, WhatIsNoStampIsLeftOut) {
  EXPECT_TRUE(FieldStamps(";;=;a;a=;a=b;*=1970").empty());
  const FieldStamps stamps("rubbish;a=nothing;b=" + at(2).text() + ";");
  EXPECT_EQ(stamps.text(), "b=" + at(2).text());
}

TEST(FieldStamps, TheStampsOfAnotherProgramLoseATieAgainstEveryDevice) {
  EXPECT_EQ(foreign_node().size(), 32u);
  EXPECT_LT(at(5, 0, std::string(foreign_node())), at(5, 0, std::string(31, '0') + "1"));
  EXPECT_GT(at(6, 0, std::string(foreign_node())), at(5));
}

/// However the stamps of a row came to be there, the highest of each column is what is left.
TEST(FieldStamps, AppendingInAnyOrderTellsTheSame) {
  SeededRandom random(test_seed());
  for (int run = 0; run < 200; ++run) {
    std::vector<std::string> entries;
    for (int i = 0; i < 12; ++i) {
      const std::string column = random.below(4) == 0 ? "*" : std::string(1, static_cast<char>('a' + random.below(3)));
      entries.push_back(column + "=" + at(static_cast<std::int64_t>(random.below(6))).text());
    }
    const auto joined = [&entries] {
      std::string text;
      for (const std::string& entry : entries) text += (text.empty() ? "" : ";") + entry;
      return text;
    };
    const FieldStamps before(joined());
    for (std::size_t i = entries.size(); i > 1; --i) std::swap(entries[i - 1], entries[random.below(i)]);
    const FieldStamps after(joined());
    ASSERT_EQ(before.text(), after.text());
    for (const char* column : {"a", "b", "c", "d"}) ASSERT_EQ(before.of(column), after.of(column));
  }
}

}  // namespace
}  // namespace nizhal
