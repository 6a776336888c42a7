#include "server/pull_coverage.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "server/test_domain.hpp"

namespace nizhal::server {
namespace {

using testing::compiled;
using testing::test_domain;
using Schema = std::map<std::string, std::string>;

class CoverageOfPull : public ::testing::Test {
 protected:
  std::shared_ptr<const CompiledDomain> domain = compiled(test_domain());
  storage::Position position{.epoch = "e1", .horizon = Version{50}, .last = Version{60}, .pruned_through = Version{10}};
  std::vector<storage::Grant> grants;
  protocol::PullRequest request;

  void grant(const std::string& key, std::uint64_t gained) {
    const auto bucket = domain->parse_bucket(key);
    ASSERT_TRUE(bucket) << key;
    grants.push_back({*bucket, Version{gained}});
  }
  Coverage plan() {
    auto coverage = plan_coverage(*domain, request, position, grants);
    EXPECT_TRUE(coverage) << (coverage ? "" : coverage.error().message);
    return coverage ? std::move(*coverage) : Coverage{};
  }
  /// The cursor of the plan, as if every backfill were done and the page had ended at `at`.
  void filled(Coverage coverage, std::uint64_t at) {
    for (auto& [key, bucket] : coverage.cursor.buckets) bucket.backfill.clear();
    coverage.cursor.position = Version{at};
    request.cursor = protocol::encode_cursor(coverage.cursor);
  }
  static std::string backfills(const Coverage& coverage) {
    std::string out;
    for (const auto& [key, bucket] : coverage.cursor.buckets) {
      out += key + "[";
      for (const auto& [table, at] : bucket.backfill) out += " " + table + (at ? "=" + *at : "");
      out += " ]";
    }
    return out;
  }
  static std::string join(const std::vector<std::string>& texts) {
    std::string out;
    for (const auto& text : texts) out += text + " ";
    return out;
  }
};

TEST_F(CoverageOfPull, AFirstSyncGainsEverythingAtTheHorizon) {
  grant("o1", 0);
  grant("team:a", 7);
  const Coverage coverage = plan();
  EXPECT_EQ(coverage.cursor.position, Version{50});
  EXPECT_EQ(backfills(coverage), "o1[ notes ]team:a[ docs events members ]");
  EXPECT_EQ(coverage.cursor.buckets.at("team:a").gain, Version{7});
  EXPECT_EQ(coverage.buckets[1].removals_after, Version{50});
  EXPECT_TRUE(coverage.changed);
  EXPECT_FALSE(coverage.reset);
  EXPECT_EQ(coverage.begun.size(), 4U);
}

TEST_F(CoverageOfPull, ARetainedBucketIsLeftAsItIs) {
  grant("team:a", 7);
  filled(plan(), 50);
  position.horizon = Version{55};
  const Coverage coverage = plan();
  EXPECT_EQ(backfills(coverage), "team:a[ ]");
  EXPECT_EQ(coverage.cursor.position, Version{50});
  EXPECT_EQ(coverage.horizon, Version{55});
  EXPECT_EQ(coverage.buckets[0].removals_after, Version{50});
  EXPECT_FALSE(coverage.changed);
  EXPECT_TRUE(coverage.removed_buckets.empty());
}

TEST_F(CoverageOfPull, TheHorizonNeverGoesBackForACursor) {
  grant("team:a", 7);
  filled(plan(), 58);
  const Coverage coverage = plan();
  EXPECT_EQ(coverage.horizon, Version{58});
  EXPECT_FALSE(coverage.reset);
}

TEST_F(CoverageOfPull, ALostBucketIsNamedAndARegainedOneIsFilledAgain) {
  grant("o1", 0);
  grant("team:a", 7);
  grant("team:b", 8);
  filled(plan(), 50);
  grants.clear();
  grant("o1", 0);
  grant("team:b", 52);
  grant("team:c", 53);
  const Coverage coverage = plan();
  EXPECT_EQ(join(coverage.removed_buckets), "team:a team:b ");
  EXPECT_EQ(backfills(coverage), "o1[ ]team:b[ docs events members ]team:c[ docs events members ]");
  EXPECT_TRUE(coverage.changed);
}

TEST_F(CoverageOfPull, WhatTheRequestLeavesOutIsDroppedWithoutAWordAndIsAGainLater) {
  grant("o1", 0);
  grant("team:a", 7);
  filled(plan(), 50);
  request.sync_rule = "mine";
  const Coverage narrowed = plan();
  EXPECT_TRUE(narrowed.removed_buckets.empty());
  EXPECT_EQ(backfills(narrowed), "o1[ ]");
  EXPECT_TRUE(narrowed.changed);
  filled(narrowed, 50);
  request.sync_rule.reset();
  EXPECT_EQ(backfills(plan()), "o1[ ]team:a[ docs events members ]");
}

TEST_F(CoverageOfPull, BucketsAndSyncRuleNarrowTogetherAndForeignKeysAreIgnored) {
  grant("o1", 0);
  grant("team:a", 7);
  request.buckets = {"team:a", "team:not-mine", "nonsense"};
  EXPECT_EQ(backfills(plan()), "team:a[ docs events members ]");
  request.sync_rule = "mine";
  EXPECT_EQ(backfills(plan()), "");
}

TEST_F(CoverageOfPull, WholeRulesComeBesideTheBucketsThatAreNamedAndUnknownOnesAreIgnored) {
  grant("o1", 0);
  grant("team:a", 7);
  request.sync_rules = {"mine", "of another release"};
  EXPECT_EQ(backfills(plan()), "o1[ notes ]");
  request.buckets = {"team:a"};
  EXPECT_EQ(backfills(plan()), "o1[ notes ]team:a[ docs events members ]");
  request.sync_rules = {"of another release"};
  EXPECT_EQ(backfills(plan()), "team:a[ docs events members ]");
  request.buckets.reset();
  EXPECT_EQ(backfills(plan()), "");
}

TEST_F(CoverageOfPull, ALostBucketIsNamedEvenWhenItIsLeftOut) {
  grant("o1", 0);
  grant("team:a", 7);
  filled(plan(), 50);
  grants.pop_back();
  request.buckets = {"o1"};
  EXPECT_EQ(join(plan().removed_buckets), "team:a ");
}

TEST_F(CoverageOfPull, AnUnknownRuleIsABadRequestThatNamesIt) {
  request.sync_rule = "nope";
  const auto coverage = plan_coverage(*domain, request, position, grants);
  ASSERT_FALSE(coverage);
  EXPECT_EQ(coverage.error().code, ErrorCode::bad_request);
  EXPECT_NE(coverage.error().message.find("nope"), std::string::npos);
}

TEST_F(CoverageOfPull, UnusableCursorsStartAfresh) {
  grant("o1", 0);
  const auto first = plan();
  const auto reset_with = [&](protocol::Cursor cursor) {
    request.cursor = protocol::encode_cursor(cursor);
    const Coverage coverage = plan();
    return coverage.reset && coverage.changed && backfills(coverage) == "o1[ notes ]";
  };
  protocol::Cursor cursor = first.cursor;
  EXPECT_FALSE(reset_with(cursor));
  cursor.epoch = "another";
  EXPECT_TRUE(reset_with(cursor));
  cursor = first.cursor;
  cursor.position = Version{61};
  EXPECT_TRUE(reset_with(cursor));
  cursor.position = Version{60};
  EXPECT_FALSE(reset_with(cursor));
  cursor.position = Version{9};
  EXPECT_TRUE(reset_with(cursor));
  // At what was pruned, nothing is missing.
  cursor.position = Version{10};
  EXPECT_FALSE(reset_with(cursor));
  for (const char* text : {"x", "{}", "AAAA", "\xff", "null"}) {
    request.cursor = text;
    EXPECT_TRUE(plan().reset) << text;
  }
  request.cursor = "";
  EXPECT_FALSE(plan().reset);
}

TEST_F(CoverageOfPull, ATableThatTheDeviceDidNotHaveIsFilledInRetainedBuckets) {
  grant("o1", 0);
  grant("team:a", 7);
  request.schema = Schema{{"notes", "n1"}, {"docs", "d1"}};
  const Coverage first = plan();
  EXPECT_EQ(backfills(first), "o1[ notes ]team:a[ docs ]");
  filled(first, 50);
  EXPECT_EQ(backfills(plan()), "o1[ ]team:a[ ]");
  request.schema = Schema{{"notes", "n1"}, {"docs", "d2"}, {"events", "v1"}, {"secrets", "s1"}, {"unheard", "u"}};
  const Coverage second = plan();
  EXPECT_EQ(backfills(second), "o1[ ]team:a[ docs events ]");
  EXPECT_TRUE(second.removed_buckets.empty());
  EXPECT_FALSE(second.changed);
  EXPECT_FALSE(second.tables[*domain->table_index("members")]);
  EXPECT_FALSE(second.tables[*domain->table_index("secrets")]);
}

TEST_F(CoverageOfPull, ABackfillUnderWayGoesOnUnlessItsTableChanged) {
  grant("team:a", 7);
  request.schema = Schema{{"docs", "d1"}, {"events", "v1"}};
  Coverage first = plan();
  first.cursor.buckets.at("team:a").backfill["docs"] = "k5";
  request.cursor = protocol::encode_cursor(first.cursor);
  EXPECT_EQ(backfills(plan()), "team:a[ docs=k5 events ]");
  request.schema = Schema{{"docs", "d2"}, {"events", "v1"}};
  EXPECT_EQ(backfills(plan()), "team:a[ docs events ]");
  request.schema = Schema{{"events", "v1"}};
  EXPECT_EQ(backfills(plan()), "team:a[ events ]");
}

TEST_F(CoverageOfPull, ChangedColumnsOfTheServersTableFillItAgain) {
  grant("team:a", 7);
  Coverage first = plan();
  auto& text = first.cursor.fingerprints.at("docs");
  const std::string rules = domain->fingerprint(*domain->table_index("docs")).rules;
  text = "old." + rules + "|old." + rules;
  filled(first, 50);
  const Coverage second = plan();
  EXPECT_EQ(backfills(second), "team:a[ docs ]");
  EXPECT_TRUE(second.removed_buckets.empty());
}

TEST_F(CoverageOfPull, ChangedRulesMakeEveryBucketLostAndGained) {
  grant("o1", 0);
  grant("team:a", 7);
  Coverage first = plan();
  auto& text = first.cursor.fingerprints.at("docs");
  const std::string columns = domain->fingerprint(*domain->table_index("docs")).columns;
  text = columns + ".old|" + columns + ".old";
  filled(first, 50);
  const Coverage second = plan();
  EXPECT_EQ(join(second.removed_buckets), "o1 team:a ");
  EXPECT_EQ(backfills(second), "o1[ notes ]team:a[ docs events members ]");
  EXPECT_TRUE(second.changed);
}

TEST_F(CoverageOfPull, ATableThatNoRuleDeliversAnyMoreCountsAsChangedRules) {
  grant("o1", 0);
  Coverage first = plan();
  first.cursor.fingerprints["secrets"] = "c.r|c.r";
  filled(first, 50);
  EXPECT_EQ(join(plan().removed_buckets), "o1 ");
}

TEST_F(CoverageOfPull, AFingerprintOfAnyLengthIsKeptShort) {
  grant("o1", 0);
  request.schema = Schema{{"notes", std::string(100'000, '|')}};
  const Coverage first = plan();
  EXPECT_LT(first.cursor.fingerprints.at("notes").size(), 400U);
  filled(first, 50);
  EXPECT_EQ(backfills(plan()), "o1[ ]");
  request.schema = Schema{{"notes", std::string(100'001, '|')}};
  EXPECT_EQ(backfills(plan()), "o1[ notes ]");
}

}  // namespace
}  // namespace nizhal::server
