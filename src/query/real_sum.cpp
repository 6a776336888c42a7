// The exact sum of doubles.
#include "query/real_sum.hpp"

#include <bit>
#include <cmath>
#include <limits>

namespace nizhal {

namespace {

constexpr int kDigits = std::numeric_limits<double>::digits;  // 53
constexpr int kLowest = -1074;                                // the exponent of the last binary place
/// An addition puts less than 2^33 into a limb.
constexpr std::uint32_t kPendingMax = std::uint32_t{1} << 29;
constexpr std::int64_t kLimbMask = 0xffffffff;

}  // namespace

void RealSum::carry(Limbs& limbs) {
  std::int64_t over = 0;
  for (std::size_t i = 0; i + 1 < kLimbs; ++i) {
    const std::int64_t limb = limbs[i] + over;
    limbs[i] = limb & kLimbMask;
    over = limb >> kLimbBits;
  }
  limbs[kLimbs - 1] += over;
}

void RealSum::add(double number, int sign) {
  if (std::isnan(number)) return;
  if (std::isinf(number)) {
    (number > 0 ? plus_infinities_ : minus_infinities_) += sign;
    return;
  }
  const auto bits = std::bit_cast<std::uint64_t>(number);
  constexpr std::uint64_t kFraction = (std::uint64_t{1} << (kDigits - 1)) - 1;
  const auto exponent = static_cast<std::size_t>((bits >> (kDigits - 1)) & 0x7ff);
  std::uint64_t digits = bits & kFraction;
  if (exponent > 0) digits |= kFraction + 1;
  if (digits == 0) return;
  // The number is ±digits × 2^(place + kLowest).
  const std::size_t place = exponent > 0 ? exponent - 1 : 0;
  const std::size_t limb = place / kLimbBits, shift = place % kLimbBits;
  const std::uint64_t low = (digits & 0xffffffff) << shift, high = (digits >> kLimbBits) << shift;
  const std::int64_t direction = (bits >> 63) != 0 ? -sign : sign;
  limbs_[limb] += direction * static_cast<std::int64_t>(low & 0xffffffff);
  limbs_[limb + 1] += direction * static_cast<std::int64_t>((low >> kLimbBits) + (high & 0xffffffff));
  limbs_[limb + 2] += direction * static_cast<std::int64_t>(high >> kLimbBits);
  if (++pending_ < kPendingMax) return;
  carry(limbs_);
  pending_ = 0;
}

double RealSum::value() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (plus_infinities_ > 0 && minus_infinities_ > 0) return std::numeric_limits<double>::quiet_NaN();
  if (plus_infinities_ > 0) return kInfinity;
  if (minus_infinities_ > 0) return -kInfinity;

  Limbs limbs = limbs_;
  carry(limbs);
  const bool negative = limbs[kLimbs - 1] < 0;
  if (negative) {
    for (std::int64_t& limb : limbs) limb = -limb;
    carry(limbs);
  }
  std::size_t top_limb = kLimbs;
  while (top_limb > 0 && limbs[top_limb - 1] == 0) --top_limb;
  if (top_limb == 0) return 0.0;
  --top_limb;
  const auto bit = [&](std::size_t place) {
    return (static_cast<std::uint64_t>(limbs[place / kLimbBits]) >> (place % kLimbBits)) & 1;
  };
  const std::size_t top =
      top_limb * kLimbBits + static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(limbs[top_limb]))) - 1;
  // The highest 53 places; what is below them decides the rounding.
  const std::size_t dropped = top < kDigits ? 0 : top + 1 - kDigits;
  std::uint64_t digits = 0;
  for (std::size_t place = top + 1; place > dropped; --place) digits = digits << 1 | bit(place - 1);
  if (dropped > 0 && bit(dropped - 1) != 0) {
    bool is_tie = true;
    for (std::size_t place = dropped - 1; is_tie && place > 0; --place) is_tie = bit(place - 1) == 0;
    if (!is_tie || (digits & 1) != 0) ++digits;
  }
  const double size = std::ldexp(static_cast<double>(digits), static_cast<int>(dropped) + kLowest);
  return negative ? -size : size;
}

}  // namespace nizhal
