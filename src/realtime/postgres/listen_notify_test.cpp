// Instances that hear of each other over a real PostgreSQL, through lost connections, floods and strangers.
#include "realtime/postgres/listen_notify.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/environment.hpp"
#include "postgres/connection.hpp"
#include "postgres/url.hpp"
#include "realtime/postgres/instance_watch.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::realtime {
namespace {

using nizhal::testing::PostgresServer;
using nizhal::testing::shared_server;

/// Longer than anything takes.
constexpr std::chrono::seconds kPatience{120};

class Heard : public Listener {
 public:
  void heard(Message message) override {
    const std::lock_guard lock(mutex_);
    ++messages_;
    for (const auto& [version, buckets] : message.commits)
      for (const std::string& bucket : buckets) ++pairs_[{number(version), bucket}];
    presence_.insert(presence_.end(), message.presence.begin(), message.presence.end());
    changed_.notify_all();
  }
  void missed() override {
    const std::lock_guard lock(mutex_);
    ++misses_;
    changed_.notify_all();
  }
  using Pair = std::pair<std::uint64_t, std::string>;
  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return condition(*this); });
  }
  bool wait_for_pair(const Pair& pair) {
    return wait([&](const Heard& heard) { return heard.pairs_.contains(pair); });
  }
  bool wait_for_misses(std::size_t misses) {
    return wait([&](const Heard& heard) { return heard.misses_ >= misses; });
  }
  /// Only inside wait(), or when nothing comes any more.
  std::map<Pair, int> pairs_;
  std::vector<std::string> presence_;
  std::size_t misses_ = 0, messages_ = 0;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

struct Instance {
  explicit Instance(const std::string& url, std::size_t waiting_bytes_max = 4 << 20, Log log = {}) {
    ListenNotifyOptions options;
    options.url = url;
    options.channel = "nizhal_7";
    options.instances_key = instances_key(7);
    options.waiting_bytes_max = waiting_bytes_max;
    options.backoff_first = std::chrono::milliseconds(20);
    options.backoff_max = std::chrono::milliseconds(200);
    bus = listen_notify(std::move(options), system_random(), std::move(log));
  }
  void start() { bus->start(heard); }
  /// Starts, and returns when it hears.
  void join() {
    start();
    ASSERT_TRUE(heard->wait_for_misses(1));
  }
  void tell(std::uint64_t version, std::set<std::string> buckets) {
    bus->tell({.commits = {{Version{version}, std::move(buckets)}}, .presence = {}});
  }
  std::shared_ptr<Heard> heard = std::make_shared<Heard>();
  std::unique_ptr<Realtime> bus;
};

class ListenNotify : public ::testing::Test {
 protected:
  std::string value(const std::string& query) { return shared_server().value(name_, query); }
  /// Ends the sessions that listen, one after the other, and waits until they are gone; how many there were.
  std::string terminate_listeners() {
    // They hold the instances' lock. A session whose client has just gone may still be among the others for a while.
    return value(
        "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_locks WHERE locktype = 'advisory' AND database "
        "= (SELECT oid FROM pg_database WHERE datname = '" +
        name_ + "')");
  }
  const std::string url_ = shared_server().create_database();
  const std::string name_ = postgres::parse_url(url_)->database;
};

TEST_F(ListenNotify, AnInstanceHearsTheOthersAndNeverItself) {
  Instance a(url_), b(url_), c(url_);
  a.join();
  b.join();
  c.join();
  EXPECT_TRUE(a.bus->reaches_others());
  a.tell(7, {"o1", "team:a"});
  a.bus->tell({.commits = {}, .presence = {R"({"bucket":"o1"})"}});
  b.tell(8, {"o2"});
  for (Instance* other : {&b, &c}) {
    EXPECT_TRUE(other->heard->wait_for_pair({7, "o1"}));
    EXPECT_TRUE(other->heard->wait_for_pair({7, "team:a"}));
    EXPECT_TRUE(other->heard->wait([](const Heard& heard) { return heard.presence_.size() == 1; }));
  }
  EXPECT_TRUE(a.heard->wait_for_pair({8, "o2"}));
  // By the time that a hears of 9, it would have heard of its own 7.
  b.tell(9, {"o2"});
  EXPECT_TRUE(a.heard->wait_for_pair({9, "o2"}));
  a.bus->stop();
  EXPECT_EQ(a.heard->pairs_.size(), 2U);
  EXPECT_EQ(a.heard->misses_, 1U) << "no more than when it came";
  EXPECT_GE(a.bus->stats().told, 1U);
  b.tell(10, {"o2"});
  EXPECT_TRUE(c.heard->wait_for_pair({10, "o2"}));
  EXPECT_EQ(a.heard->pairs_.size(), 2U) << "nothing is heard after the end";
}

TEST_F(ListenNotify, WhatIsLargerThanANotificationComesInParts) {
  Instance a(url_), b(url_);
  a.join();
  b.join();
  std::set<std::string> buckets;
  for (int i = 0; i < 3'000; ++i) buckets.insert("team:" + std::string(20, 'k') + std::to_string(i));
  a.tell(7, buckets);
  EXPECT_TRUE(b.heard->wait([&](const Heard& heard) { return heard.pairs_.size() == buckets.size(); }));
  // What fits nowhere is looked for.
  a.tell(8, {std::string(9'000, 'k')});
  EXPECT_TRUE(b.heard->wait_for_misses(2));
  // Others may hear of it before the one that tells has counted it.
  a.bus->stop();
  EXPECT_GT(a.bus->stats().told, 10U);
}

TEST_F(ListenNotify, AFloodOfCommitsTravelsTogetherAndNothingIsLost) {
  Instance a(url_), b(url_);
  a.join();
  b.join();
  for (std::uint64_t v = 1; v <= 10'000; ++v) a.tell(v, {"team:" + std::to_string(v % 50)});
  EXPECT_TRUE(b.heard->wait_for_pair({10'000, "team:0"}));
  b.bus->stop();
  EXPECT_EQ(b.heard->pairs_.size(), 10'000U);
  for (const auto& [pair, times] : b.heard->pairs_) EXPECT_EQ(times, 1) << pair.first;
  EXPECT_EQ(b.heard->misses_, 1U);
  a.bus->stop();
  EXPECT_LT(a.bus->stats().told, 5'000U) << "commits that come while a NOTIFY is under way share the next";
}

TEST_F(ListenNotify, MoreThanMayWaitIsToldAsMissed) {
  Instance a(url_, 64 << 10), b(url_);
  b.join();
  // It is not connected yet, so that everything waits.
  for (std::uint64_t v = 1; v <= 10'000; ++v) a.tell(v, {"team:" + std::to_string(v % 50)});
  EXPECT_GT(a.bus->stats().overflows, 0U);
  a.join();
  EXPECT_TRUE(b.heard->wait_for_misses(2));
  a.tell(20'000, {"after"});
  EXPECT_TRUE(b.heard->wait_for_pair({20'000, "after"}));
}

TEST_F(ListenNotify, AConnectionThatIsEndedIsMadeAnewAndWhatWasMissedIsLookedFor) {
  std::vector<std::string> lines;
  std::mutex lines_mutex;
  const Log log([&](LogLevel level, std::string_view, std::string_view message) {
    const std::lock_guard lock(lines_mutex);
    lines.push_back(std::string(to_string(level)) + " " + std::string(message));
  });
  Instance a(url_), b(url_, 4 << 20, log);
  a.join();
  b.join();
  std::uint64_t version = 0;
  for (std::size_t round = 1; round <= 5; ++round) {
    // Commits go on being told while both sessions are ended.
    std::jthread teller([&] {
      for (int i = 0; i < 200; ++i) a.tell(++version, {"o1"});
    });
    EXPECT_EQ(terminate_listeners(), "2");
    teller.join();
    EXPECT_TRUE(a.heard->wait_for_misses(1 + round));
    EXPECT_TRUE(b.heard->wait_for_misses(1 + round));
    a.tell(++version, {"o1"});
    EXPECT_TRUE(b.heard->wait_for_pair({version, "o1"})) << "it hears again";
  }
  b.bus->stop();
  for (const auto& [pair, times] : b.heard->pairs_) EXPECT_EQ(times, 1) << "none is heard twice: " << pair.first;
  EXPECT_FALSE(lines.empty());
  for (std::size_t i = 0; i < lines.size(); ++i)
    EXPECT_TRUE(lines[i].starts_with(i % 2 == 0 ? "warning the connection" : "info listens")) << lines[i];
}

TEST_F(ListenNotify, AServerThatRestartsIsFoundAgain) {
  PostgresServer server;
  const std::string url = server.create_database();
  Instance a(url), b(url);
  a.join();
  b.join();
  server.kill_hard();
  a.tell(7, {"while it is away"});
  server.start();
  EXPECT_TRUE(a.heard->wait_for_misses(2));
  EXPECT_TRUE(b.heard->wait_for_misses(2));
  a.tell(8, {"o1"});
  EXPECT_TRUE(b.heard->wait_for_pair({8, "o1"}));
}

TEST_F(ListenNotify, ADatabaseThatIsNotThereYetIsWaitedFor) {
  PostgresServer server;
  const std::string url = server.create_database();
  server.stop();
  Instance a(url);
  a.start();
  a.tell(7, {"early"});
  server.start();
  EXPECT_TRUE(a.heard->wait_for_misses(1));
  a.bus->stop();
  Instance never(url);
  never.start();
  never.bus->stop();
}

TEST_F(ListenNotify, WhatStrangersSendIsCountedAndIgnored) {
  Instance a(url_), b(url_);
  a.join();
  b.join();
  for (const char* payload : {"hello", "", R"({"v":1,"from":"x","n":"1"})", R"({"v":2,"from":"x","n":1,"commits":[]})"})
    shared_server().sql(name_, "SELECT pg_notify('nizhal_7', '" + std::string(payload) + "')");
  shared_server().sql(name_, "SELECT pg_notify('nizhal_8', 'another channel')");
  a.tell(7, {"o1"});
  EXPECT_TRUE(b.heard->wait_for_pair({7, "o1"}));
  EXPECT_EQ(b.bus->stats().ignored, 4U);
  EXPECT_EQ(b.heard->messages_, 1U);
  // A number that is left out says that something is lost, whoever left it out.
  shared_server().sql(name_, R"(SELECT pg_notify('nizhal_7', '{"v":1,"from":"x","n":1,"commits":[[9,"o9"]]}'))");
  shared_server().sql(name_, R"(SELECT pg_notify('nizhal_7', '{"v":1,"from":"x","n":3,"commits":[[11,"o9"]]}'))");
  EXPECT_TRUE(b.heard->wait_for_pair({11, "o9"}));
  EXPECT_TRUE(b.heard->wait_for_misses(2));
  shared_server().sql(name_, R"(SELECT pg_notify('nizhal_7', '{"v":1,"from":"x","n":3,"commits":[[12,"again"]]}'))");
  a.tell(8, {"o1"});
  EXPECT_TRUE(b.heard->wait_for_pair({8, "o1"}));
  b.bus->stop();
  EXPECT_FALSE(b.heard->pairs_.contains({12, "again"})) << "a number is heard once";
  EXPECT_EQ(b.heard->misses_, 2U);
}

TEST_F(ListenNotify, AnInstanceThatHearsNoOthersSaysOnceThatThereAreSome) {
  std::vector<std::string> lines;
  const Log log([&](LogLevel level, std::string_view, std::string_view message) {
    lines.push_back(std::string(to_string(level)) + " " + std::string(message));
  });
  InstanceWatch alone(url_, instances_key(7), log), other_domain(url_, instances_key(8), log);
  ASSERT_TRUE(alone.look());
  EXPECT_EQ(*other_domain.look(), 0U);
  EXPECT_EQ(*alone.look(), 0U);
  EXPECT_TRUE(lines.empty());
  {
    Instance hears(url_);
    hears.join();
    EXPECT_EQ(*alone.look(), 1U);
    InstanceWatch third(url_, instances_key(7), {});
    EXPECT_EQ(*third.look(), 2U);
    EXPECT_EQ(*alone.look(), 2U);
  }
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(lines[0].starts_with("warning 1 other instance")) << lines[0];
  terminate_listeners();
  // It looks again, on a new connection, and the others are gone as soon as the server has noticed.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  Result<std::size_t> others = alone.look();
  while ((!others || *others > 0) && std::chrono::steady_clock::now() < until) others = alone.look();
  EXPECT_EQ(others.value_or(99), 0U);
  EXPECT_EQ(lines.size(), 1U) << "once is enough";
}

}  // namespace
}  // namespace nizhal::realtime
