// Which buckets a device holds is chosen at run time, and what it holds is exactly the in-scope SELECT of those: a real
// server core on either storage, other programs that write, replies that are lost, restarts, time that passes.
#include <gtest/gtest.h>

#include "base/test_seed.hpp"
#include "tests/subscriptions/tasks_world.hpp"

namespace nizhal::testing::tasks {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using Rows = std::set<std::string>;
using Texts = std::vector<std::string>;

struct Subscriptions : ::testing::TestWithParam<BackendKind> {
  World world{1, domain(), {}, GetParam()};
  Device device{world};
  void SetUp() override {
    world.sql(
        "INSERT INTO members(id, user_id, project_id) VALUES('m1', 'u1', 'p1'), ('m2', 'u1', 'p2'), ('m3', 'u2', 'p3');"
        "INSERT INTO tasks(id, project_id, assignee, title) VALUES('a', 'p1', 'u2', 'of p1'), ('b', 'p1', 'u1', "
        "'both'),"
        "('c', 'p2', 'u2', 'of p2'), ('d', 'p3', 'u1', 'mine alone'), ('e', 'p3', 'u2', 'not mine')");
  }
  void expect_in_scope(const protocol::PullRequest& asked) {
    EXPECT_EQ(device.rows(), in_scope(world, device.actor(), asked));
  }
};
INSTANTIATE_TEST_SUITE_P(On, Subscriptions, every_backend(), kind_name);

TEST_P(Subscriptions, OnlyWhatIsNamedIsHere) {
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), Rows{});
  device.subscribe("project", project("p1"));
  EXPECT_EQ(device.subscriptions(), (Texts{"project projectId=p1"}));
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), (Rows{"members m1 u1/p1", "tasks a p1/u2/of p1", "tasks b p1/u1/both"}));
  EXPECT_EQ(device.subscriptions(), (Texts{"project projectId=p1 held"}));
  device.subscribe("mine", mine("u1"));
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows().count("tasks d p3/u1/mine alone"), 1u);
}

TEST_P(Subscriptions, AWholeRuleFollowsTheActorsBuckets) {
  device.subscribe("project");
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows().size(), 5u);
  EXPECT_EQ(device.subscriptions(), (Texts{"project held"}));
  world.sql(
      "INSERT INTO members(id, user_id, project_id) VALUES('m4', 'u1', 'p3'); DELETE FROM members WHERE id = 'm2'");
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows().count("tasks e p3/u2/not mine"), 1u);
  EXPECT_EQ(device.rows().count("tasks c p2/u2/of p2"), 0u);
}

TEST_P(Subscriptions, WhatTheActorMayNotHaveIsNeverSentNorHeld) {
  device.subscribe("project", project("p3"));
  device.subscribe("mine", mine("u2"));
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), Rows{});
  EXPECT_EQ(device.subscriptions(), (Texts{"mine userId=u2", "project projectId=p3"}));
  world.sql("INSERT INTO members(id, user_id, project_id) VALUES('m4', 'u1', 'p3')");
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows().size(), 4u);
  EXPECT_EQ(device.subscriptions(), (Texts{"mine userId=u2", "project projectId=p3 held"}));
}

TEST_P(Subscriptions, WhatIsGivenUpGoesExceptWhatAnotherHeldBucketCovers) {
  device.subscribe("project", project("p1"));
  device.subscribe("mine");
  device.pull();
  device.unsubscribe("project", project("p1"));
  EXPECT_EQ(device.rows().size(), 4u) << "nothing goes before the pull that leaves it out";
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), (Rows{"tasks b p1/u1/both", "tasks d p3/u1/mine alone"}));
  EXPECT_EQ(device.subscriptions(), (Texts{"mine held"}));
  device.unsubscribe("mine");
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), Rows{});
  EXPECT_EQ(device.subscriptions(), Texts{});
}

TEST_P(Subscriptions, WhatIsKeptForAWhileStaysInSyncUntilItsTimeIsUpAlsoOverARestart) {
  device.subscribe("project", project("p1"));
  device.pull();
  device.unsubscribe("project", project("p1"), hours(2));
  world.sql("UPDATE tasks SET title = 'still in sync' WHERE id = 'a'");
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows().count("tasks a p1/u2/still in sync"), 1u);
  device.open();
  EXPECT_EQ(device.subscriptions(), (Texts{"project projectId=p1 held until 2026-01-02T02:00:00.000000Z"}));
  EXPECT_EQ(device.store().next_eviction(), std::chrono::milliseconds(hours(2)));
  world.clock.advance(hours(2) - seconds(1));
  device.pull();
  EXPECT_EQ(device.rows().size(), 3u);
  device.open();
  world.clock.advance(seconds(1));
  EXPECT_EQ(device.rows().size(), 3u) << "it goes with a pull";
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), Rows{});
  EXPECT_EQ(device.subscriptions(), Texts{});
  EXPECT_EQ(device.store().next_eviction(), std::nullopt);
}

TEST_P(Subscriptions, WantingItAgainInTimeChangesNothing) {
  device.subscribe("project", project("p1"));
  device.pull();
  device.unsubscribe("project", project("p1"), hours(2));
  device.pull();
  device.subscribe("project", project("p1"));
  world.clock.advance(hours(3));
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows().size(), 3u);
  EXPECT_EQ(device.subscriptions(), (Texts{"project projectId=p1 held"}));
}

TEST_P(Subscriptions, WantingItAgainLaterIsAGainThatBringsWhatChangedMeanwhile) {
  device.subscribe("project", project("p1"));
  device.subscribe("mine");
  device.pull();
  device.unsubscribe("project", project("p1"));
  device.pull();
  world.sql("DELETE FROM tasks WHERE id = 'b'; UPDATE tasks SET title = 'new' WHERE id = 'a'");
  device.pull();
  device.subscribe("project", project("p1"));
  EXPECT_EQ(device.subscriptions(), (Texts{"mine held", "project projectId=p1"}));
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), (Rows{"members m1 u1/p1", "tasks a p1/u2/new", "tasks d p3/u1/mine alone"}));
}

TEST_P(Subscriptions, AGainOfSeveralPagesIsSeenWholeOrNotAtAll) {
  std::string insert = "INSERT INTO tasks(id, project_id, assignee, title) VALUES('x0', 'p2', 'u2', 't')";
  for (int i = 1; i < 40; ++i) insert += fmt::format(", ('x{}', 'p2', 'u2', 't')", i);
  world.sql(insert);
  device.subscribe("mine");
  device.pull();
  device.subscribe("project", project("p2"));
  const Rows before = device.rows();
  int pages = 0;
  for (;; ++pages) {
    const auto pulled = device.pull_page(7);
    if (pulled.is_complete) {
      expect_in_scope(pulled.request);
      break;
    }
    ASSERT_EQ(device.rows(), before);
    ASSERT_EQ(device.subscriptions(), (Texts{"mine held", "project projectId=p2"}));
    if (pages == 2) device.open();
  }
  EXPECT_GE(pages, 5);
  EXPECT_EQ(device.subscriptions(), (Texts{"mine held", "project projectId=p2 held"}));
}

TEST_P(Subscriptions, APendingMutationOnARowThatGoesIsRunAgainAndTheServerDecides) {
  device.subscribe("project", project("p1"));
  device.pull();
  EXPECT_EQ(device.mutate("setTitle", {std::string("a"), std::string("edited")}), "");
  EXPECT_EQ(device.mutate("addTask", {std::string("n"), std::string("p1"), std::string("u2"), std::string("new")}), "");
  device.unsubscribe("project", project("p1"));
  device.pull();
  // The edit finds no row; the insert needs none.
  EXPECT_EQ(device.rows(), (Rows{"tasks n p1/u2/new"}));
  device.push();
  device.pull();
  EXPECT_EQ(device.rows(), Rows{});
  EXPECT_EQ(require(device.store().counts(), "counts").pending, 0u);
  EXPECT_EQ(require(device.store().counts(), "counts").dead_letters, 0u);
  EXPECT_EQ(world.server_rows("SELECT title FROM tasks WHERE project_id = 'p1' ORDER BY id"),
            (Texts{"edited", "both", "new"}));
  device.subscribe("project", project("p1"));
  expect_in_scope(device.pull());
}

TEST_P(Subscriptions, AReplyThatIsLostBetweenGivingUpAndWantingAgainLosesNothing) {
  device.subscribe("project", project("p1"));
  device.pull();
  device.unsubscribe("project", project("p1"));
  device.pull_page(100, Device::Reply::is_lost);
  world.sql("DELETE FROM tasks WHERE id = 'a'");
  device.subscribe("project", project("p1"));
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), (Rows{"members m1 u1/p1", "tasks b p1/u1/both"}));
}

TEST_P(Subscriptions, WhatIsNotOneOfTheDomainIsNamed) {
  const auto expect_error = [&](const Result<void>& result, ErrorCode code, const std::string& part) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, code);
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  };
  expect_error(device.store().subscribe("teams", {}), ErrorCode::not_found, "\"mine\", \"project\"");
  expect_error(device.store().subscribe("project", {{"shopId", "s"}}), ErrorCode::not_found, "\"projectId\"");
  expect_error(device.store().subscribe("project", {{"projectId", "p1"}, {"more", "x"}}), ErrorCode::not_found,
               "\"projectId\"");
  expect_error(device.store().subscribe("project", project("")), ErrorCode::not_found, "a value is empty");
  expect_error(device.store().unsubscribe("project", project("p1"), seconds(0)), ErrorCode::not_found,
               "no subscription");
  EXPECT_EQ(device.subscriptions(), Texts{});
  device.reopen_with(Coverage::everything);
  expect_error(device.store().subscribe("mine", {}), ErrorCode::usage, "Coverage::subscribed");
  expect_error(device.store().unsubscribe("mine", {}, seconds(0)), ErrorCode::usage, "Coverage::subscribed");
}

TEST_P(Subscriptions, AStoreMayChangeBetweenEverythingAndWhatIsSubscribed) {
  device.subscribe("project", project("p2"));
  device.pull();
  device.reopen_with(Coverage::everything);
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows().size(), 6u);
  device.reopen_with(Coverage::subscribed);
  expect_in_scope(device.pull());
  EXPECT_EQ(device.rows(), (Rows{"members m2 u1/p2", "tasks c p2/u2/of p2"}));
}

// With the machine that decides when to pull

TEST(SubscriptionsAndTheMachine, AChangeIsPulledAtOnceAndAnEvictionWhenItsTimeIsUp) {
  World world(1, domain());
  world.sql(
      "INSERT INTO members(id, user_id, project_id) VALUES('m1', 'u1', 'p1');"
      "INSERT INTO tasks(id, project_id, assignee, title) VALUES('a', 'p1', 'u2', 't')");
  testing::Device& device = world.device("a", {"u1", "o1", ""});
  device.set_coverage(Coverage::subscribed);
  const auto run = [&] {
    while (device.deliver()) {
    }
  };
  const auto titles = [&] { return device.rows("SELECT title FROM tasks"); };
  run();
  EXPECT_EQ(titles(), Texts{});
  ASSERT_TRUE(device.store().subscribe("project", project("p1")));
  device.coverage_changed();
  run();
  EXPECT_EQ(titles(), Texts{"t"});

  ASSERT_TRUE(device.store().unsubscribe("project", project("p1"), seconds(10)));
  device.coverage_changed();
  run();
  EXPECT_EQ(titles(), Texts{"t"});
  // The interval of pulls is longer than the ten seconds.
  ASSERT_TRUE(device.next_timer());
  EXPECT_EQ(*device.next_timer() - world.clock.monotonic(), seconds(10));
  world.clock.advance(seconds(10));
  device.fire_due_timers();
  run();
  EXPECT_EQ(titles(), Texts{});
  EXPECT_GT(*device.next_timer() - world.clock.monotonic(), seconds(10)) << "and then the interval again";
}

// Over random histories

std::string random_statement(Random& random) {
  const auto id = random.below(20), project = random.below(4), user = random.below(3);
  switch (random.below(7)) {
    case 0:
    case 1:
      return fmt::format(
          "INSERT INTO tasks(id, project_id, assignee, title) VALUES('t{}', 'p{}', 'u{}', 'n{}') "
          "ON CONFLICT(id) DO UPDATE SET title = excluded.title",
          id, project, user, random.below(1'000));
    case 2:
      return fmt::format("UPDATE tasks SET project_id = 'p{}' WHERE id = 't{}'", project, id);
    case 3:
      return fmt::format("UPDATE tasks SET assignee = 'u{}' WHERE id = 't{}'", user, id);
    case 4:
      return fmt::format("DELETE FROM tasks WHERE id = 't{}'", id);
    case 5:
      return fmt::format("DELETE FROM members WHERE id = 'm{}'", random.below(8));
    default:
      return fmt::format(
          "INSERT INTO members(id, user_id, project_id) VALUES('m{}', 'u{}', 'p{}') ON CONFLICT DO NOTHING",
          random.below(8), user, project);
  }
}

struct Tally {
  int comparisons = 0, evictions = 0, whole_rules = 0;
};

void run_history(BackendKind kind, std::uint64_t seed, Tally& tally) {
  World world(seed, domain(), {}, kind);
  Random& random = world.random;
  Device device(world);
  const std::uint64_t limits[] = {1, 3, 50};
  const std::uint64_t limit = limits[random.below(3)];
  for (int step = 0; step < 300; ++step) {
    const auto choose = [&](auto apply) {
      const auto which = random.below(6);
      if (which == 4) return apply("mine", RuleParameters());
      if (which == 5) return apply("project", RuleParameters());
      return apply("project", project(fmt::format("p{}", which)));
    };
    switch (random.below(8)) {
      case 0:
      case 1: {
        std::string script = world.backend().is_sqlite() ? "BEGIN IMMEDIATE;" : "BEGIN;";
        for (std::uint64_t i = 0, count = 1 + random.below(4); i < count; ++i) script += random_statement(random) + ";";
        world.sql(script + "COMMIT");
        break;
      }
      case 2:
        choose([&](const char* rule, const RuleParameters& which) { device.subscribe(rule, which); });
        break;
      case 3:
        choose([&](const char* rule, const RuleParameters& which) {
          // Not subscribed: told, and nothing else.
          (void)device.store().unsubscribe(rule, which, seconds(random.below(3) * 60));
        });
        break;
      case 4:
        world.clock.advance(seconds(random.below(90)));
        if (random.below(4) == 0) device.open();
        break;
      default: {
        const bool is_lost = random.below(6) == 0;
        const auto before = device.rows().size();
        const auto pulled = device.pull_page(limit, is_lost ? Device::Reply::is_lost : Device::Reply::arrives);
        if (!pulled.is_complete) break;
        ++tally.comparisons;
        if (device.rows().size() < before) ++tally.evictions;
        if (pulled.request.sync_rules) ++tally.whole_rules;
        ASSERT_EQ(device.rows(), in_scope(world, device.actor(), pulled.request))
            << "seed " << seed << " step " << step;
      }
    }
  }
}

struct SubscriptionsOracle : ::testing::TestWithParam<BackendKind> {};
INSTANTIATE_TEST_SUITE_P(On, SubscriptionsOracle, every_backend(), kind_name);

TEST_P(SubscriptionsOracle, AfterEveryCompletePullTheDeviceEqualsTheInScopeSelectOfTheBucketsItAskedFor) {
  const std::uint64_t seed = test_seed("subscriptions", 41);
  Tally tally;
  for (std::uint64_t run = 0; run < 8 && !HasFatalFailure(); ++run) run_history(GetParam(), seed + run, tally);
  std::cout << tally.comparisons << " comparisons, " << tally.evictions << " with fewer rows after, "
            << tally.whole_rules << " of whole rules\n";
  EXPECT_GT(tally.comparisons, 100);
  EXPECT_GT(tally.evictions, 20);
  EXPECT_GT(tally.whole_rules, 20);
}

}  // namespace
}  // namespace nizhal::testing::tasks
