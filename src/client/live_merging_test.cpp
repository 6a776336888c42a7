// Live queries over columns that merge: what a pull merges is delivered at once, whole, and as the query from scratch
// has it.
#include <gtest/gtest.h>

#include "client/live_queries.hpp"
#include "client/merging_test_support.hpp"

namespace nizhal::client::testing {
namespace {

using namespace papers;

/// Follows the changes of one query.
struct Followed {
  std::vector<Row> rows;
  std::size_t deliveries = 0;
  std::vector<Step> steps;  // of the last delivery

  LiveQueries::Receiver receiver() {
    LiveQueries::Receiver receiver;
    receiver.deliver = [this](const RowSequence& now, const RawDelta& delta, std::uint64_t) {
      ++deliveries;
      steps.clear();
      if (delta.is_first)
        for (std::size_t i = 0; i < now.size(); ++i) rows.push_back(now.row(i));
      for (const RawChange& change : delta.changes) {
        steps.push_back(change.step);
        const auto at = rows.begin() + static_cast<std::ptrdiff_t>(change.index);
        if (change.step == Step::inserted) rows.insert(at, change.row);
        if (change.step == Step::updated) *at = change.row;
        if (change.step == Step::removed) rows.erase(at);
      }
    };
    receiver.fail = [](const Error& error) { ADD_FAILURE() << error.message; };
    return receiver;
  }
};

struct LiveMerging : ::testing::Test {
  static constexpr const char* kTexts = "SELECT id, crdt_text(body, 'body') AS text FROM papers ORDER BY id";
  static QuerySpec by_title() { return from(kPapers).order_by("title").spec(); }
  TempDir folder;
  ManualClock clock{kStart};
  Server server;
  Writer writer{folder.file("a.db"), clock};
  LiveQueries live{writer.device.store(), [] {}};
  Followed papers, texts;

  void SetUp() override {
    server.put("p1", "b", typed(crdt::kEmptyUpdate, 1, "one").bytes);
    server.put("p2", "d", typed(crdt::kEmptyUpdate, 1, "two").bytes);
    ASSERT_TRUE(writer.pull(server));
    ASSERT_TRUE(live.add(by_title(), papers.receiver()));
    ASSERT_TRUE(live.add_sql(kTexts, texts.receiver()));
    live.process();
    expect_as_from_scratch();
  }
  void expect_as_from_scratch() {
    EXPECT_EQ(papers.rows, *writer.device.store().query(by_title()));
    EXPECT_EQ(texts.rows, writer.device.store().sql(kTexts)->rows);
  }
  std::string text(std::size_t row) { return std::get<std::string>(texts.rows[row][1]); }
};

TEST_F(LiveMerging, WhatAPullMergesUnderWhatIsPendingIsOneChangeOfThatRow) {
  ASSERT_TRUE(writer.edit("p1", typed(writer.bodies()["p1"], 2, "mine ")));
  live.process();
  EXPECT_EQ(text(0), "mine one");
  expect_as_from_scratch();
  server.edit("p1", typed(server.rows.at("p1").body, 3, "theirs ").bytes);
  ASSERT_TRUE(writer.pull(server)) << "as an update";
  const std::size_t before = papers.deliveries, texts_before = texts.deliveries;
  live.process();
  EXPECT_EQ(papers.deliveries, before + 1);
  EXPECT_EQ(texts.deliveries, texts_before + 1);
  EXPECT_EQ(papers.steps, std::vector<Step>{Step::updated});
  EXPECT_EQ(text(0).size(), std::string("mine theirs one").size()) << text(0);
  EXPECT_NE(text(0).find("mine "), std::string::npos);
  EXPECT_NE(text(0).find("theirs "), std::string::npos);
  expect_as_from_scratch();
  // What is confirmed as it was shown is no change.
  ASSERT_TRUE(writer.push(server));
  ASSERT_TRUE(writer.pull(server));
  live.process();
  EXPECT_EQ(papers.deliveries, before + 1);
  EXPECT_EQ(texts.deliveries, texts_before + 1);
  expect_as_from_scratch();
}

TEST_F(LiveMerging, AnEditThatLostGivesWayAndTheRowMovesToItsPlace) {
  auto ticket = writer.retitle("p1", "z");
  ASSERT_TRUE(ticket);
  live.process();
  EXPECT_EQ(std::get<std::string>(papers.rows[1][0]), "p1") << "moved to the end";
  server.conflicts[ticket->client_mutation_id] = {
      {"papers", "p1", "title", R"("z")", kStart, Timestamp{kStart.microseconds + 1000}}};
  ASSERT_TRUE(writer.push(server));
  // The server let another's title and text stand.
  server.rows.at("p1").title = "a";
  server.edit("p1", typed(server.rows.at("p1").body, 3, "with a text ").bytes);
  ASSERT_TRUE(writer.pull(server));
  const std::size_t before = papers.deliveries;
  live.process();
  EXPECT_EQ(papers.deliveries, before + 1);
  EXPECT_EQ(std::get<std::string>(papers.rows[0][2]), "a");
  EXPECT_EQ(text(0).size(), std::string("with a text one").size());
  expect_as_from_scratch();
  EXPECT_EQ(writer.device.store().facts().conflicts, 1u);
}

}  // namespace
}  // namespace nizhal::client::testing
