#include "sim/release.hpp"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "domain/upcast.hpp"
#include "examples/notes/notes.hpp"

namespace nizhal::sim {
namespace {

/// How many of a hundred calls of the earlier release the next one takes.
std::size_t taken(EarlierArguments earlier) {
  const auto domain = *CompiledDomain::compile(notes::domain());
  const auto next = next_release(*domain, earlier);
  EXPECT_TRUE(next) << next.error().message;
  const MutatorDef& mutator = *(*next)->domain().find_mutator("editNote");
  std::size_t count = 0;
  for (int i = 0; i < 100; ++i) {
    const json::object args{{"id", fmt::format("n{}", i)}, {"body", "text"}};
    const auto values = decode_arguments_of(mutator, mutator.version - 1, args);
    if (values)
      ++count;
    else
      EXPECT_EQ(values.error().code, upcast_code::kImpossible);
  }
  return count;
}

TEST(NextRelease, CanDoNothingWithSomeOfTheEarlierArguments) {
  const std::size_t count = taken(EarlierArguments::mostly_taken);
  EXPECT_GT(count, 70U);
  EXPECT_LT(count, 100U);
  EXPECT_EQ(count, taken(EarlierArguments::mostly_taken)) << "the same ones each time";
}

TEST(NextRelease, TakesAllOfThemWhereItIsToldTo) { EXPECT_EQ(taken(EarlierArguments::all_taken), 100U); }

}  // namespace
}  // namespace nizhal::sim
