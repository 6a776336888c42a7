#include <nizhal/value.hpp>

#include <algorithm>
#include <limits>
#include <set>

#include <gtest/gtest.h>

#include <nizhal/result.hpp>

#include "base/ids.hpp"
#include "base/test_seed.hpp"

namespace nizhal {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kDay = 86'400 * kSecond;

std::string again(std::string_view text) {
  const auto time = parse_iso8601(text);
  return time ? to_iso8601(*time) : "(nothing)";
}

TEST(Timestamps, AreWrittenWith27Characters) {
  EXPECT_EQ(to_iso8601({0}), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(to_iso8601({-1}), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(to_iso8601({1'767'323'045'678'901}), "2026-01-02T03:04:05.678901Z");
}

TEST(Timestamps, LeapYearsFollowTheGregorianRule) {
  EXPECT_EQ(again("2024-02-29T12:00:00Z"), "2024-02-29T12:00:00.000000Z");
  EXPECT_EQ(again("2000-02-29T12:00:00Z"), "2000-02-29T12:00:00.000000Z");
  EXPECT_EQ(again("0000-02-29T12:00:00Z"), "0000-02-29T12:00:00.000000Z");
  for (const std::string_view text : {"2023-02-29T12:00:00Z", "1900-02-29T12:00:00Z", "2100-02-29T12:00:00Z"})
    EXPECT_FALSE(parse_iso8601(text)) << text;
}

TEST(Timestamps, EveryDayOfACycleOf400YearsComesBackInOrder) {
  std::string last;
  const std::int64_t first = parse_iso8601("1800-01-01T00:00:00Z")->microseconds;
  const std::int64_t end = parse_iso8601("2200-01-01T00:00:00Z")->microseconds;
  EXPECT_EQ((end - first) / kDay, 146'097);
  for (std::int64_t time = first; time < end; time += kDay) {
    const std::string text = to_iso8601({time});
    ASSERT_EQ(text.size(), 27U);
    ASSERT_LT(last, text);
    ASSERT_EQ(parse_iso8601(text), Timestamp{time});
    last = text;
  }
}

TEST(Timestamps, TheFirstAndLastInstantOfEveryYearComeBack) {
  for (int year = 0; year <= 9999; ++year) {
    std::string text = "0000-01-01T00:00:00.000000Z";
    for (int i = 3, rest = year; i >= 0; --i, rest /= 10)
      text[static_cast<std::size_t>(i)] = static_cast<char>('0' + rest % 10);
    ASSERT_EQ(again(text), text);
    text.replace(4, std::string::npos, "-12-31T23:59:59.999999Z");
    ASSERT_EQ(again(text), text);
  }
}

TEST(Timestamps, YearsOutsideAreClamped) {
  EXPECT_EQ(to_iso8601({std::numeric_limits<std::int64_t>::min()}), "0000-01-01T00:00:00.000000Z");
  EXPECT_EQ(to_iso8601({std::numeric_limits<std::int64_t>::max()}), "9999-12-31T23:59:59.999999Z");
}

TEST(Timestamps, AreReadInTheFormsThatOthersWrite) {
  EXPECT_EQ(again("2026-01-02 03:04:05"), "2026-01-02T03:04:05.000000Z");
  EXPECT_EQ(again("2026-01-02T03:04:05.6Z"), "2026-01-02T03:04:05.600000Z");
  EXPECT_EQ(again("2026-01-02T03:04:05.123456789Z"), "2026-01-02T03:04:05.123456Z");
  EXPECT_EQ(again("2026-01-02T03:04:05+02:30"), "2026-01-02T00:34:05.000000Z");
  EXPECT_EQ(again("2026-01-01T23:04:05-01:00"), "2026-01-02T00:04:05.000000Z");
  EXPECT_EQ(again("2026-01-02T03:04:05-00:00"), "2026-01-02T03:04:05.000000Z");
}

TEST(Timestamps, AnythingElseIsRefused) {
  for (const std::string_view text : {"",
                                      "2026",
                                      "2026-01-02",
                                      "2026-1-2T03:04:05Z",
                                      "2026-01-02T03:04Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-01-00T00:00:00Z",
                                      "2026-04-31T00:00:00Z",
                                      "2026-01-02T24:00:00Z",
                                      "2026-01-02T23:60:00Z",
                                      "2026-01-02T23:59:60Z",
                                      "2026-01-02T03:04:05.Z",
                                      "2026-01-02T03:04:05.1234567890Z",
                                      "2026-01-02T03:04:05ZZ",
                                      "2026-01-02T03:04:05+1",
                                      "2026-01-02T03:04:05+24:00",
                                      "2026-01-02T03:04:05+01:60",
                                      "2026-01-02T03:04:05+0100",
                                      "-026-01-02T03:04:05Z",
                                      "2026-01-02x03:04:05Z",
                                      " 2026-01-02T03:04:05Z",
                                      "2026-01-02T03:04:05Z ",
                                      "0000-01-01T00:00:00+00:01",
                                      "9999-12-31T23:59:59-00:01"})
    EXPECT_FALSE(parse_iso8601(text)) << text;
}

TEST(Timestamps, RandomTextNeverBreaksTheReader) {
  SeededRandom random(test_seed());
  constexpr std::string_view kCharacters = "0123456789-:TZ. +";
  for (int i = 0; i < 20'000; ++i) {
    std::string text = "2026-01-02T03:04:05.678901Z";
    for (std::uint64_t n = random.below(3) + 1; n > 0; --n)
      text[random.below(text.size())] = kCharacters[random.below(kCharacters.size())];
    text.resize(random.below(4) == 0 ? random.below(text.size()) : text.size());
    if (const auto time = parse_iso8601(text)) {
      EXPECT_EQ(parse_iso8601(to_iso8601(*time)), time) << text;
    }
  }
}

TEST(Values, NullComesFirstThenNumbersTextAndBytes) {
  const std::vector<Value> ordered = {Value{},
                                      Value(-std::numeric_limits<double>::infinity()),
                                      Value(std::numeric_limits<std::int64_t>::min()),
                                      Value(-1.5),
                                      Value(false),
                                      Value(0.5),
                                      Value(true),
                                      Value(std::int64_t{2}),
                                      Value(9007199254740992.0),
                                      Value(std::int64_t{9007199254740993}),
                                      Value(std::numeric_limits<std::int64_t>::max()),
                                      Value(9223372036854775808.0),
                                      Value(std::numeric_limits<double>::infinity()),
                                      Value(std::numeric_limits<double>::quiet_NaN()),
                                      Value(std::string("")),
                                      Value(std::string("B")),
                                      Value(std::string("a")),
                                      Value(std::string("a\0", 2)),
                                      Value(std::string("aa")),
                                      Value(std::string("\xc3\xa9")),
                                      Value(Blob{}),
                                      Value(Blob{{0}}),
                                      Value(Blob{{0, 0}}),
                                      Value(Blob{{255}})};
  for (std::size_t i = 0; i < ordered.size(); ++i)
    for (std::size_t k = 0; k < ordered.size(); ++k)
      EXPECT_TRUE(compare_values(ordered[i], ordered[k]) == (i <=> k)) << i << " " << k;
}

TEST(Values, ZeroHasNoSign) { EXPECT_TRUE(compare_values(Value(0.0), Value(-0.0)) == 0); }

TEST(Values, NumericsCompareAsNumbersOfAnySize) {
  const std::vector<std::string> ordered = {"-123456789012345678901234567890",
                                            "-2",
                                            "-1.5",
                                            "-1.25",
                                            "0",
                                            "0.001",
                                            "0.01",
                                            "1",
                                            "1.0000000000000000000000001",
                                            "9",
                                            "10",
                                            "123456789012345678901234567890",
                                            "123456789012345678901234567890.1"};
  for (std::size_t i = 0; i < ordered.size(); ++i)
    for (std::size_t k = 0; k < ordered.size(); ++k)
      EXPECT_TRUE(compare_values(Value(ordered[i]), Value(ordered[k]), ColumnType::numeric) == (i <=> k))
          << ordered[i] << " " << ordered[k];
  EXPECT_TRUE(compare_values(Value(std::string("1.0")), Value(std::string("1")), ColumnType::numeric) == 0);
  EXPECT_TRUE(compare_values(Value(std::string("10")), Value(std::int64_t{9}), ColumnType::numeric) > 0);
  EXPECT_TRUE(compare_values(Value{}, Value(std::string("-1")), ColumnType::numeric) < 0);
}

TEST(Values, NewIdsAreRandomUuids) {
  std::set<std::string> ids;
  for (int i = 0; i < 1'000; ++i) {
    const std::string id = new_id();
    EXPECT_TRUE(is_uuid(id)) << id;
    EXPECT_EQ(id[14], '4');
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 1'000U);
}

TEST(Names, EveryColumnTypeAndErrorCodeHasItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(ColumnType::crdt_map); ++i) names.insert(to_string(static_cast<ColumnType>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(ColumnType::crdt_map) + 1);
  names.clear();
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) names.insert(to_string(static_cast<ErrorCode>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(ErrorCode::internal) + 1);
  EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace nizhal
