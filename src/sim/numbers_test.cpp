// Numbers within a bucket (next_in_bucket): whatever fails, no two rows of a bucket have one.
#include <gtest/gtest.h>

#include "base/test_seed.hpp"
#include "sim/test_invoices.hpp"

namespace nizhal::sim {
namespace {

using invoices::Numbers;

/// The first of so many runs in which something is violated; nothing: none.
std::optional<Violation> first_violation(Numbers numbers, std::uint64_t seed, std::uint64_t runs) {
  const auto compiled = *CompiledDomain::compile(invoices::domain(numbers));
  const auto make = invoices::workload(compiled);
  for (std::uint64_t i = 0; i < runs; ++i) {
    const auto result = run_once(compiled, draw_options(seed + i), make);
    if (result.violation) return result.violation;
  }
  return std::nullopt;
}

TEST(Numbers, AreNeverGivenTwiceWithinABucketWhateverFails) {
  const auto violation = first_violation(Numbers::from_the_engine, ::nizhal::test_seed("numbers", 1), 12);
  EXPECT_FALSE(violation) << violation->oracle << ": " << violation->what;
}

TEST(Numbers, ThatAnAppCountsByItselfAreFoundOut) {
  const auto violation = first_violation(Numbers::counted, ::nizhal::test_seed("counted numbers", 1), 12);
  ASSERT_TRUE(violation);
  EXPECT_EQ(violation->oracle, "invariant");
}

}  // namespace
}  // namespace nizhal::sim
