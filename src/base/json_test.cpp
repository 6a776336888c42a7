#include "base/json.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/bytes.hpp"
#include "base/environment.hpp"
#include "base/test_seed.hpp"

namespace nizhal {
namespace {

std::string text_of(double number) {
  std::string out;
  append_json_number(out, number);
  return out;
}
std::string string_of(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(Json, ReadsAndWritesEveryKindOfValue) {
  const std::string text =
      R"({"null":null,"yes":true,"no":false,"int":-7,"big":18446744073709551615,"real":1.5,"text":"é\n\"","list":[1,[],{}]})";
  const auto value = parse_json(text);
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(to_text(*value), text);
}

TEST(Json, AnErrorNamesThePlace) {
  const auto value = parse_json(R"({"a":1,})");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().code, ErrorCode::bad_request);
  EXPECT_EQ(value.error().message, "invalid JSON at byte 7: syntax error");
}

TEST(Json, RefusesWhatIsNotStrictJson) {
  for (const std::string_view text : {"",        " ",           "{",       "[1,]",          "{'a':1}",
                                      "{\"a\"}", "nul",         "NaN",     "Infinity",      "01",
                                      "1.",      ".5",          "+1",      "1e400",         "-1e400",
                                      "\"\\x\"", "\"\\ud800\"", "\"\n\"",  "\"\xff\"",      "\"\xed\xa0\x80\"",
                                      "{} {}",   "[1]x",        "// c\n1", "\xef\xbb\xbf{}"}) {
    EXPECT_FALSE(parse_json(text)) << text;
    EXPECT_FALSE(is_json(text)) << text;
  }
  EXPECT_FALSE(parse_json(std::string_view("1\0", 2)));
}

TEST(Json, TakesWhiteSpaceAround) {
  EXPECT_TRUE(parse_json(" \t\r\n{ } \n"));
  EXPECT_TRUE(is_json(" [ 1 , 2 ] "));
}

TEST(Json, DepthIsBoundedAt64) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_json(nested(64)));
  EXPECT_FALSE(parse_json(nested(65)));
  EXPECT_FALSE(parse_json(std::string(1'000'000, '[')));
  EXPECT_FALSE(is_json(nested(65)));
}

TEST(Json, EveryDoubleReadsBackAsItself) {
  SeededRandom random(test_seed());
  std::vector<double> numbers = {0.0,
                                 -0.0,
                                 1.0,
                                 0.1,
                                 0.1 + 0.2,
                                 1e23,
                                 9007199254740993.0,
                                 5e-324,
                                 2.2250738585072014e-308,
                                 std::numeric_limits<double>::max(),
                                 std::numeric_limits<double>::lowest(),
                                 1e21,
                                 -1e18};
  for (int i = 0; i < 20'000; ++i) {
    numbers.push_back(std::bit_cast<double>(random.next()));
    numbers.push_back(static_cast<double>(random.below(1'000'000'000)) / 1000.0);
  }
  for (const double number : numbers) {
    if (!std::isfinite(number)) continue;
    const auto value = parse_json(text_of(number));
    ASSERT_TRUE(value) << text_of(number);
    const double back = value->if_double()  ? *value->if_double()
                        : value->if_int64() ? static_cast<double>(*value->if_int64())
                                            : static_cast<double>(*value->if_uint64());
    ASSERT_EQ(std::bit_cast<std::uint64_t>(back), std::bit_cast<std::uint64_t>(number)) << text_of(number);
  }
}

TEST(Json, DoublesAreWrittenShortest) {
  EXPECT_EQ(text_of(0.1), "0.1");
  EXPECT_EQ(text_of(1.0), "1");
  EXPECT_EQ(text_of(-0.0), "-0.0");
  EXPECT_EQ(text_of(1e300), "1e+300");
  EXPECT_EQ(text_of(std::numeric_limits<double>::quiet_NaN()), "null");
  EXPECT_EQ(text_of(std::numeric_limits<double>::infinity()), "null");
}

TEST(Json, ANumberTooSmallForADoubleIsZero) {
  const auto value = parse_json("[1e-400,-1e-999]");
  ASSERT_TRUE(value);
  EXPECT_EQ(to_text(*value), "[0,-0.0]");
}

TEST(Json, IntegersAreWrittenInFull) {
  std::string out;
  append_json_number(out, std::numeric_limits<std::int64_t>::min());
  out += ' ';
  append_json_number(out, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(out, "-9223372036854775808 9223372036854775807");
}

TEST(Json, StringsEscapeWhatJsonForbids) {
  EXPECT_EQ(string_of("a\"\\/\b\f\n\r\t\x01\x1f\x7f é"), "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f é\"");
  EXPECT_EQ(string_of(std::string_view("\0", 1)), "\"\\u0000\"");
  EXPECT_EQ(string_of("a\xff"
                      "b"),
            "\"a\xEF\xBF\xBD"
            "b\"");
}

TEST(Json, AnyBytesMakeAStringThatParses) {
  SeededRandom random(test_seed());
  for (int i = 0; i < 2'000; ++i) {
    std::vector<std::uint8_t> bytes(random.below(24));
    random.fill(bytes);
    const std::string text(bytes.begin(), bytes.end());
    const auto value = parse_json(string_of(text));
    ASSERT_TRUE(value) << to_hex(bytes);
    EXPECT_EQ(std::string_view(value->if_string()->data(), value->if_string()->size()), to_utf8(text));
  }
}

TEST(Json, RandomBytesNeverBreakTheParser) {
  SeededRandom random(test_seed());
  constexpr std::string_view kPieces[] = {"{",  "}",  "[",    "]",    ":",       ",",  "\"", "a",    "1",    "-",
                                          ".5", "e9", "null", "true", "\\u00e9", "\\", " ",  "\xc3", "\xa9", "\n"};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (std::uint64_t n = random.below(12); n > 0; --n) text += kPieces[random.below(std::size(kPieces))];
    const auto value = parse_json(text);
    ASSERT_EQ(value.has_value(), is_json(text)) << text;
    if (!value) continue;
    const auto again = parse_json(to_text(*value));
    ASSERT_TRUE(again) << text;
    EXPECT_TRUE(*again == *value) << text;
  }
}

TEST(Json, MembersAreFoundWithoutThrowing) {
  const auto value = parse_json(R"({"a":"x","b":1})");
  ASSERT_TRUE(value);
  EXPECT_EQ(string_member(*value, "a"), "x");
  EXPECT_FALSE(string_member(*value, "b"));
  EXPECT_FALSE(string_member(*value, "c"));
  ASSERT_NE(member(*value, "b"), nullptr);
  EXPECT_EQ(member(*member(*value, "b"), "x"), nullptr);
}

TEST(Json, IntegersAreTakenInEveryForm) {
  const auto integer = [](std::string_view text) { return as_integer(*parse_json(text)); };
  EXPECT_EQ(integer("1"), 1);
  EXPECT_EQ(integer("1.0"), 1);
  EXPECT_EQ(integer("1e3"), 1000);
  EXPECT_EQ(integer("-0"), 0);
  EXPECT_EQ(integer("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(integer("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(integer("-9223372036854775808.0"), std::numeric_limits<std::int64_t>::min());
  for (const std::string_view text : {"1.5", "9223372036854775808", "9.3e18", "1e300", "\"1\"", "true", "null", "[]"})
    EXPECT_FALSE(integer(text)) << text;
}

}  // namespace
}  // namespace nizhal
