#include "query/fold.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/environment.hpp"
#include "base/test_seed.hpp"

namespace nizhal {
namespace {

using Kind = FoldSpec::Kind;
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

Value folded(Kind kind, ColumnType type, const std::vector<Value>& values) {
  Fold fold(kind, type);
  for (const Value& value : values) fold.add(value);
  auto result = fold.value("the fold");
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return result ? *result : Value{};
}
Value integer(std::int64_t value) { return Value(value); }
Value text(const char* value) { return Value(std::string(value)); }

TEST(Fold, NullsAreNotCountedAndNothingIsNull) {
  EXPECT_EQ(folded(Kind::count, ColumnType::text, {Value{}, text("x"), Value{}}), integer(1));
  EXPECT_EQ(folded(Kind::count, ColumnType::text, {}), integer(0));
  for (const Kind kind : {Kind::sum, Kind::min, Kind::max, Kind::average})
    EXPECT_EQ(folded(kind, ColumnType::bigint, {Value{}}), Value{});
  EXPECT_EQ(folded(Kind::average, ColumnType::bigint, {integer(1), Value{}, integer(2)}), Value(1.5));
}

TEST(Fold, ASumMayPassTheBoundsOnTheWayButNotAtTheEnd) {
  EXPECT_EQ(folded(Kind::sum, ColumnType::bigint, {integer(kMax), integer(1), integer(-1)}), integer(kMax));
  EXPECT_EQ(folded(Kind::sum, ColumnType::bigint, {integer(kMin), integer(-1), integer(1)}), integer(kMin));
  for (const auto& [bound, over] : {std::pair{kMax, std::int64_t{1}}, std::pair{kMin, std::int64_t{-1}}}) {
    Fold fold(Kind::sum, ColumnType::bigint);
    fold.add(integer(bound));
    fold.add(integer(over));
    const auto refused = fold.value("sum of entries.amount");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_args);
    EXPECT_EQ(refused.error().message.find("sum of entries.amount"), 0U) << refused.error().message;
    fold.remove(integer(over));
    EXPECT_EQ(*fold.value(""), integer(bound));
  }
  EXPECT_EQ(folded(Kind::average, ColumnType::bigint, {integer(kMax), integer(kMax)}), Value(9223372036854775807.0));
}

TEST(Fold, NumericsAreSummedExactlyAndShownShort) {
  EXPECT_EQ(folded(Kind::sum, ColumnType::numeric, {text("0.10"), text("0.2"), text("-1.30")}), text("-1"));
  EXPECT_EQ(folded(Kind::sum, ColumnType::numeric, {text("123456789012345678901234567890.5"), text("0.50")}),
            text("123456789012345678901234567891"));
  EXPECT_EQ(folded(Kind::min, ColumnType::numeric, {text("10"), text("9.50"), text("9.5")}), text("9.5"));
  EXPECT_EQ(folded(Kind::max, ColumnType::numeric, {text("9"), text("10.00")}), text("10"));
}

TEST(Fold, LeastAndGreatestFollowWhatLeaves) {
  Fold least(Kind::min, ColumnType::text), greatest(Kind::max, ColumnType::text);
  for (const char* value : {"b", "a", "c", "a"}) {
    least.add(text(value));
    greatest.add(text(value));
  }
  least.remove(text("a"));
  EXPECT_EQ(*least.value(""), text("a"));
  least.remove(text("a"));
  EXPECT_EQ(*least.value(""), text("b"));
  greatest.remove(text("c"));
  EXPECT_EQ(*greatest.value(""), text("b"));
}

TEST(RealSum, IsExactAndRoundedOnce) {
  const auto sum = [](std::initializer_list<double> numbers) {
    RealSum all;
    for (const double number : numbers) all.add(number);
    return all.value();
  };
  EXPECT_EQ(sum({}), 0.0);
  EXPECT_EQ(sum({1e308, 1e308, -1e308}), 1e308);
  EXPECT_EQ(sum({1.0, 1e100, 1.0, -1e100}), 2.0);
  EXPECT_EQ(sum({5e-324, 5e-324}), 1e-323);
  EXPECT_EQ(sum({-5e-324}), -5e-324);
  EXPECT_EQ(sum({0.1, 0.2, 0.3, -0.6}), 2.7755575615628914e-17);
  EXPECT_EQ(sum({9007199254740992.0, 1.0}), 9007199254740992.0) << "a tie goes to the even one";
  EXPECT_EQ(sum({9007199254740992.0, 1.0, 5e-324}), 9007199254740994.0) << "a little more is no tie";
  EXPECT_EQ(sum({9007199254740994.0, 1.0}), 9007199254740996.0);
  EXPECT_EQ(sum({std::numeric_limits<double>::max(), std::numeric_limits<double>::max()}),
            std::numeric_limits<double>::infinity());
  EXPECT_EQ(sum({std::numeric_limits<double>::max(), 1.0}), std::numeric_limits<double>::max());
  EXPECT_FALSE(std::signbit(sum({-0.0})));
}

TEST(RealSum, InfinitiesComeAndGo) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  RealSum sum;
  sum.add(1.0);
  sum.add(kInfinity);
  EXPECT_EQ(sum.value(), kInfinity);
  sum.add(-kInfinity);
  EXPECT_TRUE(std::isnan(sum.value()));
  sum.remove(kInfinity);
  EXPECT_EQ(sum.value(), -kInfinity);
  sum.remove(-kInfinity);
  EXPECT_EQ(sum.value(), 1.0);
}

TEST(RealSum, IsNearestToWhatExactArithmeticSays) {
  // Numbers of 24 bits at exponents 0 to 60 sum exactly in 128 bits, whose conversion is the rounding to compare with.
  SeededRandom random(test_seed());
  __extension__ typedef __int128 Wide;
  for (int round = 0; round < 2'000; ++round) {
    RealSum sum;
    Wide exact = 0;
    for (std::uint64_t n = random.below(20); n > 0; --n) {
      const auto digits = static_cast<std::int64_t>(random.below(1U << 24)) - (1 << 23);
      const int exponent = static_cast<int>(random.below(61));
      sum.add(std::ldexp(static_cast<double>(digits), exponent));
      exact += Wide{digits} * (Wide{1} << exponent);
    }
    ASSERT_EQ(sum.value(), static_cast<double>(exact));
  }
}

TEST(RealSum, DependsOnWhatIsInItAndNotOnTheOrder) {
  SeededRandom random(test_seed());
  for (int round = 0; round < 300; ++round) {
    std::vector<double> numbers;
    for (std::uint64_t n = random.below(30); n > 0; --n)
      numbers.push_back(
          std::ldexp(static_cast<double>(random.below(1U << 20)) - 5e5, static_cast<int>(random.below(2'000)) - 1'000));
    RealSum forwards, backwards;
    for (const double number : numbers) forwards.add(number);
    std::reverse(numbers.begin(), numbers.end());
    backwards.add(1e200);
    for (const double number : numbers) backwards.add(number);
    backwards.remove(1e200);
    ASSERT_EQ(forwards.value(), backwards.value());
    for (const double number : numbers) forwards.remove(number);
    ASSERT_EQ(forwards.value(), 0.0);
  }
}

}  // namespace
}  // namespace nizhal
