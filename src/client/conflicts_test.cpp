// Edits of this device that lost: told once, kept until they are dismissed, whatever happens to the answer.
#include <gtest/gtest.h>

#include "client/commit.hpp"
#include "client/local_store.hpp"
#include "client/merging_test_support.hpp"

namespace nizhal::client::testing {
namespace {

using namespace papers;

struct Told : CommitListener {
  std::vector<LostEdit> edits;
  void committed(std::shared_ptr<const Commit> commit) override {
    edits.insert(edits.end(), commit->lost_edits.begin(), commit->lost_edits.end());
  }
};

struct Conflicts : ::testing::Test {
  TempDir folder;
  ManualClock clock{kStart};
  Server server;
  Writer writer{folder.file("a.db"), clock};
  Told told;

  void listen() { writer.device.store().add_listener(told); }
  void reopen() {
    writer.device.store().remove_listener(told);
    writer.device.reopen();
    listen();
  }
  std::uint64_t count() { return writer.device.store().facts().conflicts; }
  std::string title_that_loses() {
    auto ticket = writer.retitle("p1", "mine");
    EXPECT_TRUE(ticket);
    server.conflicts[ticket->client_mutation_id] = {
        {"papers", "p1", "title", R"("mine")", kStart, Timestamp{kStart.microseconds + 1000}}};
    return ticket->client_mutation_id;
  }
  void SetUp() override {
    listen();
    server.put("p1", "one", crdt::kEmptyUpdate);
    ASSERT_TRUE(writer.pull(server));
  }
  void TearDown() override { writer.device.store().remove_listener(told); }
};

TEST_F(Conflicts, ALostEditIsToldKeptAcrossARestartAndGoneWhenItIsDismissed) {
  const std::string id = title_that_loses();
  EXPECT_EQ(count(), 0u);
  ASSERT_TRUE(writer.push(server));
  ASSERT_EQ(told.edits.size(), 1u);
  const LostEdit& edit = told.edits[0];
  EXPECT_EQ(edit.table, "papers");
  EXPECT_EQ(edit.key, "p1");
  EXPECT_EQ(edit.column, "title");
  EXPECT_EQ(edit.lost, R"("mine")");
  EXPECT_EQ(edit.at, kStart);
  EXPECT_EQ(edit.winner_at.microseconds, kStart.microseconds + 1000);
  EXPECT_EQ(edit.mutator, "retitle");
  EXPECT_EQ(edit.client_mutation_id, id);
  EXPECT_EQ(count(), 1u);
  reopen();
  EXPECT_EQ(count(), 1u);
  const auto listed = writer.device.store().conflicts();
  ASSERT_TRUE(listed);
  EXPECT_EQ(*listed, std::vector<LostEdit>{edit});
  ASSERT_TRUE(writer.device.store().dismiss_conflict(edit.id));
  EXPECT_TRUE(writer.device.store().conflicts()->empty());
  EXPECT_EQ(count(), 0u);
  const auto again = writer.device.store().dismiss_conflict(edit.id);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::not_found);
}

TEST_F(Conflicts, AnAnswerThatComesTwiceTellsOnceAlsoAfterARestartAndADismissal) {
  title_that_loses();
  auto request = writer.device.store().next_push(10, 1 << 20);
  ASSERT_TRUE(request);
  server.push(*request);  // this answer is lost
  reopen();
  request = writer.device.store().next_push(10, 1 << 20);
  ASSERT_TRUE(request);
  const protocol::PushReply reply = server.push(*request);
  EXPECT_EQ(reply.results[0].status, protocol::PushStatus::duplicate);
  ASSERT_TRUE(writer.device.store().settle_push(*request, reply));
  ASSERT_TRUE(writer.device.store().settle_push(*request, reply));
  EXPECT_EQ(told.edits.size(), 1u);
  ASSERT_TRUE(writer.device.store().dismiss_conflict(told.edits[0].id));
  reopen();
  ASSERT_TRUE(writer.device.store().settle_push(*request, reply));
  EXPECT_EQ(told.edits.size(), 1u);
  EXPECT_EQ(count(), 0u);
  // Once its mutation has left the outbox no answer tells of it, and the next conflict forgets it for good.
  ASSERT_TRUE(writer.pull(server));
  EXPECT_TRUE(writer.device.outbox().empty());
  ASSERT_TRUE(writer.device.store().settle_push(*request, reply));
  title_that_loses();
  ASSERT_TRUE(writer.push(server));
  EXPECT_EQ(told.edits.size(), 2u);
  EXPECT_EQ(writer.device.sql_text("SELECT count(*) FROM nizhal_conflict"), "1");
  EXPECT_EQ(count(), 1u);
}

TEST_F(Conflicts, AnotherHandleOfTheFileSeesThemAndTheirDismissal) {
  Writer other(folder.file("a.db"), clock, 2);
  title_that_loses();
  ASSERT_TRUE(writer.push(server));
  EXPECT_EQ(other.device.store().facts().conflicts, 1u);
  ASSERT_TRUE(other.device.store().dismiss_conflict(told.edits[0].id));
  EXPECT_EQ(count(), 0u);
}

TEST_F(Conflicts, AFileOfBeforeGetsTheTableInPlace) {
  ASSERT_TRUE(writer.retitle("p1", "kept"));
  writer.device.store().remove_listener(told);
  writer.device.close();
  writer.device.write_sql("DROP TABLE nizhal_conflict; UPDATE nizhal_meta SET value = '2' WHERE key = 'format'");
  writer.device.open();
  listen();
  EXPECT_EQ(writer.device.outbox().size(), 1u);
  EXPECT_EQ(writer.device.sql_text("SELECT value FROM nizhal_meta WHERE key = 'format'"), "3");
  title_that_loses();
  ASSERT_TRUE(writer.push(server));
  EXPECT_EQ(count(), 1u);
}

}  // namespace
}  // namespace nizhal::client::testing
