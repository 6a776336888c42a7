#include "base/decimal.hpp"

#include <gtest/gtest.h>

#include "base/test_seed.hpp"

namespace nizhal {
namespace {

std::string canonical(std::string_view text) { return canonical_decimal(text).value_or("(nothing)"); }

TEST(Decimals, TheCanonicalFormKeepsTheScale) {
  EXPECT_EQ(canonical("0"), "0");
  EXPECT_EQ(canonical("-0"), "0");
  EXPECT_EQ(canonical("-0.00"), "0.00");
  EXPECT_EQ(canonical("+007.50"), "7.50");
  EXPECT_EQ(canonical(".5"), "0.5");
  EXPECT_EQ(canonical("-.5"), "-0.5");
  EXPECT_EQ(canonical("5."), "5");
  EXPECT_EQ(canonical("000"), "0");
  EXPECT_EQ(canonical("123456789012345678901234567890.10"), "123456789012345678901234567890.10");
}

TEST(Decimals, ExponentsAreWrittenOut) {
  EXPECT_EQ(canonical("1e3"), "1000");
  EXPECT_EQ(canonical("1.5E+3"), "1500");
  EXPECT_EQ(canonical("1.2345e2"), "123.45");
  EXPECT_EQ(canonical("15e-1"), "1.5");
  EXPECT_EQ(canonical("-1e-3"), "-0.001");
  EXPECT_EQ(canonical("0e5"), "0");
  EXPECT_EQ(canonical("1e1000").size(), 1001U);
}

TEST(Decimals, AnythingElseIsRefused) {
  for (const std::string_view text :
       {"",   "-",  "+",   ".",     "-.",  "1e",  "1e+",   "1e1001", "1e-1001", "1e99999999999", "NaN", "Infinity",
        "1 ", " 1", "1,5", "1_000", "0x1", "--1", "1.2.3", "1e+-3",  "e3"})
    EXPECT_FALSE(canonical_decimal(text)) << text;
}

TEST(Decimals, CanonicalTextIsRecognised) {
  for (const std::string_view text : {"0", "0.00", "-1.50", "12"}) EXPECT_TRUE(is_canonical_decimal(text)) << text;
  for (const std::string_view text : {"-0", "00", "+1", "1.", ".5", "1e3", "x", ""})
    EXPECT_FALSE(is_canonical_decimal(text)) << text;
}

TEST(Decimals, ComparingIsATotalOrderOnAllTexts) {
  SeededRandom random(test_seed());
  const auto random_text = [&] {
    constexpr std::string_view kCharacters = "0019.-+e";
    std::string text;
    for (std::uint64_t n = random.below(5); n > 0; --n) text += kCharacters[random.below(kCharacters.size())];
    return text;
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string a = random_text(), b = random_text(), c = random_text();
    EXPECT_TRUE(compare_decimals(a, a) == 0);
    EXPECT_TRUE(compare_decimals(a, b) == (0 <=> compare_decimals(b, a))) << a << " " << b;
    if (compare_decimals(a, b) <= 0 && compare_decimals(b, c) <= 0) {
      EXPECT_TRUE(compare_decimals(a, c) <= 0) << a << " " << b << " " << c;
    }
  }
}

TEST(Decimals, ComparingAgreesWithIntegers) {
  SeededRandom random(test_seed());
  for (int i = 0; i < 5'000; ++i) {
    const auto a = static_cast<std::int64_t>(random.below(2001)) - 1000;
    const auto b = static_cast<std::int64_t>(random.below(2001)) - 1000;
    EXPECT_TRUE(compare_decimals(std::to_string(a), std::to_string(b) + ".00") == (a <=> b)) << a << " " << b;
  }
}

TEST(Decimals, WhatIsNoNumberComesLast) {
  EXPECT_TRUE(compare_decimals("NaN", "99999999999999999999") > 0);
  EXPECT_TRUE(compare_decimals("", "-1") > 0);
  EXPECT_TRUE(compare_decimals("a", "b") < 0);
}

TEST(Decimals, SumsAreExact) {
  EXPECT_EQ(add_decimals("0.1", "0.20"), "0.30");
  EXPECT_EQ(add_decimals("-0.5", "0.50"), "0.00");
  EXPECT_EQ(add_decimals("999.9", "0.1"), "1000.0");
  EXPECT_EQ(add_decimals("1", "-1000"), "-999");
  EXPECT_EQ(subtract_decimals("1", "1.001"), "-0.001");
  EXPECT_EQ(subtract_decimals("0", "0"), "0");
  EXPECT_EQ(add_decimals("99999999999999999999999999999999", "1"), "100000000000000000000000000000000");
  EXPECT_EQ(add_decimals("5", "no number"), "5");
}

TEST(Decimals, SumsAgreeWithIntegers) {
  SeededRandom random(test_seed());
  const auto hundredths = [](std::int64_t value) {
    const std::string digits = std::to_string(std::abs(value) + 100'000'000);
    std::string text = digits.substr(0, digits.size() - 2) + "." + digits.substr(digits.size() - 2);
    text = *canonical_decimal((value < 0 ? "-" : "") + text.substr(1));
    return text;
  };
  for (int i = 0; i < 5'000; ++i) {
    const auto a = static_cast<std::int64_t>(random.below(20'001)) - 10'000;
    const auto b = static_cast<std::int64_t>(random.below(2'001)) - 1'000;
    EXPECT_EQ(add_decimals(hundredths(a), hundredths(b)), hundredths(a + b)) << a << " " << b;
    EXPECT_EQ(subtract_decimals(hundredths(a), hundredths(b)), hundredths(a - b)) << a << " " << b;
  }
}

TEST(Decimals, TheShortestFormStandsForAllThatAreEqual) {
  EXPECT_EQ(shortest_decimal("1.50"), "1.5");
  EXPECT_EQ(shortest_decimal("2.00"), "2");
  EXPECT_EQ(shortest_decimal("100"), "100");
  EXPECT_EQ(shortest_decimal("-0.0"), "0");
  EXPECT_EQ(shortest_decimal("0.010"), "0.01");
  EXPECT_EQ(shortest_decimal("NaN"), "NaN");
  EXPECT_EQ(shortest_decimal(""), "");
}

}  // namespace
}  // namespace nizhal
