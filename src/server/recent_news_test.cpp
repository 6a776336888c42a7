// What was committed, as pokes need it: from the storage and from the tail the same, on every kind of database.
#include "server/recent_news.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "server/tail.hpp"
#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

class News : public ::testing::TestWithParam<BackendKind> {
 protected:
  void SetUp() override {
    other->run("INSERT INTO members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u2', 'b')");
    other->run("INSERT INTO docs (id, team_id, title) VALUES ('d1', 'a', 'x'), ('d2', 'b', 'x')");
  }
  std::shared_ptr<Tail> tail(Limits limits = {}) {
    return std::make_shared<Tail>(world.domain, *world.storage, limits, Log());
  }
  Version settled() { return world.storage->position()->horizon; }
  /// The buckets named, whatever the commit.
  static std::string keys(const Result<std::optional<RecentNews>>& news) {
    if (!news) return "failed: " + news.error().message;
    if (!*news) return "cannot tell";
    std::set<std::string> keys;
    for (const auto& [version, buckets] : (*news)->buckets) keys.insert(buckets.begin(), buckets.end());
    std::string out;
    for (const std::string& key : keys) out += key + " ";
    for (const auto& change : (*news)->grant_changes) out += "+" + change.subject;
    return out;
  }
  World world{GetParam()};
  std::unique_ptr<nizhal::testing::OtherProgram> other = world.backend->other_program();
};
INSTANTIATE_TEST_SUITE_P(On, News, nizhal::testing::every_backend(), nizhal::testing::kind_name);

TEST_P(News, NameEveryBucketThatACommitChangedAndWhoseGrantsMoved) {
  StorageNews storage_news(*world.storage, 1'000);
  NewsOfTail tail_news(tail(), *world.storage, 1'000);
  Version after = settled();
  const auto expect = [&](const std::string& script, const std::string& named) {
    if (!script.empty()) other->run(script);
    EXPECT_EQ(keys(storage_news.since(after)), named) << script;
    EXPECT_EQ(keys(tail_news.since(after)), named) << script << " (tail)";
    after = settled();
  };
  expect("", "");
  expect("UPDATE docs SET title = 'y' WHERE id = 'd1'", "team:a ");
  expect("UPDATE docs SET team_id = 'b' WHERE id = 'd1'", "team:a team:b ");
  expect("DELETE FROM docs WHERE id = 'd1'", "team:b ");
  expect("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')", "o1 ");
  expect("INSERT INTO secrets (id, text) VALUES ('s1', 'in no bucket')", "");
  expect("", "");
  other->run("DELETE FROM members WHERE id = 'm1'");
  const std::string gone = keys(storage_news.since(after));
  EXPECT_NE(gone.find("+u1"), std::string::npos) << gone;
  EXPECT_EQ(keys(tail_news.since(after)), gone);
}

TEST_P(News, AnAnswerThatWasLostComesAgainWhole) {
  NewsOfTail news(tail(), *world.storage, 1'000);
  const Version after = settled();
  EXPECT_EQ(keys(news.since(after)), "");
  other->run("UPDATE docs SET title = 'y' WHERE id = 'd1'");
  EXPECT_EQ(keys(news.since(after)), "team:a ");
  news.answer_was_lost();
  other->run("UPDATE docs SET title = 'y' WHERE id = 'd2'");
  // The storage fails when it is asked for all of it: that is no answer either.
  world.storage->plan = fail_call("position", ErrorCode::busy, 2);
  EXPECT_EQ(keys(news.since(after)).find("failed"), 0U);
  EXPECT_EQ(keys(news.since(after)), "team:a team:b ");
}

TEST_P(News, WithoutATailTheStorageIsAskedAndTooMuchCannotBeTold) {
  Limits limits;
  limits.tail_bytes_max = 0;
  NewsOfTail news(tail(limits), *world.storage, 5);
  const Version after = settled();
  other->run("UPDATE docs SET title = 'y' WHERE id = 'd1'");
  EXPECT_EQ(keys(news.since(after)), "team:a ");
  for (int i = 0; i < 6; ++i)
    other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n" + std::to_string(i) + "', 'o1', 'x')");
  EXPECT_EQ(keys(news.since(after)), "cannot tell");
}

TEST_P(News, WhatTheTailHasKeptForLongerThanIsAskedForIsLeftOut) {
  const auto shared = tail();
  NewsOfTail news(shared, *world.storage, 1'000);
  EXPECT_EQ(keys(news.since(settled())), "");
  // Pulls bring it up to date; nobody asks for news meanwhile.
  other->run("UPDATE docs SET title = 'y' WHERE id = 'd1'");
  EXPECT_TRUE(shared->bring_up_to(*world.storage->position()));
  const Version after = settled();
  other->run("UPDATE docs SET title = 'y' WHERE id = 'd2'");
  EXPECT_EQ(keys(news.since(after)), "team:b ");
}

}  // namespace
}  // namespace nizhal::server::testing
