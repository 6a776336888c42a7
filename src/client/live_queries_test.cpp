// Live queries of one store, driven by hand: what is delivered when, and what is told when it cannot be.
#include "client/live_queries.hpp"

#include <gtest/gtest.h>

#include "client/client_test_support.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::NoteRows;
using testing::World;

/// A receiver that follows the deltas and counts.
struct Seen {
  std::vector<Row> rows;
  std::size_t deliveries = 0;
  std::vector<std::string> errors;

  LiveQueries::Receiver receiver() {
    LiveQueries::Receiver receiver;
    receiver.deliver = [this](const RowSequence& now, const RawDelta& delta, std::uint64_t) {
      ++deliveries;
      if (delta.is_first)
        for (std::size_t i = 0; i < now.size(); ++i) rows.push_back(now.row(i));
      for (const RawChange& change : delta.changes) {
        const auto at = rows.begin() + static_cast<std::ptrdiff_t>(change.index);
        if (change.step == Step::inserted) rows.insert(at, change.row);
        if (change.step == Step::updated) *at = change.row;
        if (change.step == Step::removed) rows.erase(at);
      }
      EXPECT_EQ(rows.size(), now.size());
      for (std::size_t i = 0; i < rows.size() && i < now.size(); ++i) EXPECT_EQ(rows[i], now.row(i));
    };
    receiver.fail = [this](const Error& error) { errors.push_back(error.message); };
    return receiver;
  }
  NoteRows notes() const {
    NoteRows notes;
    for (const Row& row : rows) notes[std::get<std::string>(row[0])] = std::get<std::string>(row[2]);
    return notes;
  }
};

struct LiveQueriesTest : World {
  std::size_t wakes = 0;
  LiveQueries live{device.store(), [this] { ++wakes; }};
  Seen seen;

  LiveQueries::Id follow(const QuerySpec& query) { return take(live.add(query, seen.receiver())); }
  LiveQueries::Id follow(const std::string& sql) { return take(live.add_sql(sql, seen.receiver())); }
  static LiveQueries::Id take(const Result<LiveQueries::Id>& id) {
    EXPECT_TRUE(id) << (id ? "" : id.error().message);
    return id.value_or(LiveQueries::Id{});
  }
};

TEST_F(LiveQueriesTest, TheRowsNowComeFirstAndThenWhatEachCommitChanges) {
  device.add("a", "one");
  follow(from(notes::notes).order_by("body").spec());
  EXPECT_EQ(wakes, 1u);
  EXPECT_EQ(seen.deliveries, 0u);
  live.process();
  EXPECT_EQ(seen.notes(), (NoteRows{{"a", "one"}}));
  device.add("b", "three");
  device.edit("a", "two");
  EXPECT_EQ(wakes, 2u) << "one wake-up until it is processed";
  EXPECT_EQ(seen.deliveries, 1u);
  live.process();
  EXPECT_EQ(seen.deliveries, 2u) << "both commits at once";
  EXPECT_EQ(seen.notes(), (NoteRows{{"a", "two"}, {"b", "three"}}));
}

TEST_F(LiveQueriesTest, ARefusedMutationOnThisDeviceIsNoChange) {
  device.add("a", "one");
  follow(from(notes::notes).spec());
  live.process();
  EXPECT_FALSE(device.mutate("addNote", {"a", "again"}));
  live.process();
  EXPECT_EQ(seen.deliveries, 1u);
}

TEST_F(LiveQueriesTest, APullThatUndoesAndRunsAgainIsOneChangeWithoutFramesInBetween) {
  device.add("a", "mine");
  device.add("b", "reject");
  follow(from(notes::notes).order_by("id").spec());
  live.process();
  server.put("c", "theirs");
  device.push(server);
  live.process();
  const std::size_t before = seen.deliveries;
  device.add("d", "pending while it is pulled");
  device.pull(server);
  live.process();
  EXPECT_EQ(seen.deliveries, before + 1);
  EXPECT_EQ(seen.notes(), (NoteRows{{"a", "mine"}, {"c", "theirs"}, {"d", "pending while it is pulled"}}));
  // A pull that only undoes and runs the same again changes nothing that is seen.
  device.edit("a", "edited");
  live.process();
  const std::size_t quiet = seen.deliveries;
  device.pull(server);
  live.process();
  EXPECT_EQ(seen.deliveries, quiet);
}

TEST_F(LiveQueriesTest, SqlRunsAgainOnlyAfterACommitThatChangedOneOfItsTables) {
  follow("SELECT count(*) FROM notes");
  Seen teams;
  ASSERT_TRUE(live.add_sql("SELECT count(*), random() FROM team_notes", teams.receiver()));
  Seen outbox;
  ASSERT_TRUE(live.add_sql("SELECT count(*) FROM nizhal_outbox", outbox.receiver()));
  live.process();
  device.add("a", "one");
  live.process();
  EXPECT_EQ(seen.deliveries, 2u);
  EXPECT_EQ(seen.rows, (std::vector<Row>{{std::int64_t{1}}}));
  EXPECT_EQ(teams.deliveries, 1u) << "random() would have shown that it ran again";
  EXPECT_EQ(outbox.deliveries, 2u) << "tables of the engine may change with every commit";
  EXPECT_EQ(outbox.rows, (std::vector<Row>{{std::int64_t{1}}}));
}

TEST_F(LiveQueriesTest, SqlMayOnlyRead) {
  for (const char* text : {"DELETE FROM notes", "SELECT 1; DROP TABLE notes", "ATTACH 'x' AS y", "BEGIN", "",
                           "PRAGMA journal_mode=DELETE", "SELECT nothing FROM notes"}) {
    const auto added = live.add_sql(text, seen.receiver());
    ASSERT_FALSE(added) << text;
    EXPECT_EQ(added.error().code, ErrorCode::usage) << text;
    EXPECT_FALSE(live.explain_sql(text)) << text;
  }
  live.process();
  EXPECT_EQ(seen.deliveries, 0u);
}

TEST_F(LiveQueriesTest, ExplainsWhoseChangesAQueryFollows) {
  const auto sql = live.explain_sql("SELECT 1 FROM notes, team_notes");
  ASSERT_TRUE(sql);
  EXPECT_EQ(sql->upkeep, Explanation::Upkeep::rerun);
  EXPECT_EQ(sql->tables, (std::vector<std::string>{"notes", "team_notes"}));
  const auto control = live.explain_sql("SELECT 1 FROM nizhal_outbox");
  ASSERT_TRUE(control);
  EXPECT_NE(control->reason.find("nizhal_outbox"), std::string::npos) << control->reason;
  const auto query = live.explain(from(notes::notes).order_by("body").limit(3).spec());
  ASSERT_TRUE(query);
  EXPECT_EQ(query->upkeep, Explanation::Upkeep::incremental);
  struct Other {
    std::string id;
  };
  EXPECT_EQ(live.explain(from(table<Other>("others").key("id", &Other::id)).spec()).error().code, ErrorCode::not_found);
}

TEST_F(LiveQueriesTest, WhatAnotherHandleOfTheFileWritesIsDelivered) {
  follow(from(notes::notes).order_by("id").spec());
  live.process();
  Device other(device.options().path, clock, 2);
  other.add("b", "from elsewhere");
  ASSERT_TRUE(device.store().notice_others());
  live.process();
  EXPECT_EQ(seen.notes(), (NoteRows{{"b", "from elsewhere"}}));
  // Also with the next commit of this handle, should nobody have looked.
  other.edit("b", "edited elsewhere");
  device.add("a", "mine");
  live.process();
  EXPECT_EQ(seen.notes(), (NoteRows{{"a", "mine"}, {"b", "edited elsewhere"}}));
}

TEST_F(LiveQueriesTest, AfterItsRemovalNothingIsDeliveredAndItsTablesAreNotWatched) {
  const auto id = follow(from(notes::notes).spec());
  live.process();
  device.add("a", "one");
  live.remove(id);
  live.remove(id);
  live.process();
  EXPECT_EQ(seen.deliveries, 1u);
  const std::size_t before = wakes;
  device.add("b", "two");
  EXPECT_EQ(wakes, before);
}

TEST_F(LiveQueriesTest, AReceiverMayRemoveItselfAndAddOthersAndWrite) {
  Seen later;
  std::optional<LiveQueries::Id> id;
  LiveQueries::Receiver receiver;
  receiver.deliver = [&](const RowSequence&, const RawDelta&, std::uint64_t) {
    live.remove(*id);
    device.add("a", "from the callback");
    take(live.add(from(notes::notes).spec(), later.receiver()));
  };
  id = take(live.add(from(notes::notes).spec(), std::move(receiver)));
  live.process();
  live.process();
  EXPECT_EQ(later.notes(), (NoteRows{{"a", "from the callback"}}));
}

TEST_F(LiveQueriesTest, AnErrorIsToldOnceAndTheQueryGoesOnWhenItGoesWellAgain) {
  device.add("a", "{}");
  follow("SELECT json_extract(body, '$.x') FROM notes");
  live.process();
  EXPECT_EQ(seen.deliveries, 1u);
  device.edit("a", "no JSON");
  live.process();
  device.add("b", "{}");
  live.process();
  ASSERT_EQ(seen.errors.size(), 1u);
  EXPECT_NE(seen.errors[0].find("JSON"), std::string::npos) << seen.errors[0];
  EXPECT_EQ(seen.deliveries, 1u);
  device.edit("a", R"({"x": 1})");
  live.process();
  EXPECT_EQ(seen.rows, (std::vector<Row>{{std::int64_t{1}}, {Value{}}}));
  device.edit("b", "no JSON either");
  live.process();
  EXPECT_EQ(seen.errors.size(), 2u);
}

TEST_F(LiveQueriesTest, AChangeSetThatTheSnapshotHasAlreadyIsNotAppliedAgain) {
  struct Keeper : CommitListener {
    std::shared_ptr<const Commit> last;
    void committed(std::shared_ptr<const Commit> commit) override { last = std::move(commit); }
  } keeper;
  device.store().add_listener(keeper);
  Seen first;
  ASSERT_TRUE(live.add(from(notes::notes).spec(), first.receiver()));  // so that the table is watched
  device.add("a", "one");
  follow(from(notes::notes).fold(count()).spec());
  live.process();
  EXPECT_EQ(seen.rows, (std::vector<Row>{{std::int64_t{1}}}));
  live.committed(keeper.last);
  live.process();
  EXPECT_EQ(seen.rows, (std::vector<Row>{{std::int64_t{1}}}));
  device.store().remove_listener(keeper);
}

TEST_F(LiveQueriesTest, CommitsThatWaitTooLongAreReplacedByRunningAgain) {
  follow(from(notes::notes).order_by("id").spec());
  live.process();
  auto idle = std::make_shared<Commit>();
  for (std::size_t i = 0; i < kQueuedCommitsMax; ++i) live.committed(idle);
  device.add("a", "one");
  live.process();
  EXPECT_EQ(seen.notes(), (NoteRows{{"a", "one"}}));
  device.add("b", "two");
  live.process();
  EXPECT_EQ(seen.notes(), (NoteRows{{"a", "one"}, {"b", "two"}}));
}

TEST_F(LiveQueriesTest, AfterTheStoreIsClosedNothingCanBeAddedAndRemovingIsSafe) {
  const auto id = follow(from(notes::notes).spec());
  live.close();
  device.close();
  live.remove(id);
  const auto added = live.add(from(notes::notes).spec(), seen.receiver());
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::closed);
}

}  // namespace
}  // namespace nizhal::client
