// Devices in a storm of writers, whose pulls read the tables: exact after every complete pull.
#include "tests/concurrency/storm.hpp"

namespace nizhal::testing {
namespace {

TEST(Concurrency, AfterEveryCompletePullADeviceEqualsTheInScopeSelectOfThatSnapshot) {
  Storm storm(test_seed("concurrency"), {});
  expect_exact(storm, 1'500);
}

TEST(Concurrency, TheSameInADatabaseThatOrdersTextAsDictionariesDo) {
  Storm storm(test_seed("concurrency with ICU"), {.icu_locale = "en-US", .comparisons = 300});
  expect_exact(storm, 300);
}

TEST(Concurrency, WithoutTheHorizonTheComparisonFails) {
  Storm storm(test_seed("concurrency without the horizon"),
              {.fault = Fault::no_horizon, .comparisons = 1'500, .until_different = true});
  storm.run();
  EXPECT_EQ(storm.broken, "");
  EXPECT_GT(storm.tally.differing, 0U) << "the comparison would not notice a missing horizon";
}

TEST(Concurrency, WithoutJudgingRemovalsAtTheSnapshotTheComparisonFails) {
  Storm storm(test_seed("concurrency without judging removals"),
              {.fault = Fault::no_judgment, .comparisons = 1'500, .until_different = true});
  storm.run();
  EXPECT_EQ(storm.broken, "");
  EXPECT_GT(storm.tally.differing, 0U) << "the comparison would not notice removals that are not judged";
}

}  // namespace
}  // namespace nizhal::testing
