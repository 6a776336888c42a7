// The recent changes in memory: what a page is told of them is what the tables would tell, whatever the order in which
// versions committed, and nothing is missing above the start.
#include "server/tail_changes.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/test_domain.hpp"

namespace nizhal::server::testing {
namespace {

class TailOfChanges : public ::testing::Test {
 protected:
  Bucket bucket(const std::string& key) { return *domain->parse_bucket(key); }
  std::size_t docs() { return *domain->table_index("docs"); }

  void row(std::uint64_t version, const std::string& key, const std::vector<std::string>& buckets) {
    storage::RecentChanges::RecentRow recent;
    recent.row = {docs(), Version{version}, key, "{\"id\":\"" + key + "\"}"};
    for (const std::string& one : buckets) recent.buckets.push_back(bucket(one));
    batch.rows.push_back(std::move(recent));
  }
  void removal(std::uint64_t version, const std::string& key, const std::string& from, bool deleted = true) {
    storage::RecentChanges::RecentRemoval recent;
    recent.removal = {docs(), Version{version}, key, std::nullopt, deleted, std::nullopt};
    recent.bucket = from;
    batch.removals.push_back(std::move(recent));
  }
  bool apply(std::uint64_t after) {
    const bool done = changes.apply(batch, Version{after});
    batch = {};
    return done;
  }
  storage::LiveQuery query(const std::vector<std::string>& keys, std::uint64_t after,
                           std::uint64_t removals_after = 0) {
    covered.clear();
    for (const std::string& key : keys) covered.push_back({bucket(key), Version{removals_after}});
    storage::LiveQuery query;
    query.buckets = &covered;
    query.after = Version{after};
    return query;
  }
  /// `key@version` of the rows, then `-key` of tombstones and `<key` of exits with `!` and the image's version behind
  /// those that are covered.
  std::string told(const storage::LiveQuery& asked) {
    std::string out;
    for (const auto& one : changes.live_rows(asked)) out += one.key + "@" + std::to_string(number(one.version)) + " ";
    for (const auto& one : changes.live_removals(asked)) {
      out += (one.deleted ? "-" : "<") + one.key;
      if (one.covered_at) out += "!" + std::to_string(number(*one.covered_at));
      out += " ";
    }
    if (!out.empty()) out.pop_back();
    return out;
  }
  std::string told(const std::vector<std::string>& keys, std::uint64_t after) { return told(query(keys, after)); }

  std::shared_ptr<const CompiledDomain> domain = compiled(test_domain());
  TailChanges changes{*domain};
  storage::RecentChanges batch;
  std::vector<storage::CoveredBucket> covered;
};

TEST_F(TailOfChanges, ARowIsToldOnceWithItsNewestImage) {
  changes.begin(Version{10});
  row(11, "a", {"team:x", "team:y"});
  row(12, "b", {"team:y"});
  ASSERT_TRUE(apply(10));
  EXPECT_EQ(told({"team:x", "team:y"}, 10), "a@11 b@12");
  EXPECT_EQ(told({"team:x"}, 10), "a@11");
  EXPECT_EQ(told({"team:y"}, 11), "b@12");
  EXPECT_EQ(told({"team:z"}, 10), "");
  row(13, "a", {"team:x"});
  ASSERT_TRUE(apply(12));
  EXPECT_EQ(told({"team:y"}, 10), "b@12");
  EXPECT_EQ(told({"team:x", "team:y"}, 10), "b@12 a@13");
}

TEST_F(TailOfChanges, ALowerVersionOverwritesAHigherOne) {
  changes.begin(Version{10});
  row(12, "a", {"team:x"});
  ASSERT_TRUE(apply(10));
  row(11, "a", {"team:y"});  // whose transaction began before and committed after
  removal(11, "a", "team:x", false);
  ASSERT_TRUE(apply(10));
  EXPECT_EQ(told({"team:x"}, 10), "<a");
  EXPECT_EQ(told({"team:y"}, 10), "a@11");
  EXPECT_EQ(told({"team:x", "team:y"}, 10), "a@11 <a!11");
}

TEST_F(TailOfChanges, ARowThatCameBackIsJudgedByItsImageHoweverOldItIs) {
  changes.begin(Version{10});
  // From x to y at 12, and back at 11, whose transaction committed later.
  row(11, "a", {"team:x"});
  row(11, "b", {"team:x"});
  removal(11, "a", "team:y", false);
  removal(12, "a", "team:x", false);
  ASSERT_TRUE(apply(10));
  EXPECT_EQ(told({"team:x"}, 10), "a@11 b@11 <a!11");
  const std::size_t all = changes.bytes();
  changes.shrink(all - 1);
  EXPECT_EQ(changes.start(), Version{11});
  EXPECT_EQ(told({"team:x"}, 11), "<a!11") << "the image is older than the start";
  EXPECT_EQ(changes.rows(), 1U);
  changes.shrink(0);
  EXPECT_EQ(changes.start(), Version{12});
  EXPECT_EQ(changes.rows() + changes.removals() + changes.bytes(), 0U);
}

TEST_F(TailOfChanges, TheImageOfARowThatARemovalNamesComesWhateverItsVersion) {
  changes.begin(Version{10});
  row(7, "a", {"team:x"});
  removal(12, "a", "team:x");
  row(8, "named by nothing", {"team:x"});
  ASSERT_TRUE(apply(10));
  EXPECT_EQ(told({"team:x"}, 10), "-a!7");
  EXPECT_EQ(changes.rows(), 1U);
}

TEST_F(TailOfChanges, DeletedAndMadeAgainARowIsThere) {
  changes.begin(Version{10});
  row(11, "a", {"team:x"});
  ASSERT_TRUE(apply(10));
  removal(12, "a", "team:x");
  ASSERT_TRUE(apply(11));
  EXPECT_EQ(told({"team:x"}, 10), "-a");
  EXPECT_EQ(changes.rows(), 0U);
  row(13, "a", {"team:x"});
  ASSERT_TRUE(apply(12));
  EXPECT_EQ(told({"team:x"}, 10), "a@13 -a!13");
}

TEST_F(TailOfChanges, ARowThatIsInNoBucketAnyMoreIsGone) {
  changes.begin(Version{10});
  row(11, "a", {"team:x"});
  row(11, "b", {"team:x"});
  ASSERT_TRUE(apply(10));
  removal(12, "a", "team:x", false);
  row(12, "a", {});
  removal(12, "b", "team:x", false);  // and of it nothing is told
  ASSERT_TRUE(apply(11));
  EXPECT_EQ(told({"team:x"}, 10), "<a <b");
  EXPECT_EQ(changes.rows(), 0U);
}

TEST_F(TailOfChanges, WhatLayAboveTheHorizonIsToldAgainAndCountsOnce) {
  changes.begin(Version{10});
  for (int i = 0; i < 3; ++i) {
    row(12, "a", {"team:x"});
    removal(12, "b", "team:x", false);
    removal(12, "b", "team:x", true);
    ASSERT_TRUE(apply(10));
    EXPECT_EQ(told({"team:x"}, 10), "a@12 <b -b") << "in the order of recording";
    EXPECT_EQ(changes.removals(), 2U);
  }
}

TEST_F(TailOfChanges, RemovalsBeforeAGainAreNotTold) {
  changes.begin(Version{10});
  removal(11, "a", "team:x");
  removal(12, "b", "team:x");
  ASSERT_TRUE(apply(10));
  EXPECT_EQ(told(query({"team:x"}, 10, 11)), "-b");
}

TEST_F(TailOfChanges, ALimitTakesTheLowestAndTablesThatTheDeviceLacksAreLeftOut) {
  changes.begin(Version{10});
  row(13, "c", {"team:x"});
  row(12, "b", {"team:y"});
  row(11, "a", {"team:x", "team:y"});
  removal(12, "r", "team:x");
  removal(11, "q", "team:y");
  ASSERT_TRUE(apply(10));
  auto asked = query({"team:x", "team:y"}, 10);
  asked.limit = 2;
  EXPECT_EQ(told(asked), "a@11 b@12 -q -r");
  asked.limit = 1;
  EXPECT_EQ(told(asked), "a@11 -q");
  asked.limit = std::nullopt;
  asked.through = Version{12};
  EXPECT_EQ(told(asked), "a@11 b@12 -q -r");
  std::vector<bool> tables(domain->tables().size(), true);
  tables[docs()] = false;
  asked.tables = &tables;
  EXPECT_EQ(told(asked), "");
}

TEST_F(TailOfChanges, WhatDoesNotFollowIsNotTakenIn) {
  changes.begin(Version{10});
  row(11, "a", {"team:x"});
  removal(12, "b", "team:x");
  ASSERT_TRUE(apply(10));
  EXPECT_FALSE(apply(10)) << "both are gone without a trace";
  row(11, "a", {"team:x"});
  EXPECT_FALSE(apply(10)) << "the removal is gone";
  removal(12, "b", "team:x");
  EXPECT_FALSE(apply(10)) << "the row is gone";
  EXPECT_EQ(told({"team:x"}, 10), "a@11 -b") << "and nothing was changed";
  row(11, "a", {"team:x"});
  removal(12, "b", "team:x");
  EXPECT_TRUE(apply(10));
  EXPECT_TRUE(apply(12)) << "what is settled is not told again";
  EXPECT_EQ(told({"team:x"}, 10), "a@11 -b");
}

TEST_F(TailOfChanges, APrunedRemovalMayBeGone) {
  changes.begin(Version{10});
  row(13, "a", {"team:x"});
  removal(12, "b", "team:x");
  ASSERT_TRUE(apply(10));
  row(13, "a", {"team:x"});
  batch.position.pruned_through = Version{12};
  EXPECT_TRUE(apply(10));
  EXPECT_EQ(changes.removals(), 0U);
}

TEST_F(TailOfChanges, ABudgetKeepsTheNewestVersionsWhole) {
  changes.begin(Version{10});
  for (int version = 11; version <= 30; ++version) {
    row(static_cast<std::uint64_t>(version), "a" + std::to_string(version), {"team:x"});
    row(static_cast<std::uint64_t>(version), "b" + std::to_string(version), {"team:x"});
    removal(static_cast<std::uint64_t>(version), "r" + std::to_string(version), "team:x");
  }
  ASSERT_TRUE(apply(10));
  const std::size_t half = changes.bytes() / 2;
  changes.shrink(half);
  EXPECT_LE(changes.bytes(), half);
  EXPECT_EQ(changes.rows(), 2 * (30 - number(changes.start())));
  EXPECT_EQ(changes.removals(), 30 - number(changes.start()));
  EXPECT_GE(changes.removals(), 9U);
  EXPECT_EQ(told({"team:x"}, 29), "a30@30 b30@30 -r30");
}

}  // namespace
}  // namespace nizhal::server::testing
