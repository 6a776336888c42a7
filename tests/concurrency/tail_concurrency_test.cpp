// Devices in a storm of writers, whose pulls a server core answers as it does for devices, from the tail and from the
// tables: exact after every complete pull, and never behind what was committed before it was sent.
#include "tests/concurrency/storm.hpp"

namespace nizhal::testing {
namespace {

TEST(ConcurrencyOfTheTail, AfterEveryCompletePullADeviceEqualsTheInScopeSelectOfASnapshotThatIsCurrent) {
  Storm storm(test_seed("concurrency of the tail"), {.comparisons = 150, .through_server = true});
  expect_exact(storm, 150);
  EXPECT_GT(storm.tally.from_memory, 20U);
  EXPECT_GT(storm.tail_figure("hits"), 20);
}

TEST(ConcurrencyOfTheTail, WithoutReadingAgainWhatWasNotSettledTheComparisonFails) {
  Storm storm(test_seed("concurrency of a tail that is too sure"),
              {.fault = Fault::no_second_look, .comparisons = 1'500, .until_different = true, .through_server = true});
  storm.run();
  EXPECT_EQ(storm.broken, "");
  EXPECT_GT(storm.tally.differing, 0U) << "the comparison would not notice changes that the tail never reads";
}

}  // namespace
}  // namespace nizhal::testing
