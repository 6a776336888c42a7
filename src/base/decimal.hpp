// Exact decimals of any size as text: the values of `numeric` columns. Comparing them as numbers, and bringing what
// others wrote into the one canonical form.
#pragma once

#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace nizhal {

/// The longest text of a `numeric` value: more digits are no amount of anything, and databases have bounds of their
/// own.
inline constexpr std::size_t kDecimalBytesMax = 1'000;

/// `-12.50`: a sign only when negative and not zero, at least one digit before the point, no needless leading zeros, no
/// exponent; the scale stays as given. Takes also `+1`, `.5`, `5.`, `007` and exponents up to ±1000 ("1.5e3" is
/// "1500"). Nothing when the text is no decimal number.
std::optional<std::string> canonical_decimal(std::string_view text);

/// True when the text already is in canonical form.
bool is_canonical_decimal(std::string_view text);

/// By number, whatever the scale: "1.0" equals "1". Texts that are no plain decimals (NaN, exponents, anything else)
/// come after all numbers, among themselves by bytes; so this is a total order on all texts.
std::strong_ordering compare_decimals(std::string_view left, std::string_view right);

/// Exact. A text that is no plain decimal counts as zero.
std::string add_decimals(std::string_view left, std::string_view right);
std::string subtract_decimals(std::string_view left, std::string_view right);
/// Without needless zeros behind the point, the form that stands for all that are equal: "1.50" is "1.5", "2.0" is "2".
/// What is no plain decimal stays as it is.
std::string shortest_decimal(std::string_view text);

}  // namespace nizhal
