// The exact sum of doubles: every bit that a double can have, as one wide fixed-point number, rounded once when it is
// asked for. So it does not depend on the order of addition, and what was added can be taken out again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace nizhal {

class RealSum {
 public:
  /// NaN counts as nothing (a store holds none).
  void add(double number) { add(number, +1); }
  void remove(double number) { add(number, -1); }
  /// The double nearest to the sum, ties to even; an infinity when one is in it (the opposite one too: NaN) or when the
  /// sum is beyond all doubles.
  double value() const;

 private:
  // 2,046 binary places for the lowest bits of doubles, 53 for their digits, 63 for carries; 32 to a limb.
  static constexpr std::size_t kLimbs = 68;
  static constexpr int kLimbBits = 32;
  using Limbs = std::array<std::int64_t, kLimbs>;

  void add(double number, int sign);
  static void carry(Limbs& limbs);

  Limbs limbs_{};              // each with room for carries that are not yet passed on; the last one holds the sign
  std::uint32_t pending_ = 0;  // additions since the last carry
  std::int64_t plus_infinities_ = 0, minus_infinities_ = 0;
};

}  // namespace nizhal
