// Exact decimals as text.
#include "base/decimal.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace nizhal {

namespace {

bool is_digit(char character) { return character >= '0' && character <= '9'; }

/// A plain decimal taken apart; the digits are views into the text.
struct Decimal {
  bool negative = false;
  std::string_view whole;     // without leading zeros, so empty for 0.x
  std::string_view fraction;  // as given
};

std::size_t count_digits(std::string_view text) {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count])) ++count;
  return count;
}

/// Takes sign, digits and point off the front of `text`; nothing when there is no digit.
std::optional<Decimal> take_decimal(std::string_view& text) {
  Decimal decimal;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    decimal.negative = text.front() == '-';
    text.remove_prefix(1);
  }
  const std::size_t whole = count_digits(text);
  decimal.whole = text.substr(0, whole);
  text.remove_prefix(whole);
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    const std::size_t fraction = count_digits(text);
    decimal.fraction = text.substr(0, fraction);
    text.remove_prefix(fraction);
  }
  if (decimal.whole.empty() && decimal.fraction.empty()) return std::nullopt;
  decimal.whole.remove_prefix(std::min(decimal.whole.find_first_not_of('0'), decimal.whole.size()));
  return decimal;
}

std::optional<Decimal> parse_decimal(std::string_view text) {
  auto decimal = take_decimal(text);
  if (!text.empty()) return std::nullopt;
  return decimal;
}

std::string_view without_trailing_zeros(std::string_view digits) {
  const std::size_t last = digits.find_last_not_of('0');
  return last == std::string_view::npos ? std::string_view{} : digits.substr(0, last + 1);
}

std::strong_ordering compare_bytes(std::string_view left, std::string_view right) { return left.compare(right) <=> 0; }

std::strong_ordering compare_magnitudes(const Decimal& left, std::string_view left_fraction, const Decimal& right,
                                        std::string_view right_fraction) {
  if (const auto by_size = left.whole.size() <=> right.whole.size(); by_size != 0) return by_size;
  if (const auto by_whole = compare_bytes(left.whole, right.whole); by_whole != 0) return by_whole;
  // Digits after the point compare like text: a shorter fraction that is a prefix is the smaller one.
  return compare_bytes(left_fraction, right_fraction);
}

/// Digits of equal length, left ≥ right when subtracting.
std::string combine_digits(const std::string& left, const std::string& right, bool subtracts) {
  std::string digits(left.size(), '0');
  int carry = 0;
  for (std::size_t i = left.size(); i-- > 0;) {
    int digit = left[i] - '0' + carry + (subtracts ? '0' - right[i] : right[i] - '0');
    carry = digit > 9 ? 1 : digit < 0 ? -1 : 0;
    digit -= 10 * carry;
    digits[i] = static_cast<char>('0' + digit);
  }
  if (carry > 0) digits.insert(digits.begin(), '1');
  return digits;
}

std::string add_parsed(const Decimal& left, const Decimal& right) {
  const std::size_t whole = std::max(left.whole.size(), right.whole.size());
  const std::size_t scale = std::max(left.fraction.size(), right.fraction.size());
  const auto digits_of = [&](const Decimal& decimal) {
    std::string digits(whole - decimal.whole.size(), '0');
    digits.append(decimal.whole).append(decimal.fraction).append(scale - decimal.fraction.size(), '0');
    return digits;
  };
  std::string a = digits_of(left), b = digits_of(right);
  bool negative = left.negative;
  if (left.negative != right.negative && a < b) {
    std::swap(a, b);
    negative = right.negative;
  }
  std::string digits = combine_digits(a, b, left.negative != right.negative);
  if (scale > 0) digits.insert(digits.size() - scale, 1, '.');
  if (negative) digits.insert(digits.begin(), '-');
  return canonical_decimal(digits).value_or("0");
}

}  // namespace

std::optional<std::string> canonical_decimal(std::string_view text) {
  constexpr int kExponentMax = 1000;
  auto decimal = take_decimal(text);
  if (!decimal) return std::nullopt;
  int exponent = 0;
  if (!text.empty()) {
    if (text.front() != 'e' && text.front() != 'E') return std::nullopt;
    text.remove_prefix(1);
    if (text.size() > 1 && text.front() == '+' && is_digit(text[1])) text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    if (exponent > kExponentMax || exponent < -kExponentMax) return std::nullopt;
  }

  std::string whole(decimal->whole);
  std::string fraction(decimal->fraction);
  if (exponent > 0) {
    const auto shift = static_cast<std::size_t>(exponent);
    if (fraction.size() < shift) fraction.append(shift - fraction.size(), '0');
    whole += fraction.substr(0, shift);
    fraction.erase(0, shift);
  } else if (exponent < 0) {
    const auto shift = static_cast<std::size_t>(-exponent);
    if (whole.size() < shift) whole.insert(0, shift - whole.size(), '0');
    fraction.insert(0, whole.substr(whole.size() - shift));
    whole.erase(whole.size() - shift);
  }
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));

  const bool is_zero = whole.empty() && without_trailing_zeros(fraction).empty();
  std::string canonical;
  canonical.reserve(whole.size() + fraction.size() + 3);
  if (decimal->negative && !is_zero) canonical += '-';
  canonical += whole.empty() ? "0" : whole;
  if (!fraction.empty()) canonical.append(1, '.').append(fraction);
  return canonical;
}

bool is_canonical_decimal(std::string_view text) {
  const auto canonical = canonical_decimal(text);
  return canonical && *canonical == text;
}

std::strong_ordering compare_decimals(std::string_view left, std::string_view right) {
  const auto left_number = parse_decimal(left);
  const auto right_number = parse_decimal(right);
  if (!left_number || !right_number) {
    if (left_number) return std::strong_ordering::less;
    if (right_number) return std::strong_ordering::greater;
    return compare_bytes(left, right);
  }
  const std::string_view left_fraction = without_trailing_zeros(left_number->fraction);
  const std::string_view right_fraction = without_trailing_zeros(right_number->fraction);
  const bool left_zero = left_number->whole.empty() && left_fraction.empty();
  const bool right_zero = right_number->whole.empty() && right_fraction.empty();
  const bool left_negative = left_number->negative && !left_zero;
  const bool right_negative = right_number->negative && !right_zero;
  if (left_negative != right_negative)
    return left_negative ? std::strong_ordering::less : std::strong_ordering::greater;
  return left_negative ? compare_magnitudes(*right_number, right_fraction, *left_number, left_fraction)
                       : compare_magnitudes(*left_number, left_fraction, *right_number, right_fraction);
}

std::string add_decimals(std::string_view left, std::string_view right) {
  return add_parsed(parse_decimal(left).value_or(Decimal{}), parse_decimal(right).value_or(Decimal{}));
}

std::string subtract_decimals(std::string_view left, std::string_view right) {
  Decimal negated = parse_decimal(right).value_or(Decimal{});
  negated.negative = !negated.negative;
  return add_parsed(parse_decimal(left).value_or(Decimal{}), negated);
}

std::string shortest_decimal(std::string_view text) {
  auto shortest = parse_decimal(text) ? canonical_decimal(text) : std::nullopt;
  if (!shortest) return std::string(text);
  if (shortest->find('.') != std::string::npos) {
    shortest->erase(shortest->find_last_not_of('0') + 1);
    if (shortest->back() == '.') shortest->pop_back();
  }
  return *std::move(shortest);
}

}  // namespace nizhal
