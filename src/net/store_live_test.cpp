// Live queries as an app has them: callbacks on the store's thread, subscriptions dropped anywhere and at any time.
#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>

#include <nizhal/store.hpp>

#include "../../examples/notes/notes.hpp"
#include "base/test_temp_dir.hpp"
#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;
using Bodies = std::vector<std::string>;
using NoteRows = Rows<notes::Note>;
using NoteDelta = Delta<notes::Note>;

struct StoreLiveTest : ::testing::Test {
  TempDir scratch;
  Mailbox<std::string> logged;
  Mailbox<Bodies> delivered;

  Store open(const std::string& name = "a.db") {
    auto store = open_store({.path = scratch.file(name),
                             .domain = notes::domain(),
                             .actor = {.user_id = "u1", .owner_id = "o1"},
                             .log = [this](std::string_view level, std::string_view message) {
                               if (level == "error" || level == "warning") logged.put(std::string(message));
                             }});
    EXPECT_TRUE(store) << (store ? "" : store.error().message);
    return std::move(*store);
  }
  static void add(Store& store, const std::string& id, const std::string& body) {
    const auto ticket = store.mutate("addNote", notes::AddNote{.id = id, .body = body});
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().message);
  }
  static Bodies bodies(const NoteRows& rows) {
    Bodies all;
    for (const notes::Note& note : rows) all.push_back(note.body);
    return all;
  }
  std::function<void(const NoteRows&, const NoteDelta&)> to_mailbox() {
    return [this](const NoteRows& rows, const NoteDelta&) { delivered.put(bodies(rows)); };
  }
  static auto all() { return from(notes::notes).order_by("id"); }
};

TEST_F(StoreLiveTest, TypedRowsAndTheirChangesComeOnTheStoresThread) {
  Store store = open();
  add(store, "b", "two");
  Mailbox<std::thread::id> threads;
  Mailbox<std::string> changes;
  const auto live = store.live(all(), std::function([&](const NoteRows& rows, const NoteDelta& delta) {
                                 threads.put(std::this_thread::get_id());
                                 std::string text = delta.is_first ? "first" : "";
                                 for (const Change<notes::Note>& change : delta.changes)
                                   text += std::to_string(static_cast<int>(change.step)) + change.row.body;
                                 changes.put(text);
                                 delivered.put(bodies(rows));
                               }));
  ASSERT_TRUE(live) << live.error().message;
  EXPECT_EQ(delivered.take(), (Bodies{"two"}));
  EXPECT_EQ(changes.take(), "first");
  EXPECT_NE(threads.take(), std::this_thread::get_id());
  add(store, "a", "one");
  EXPECT_EQ(delivered.take(), (Bodies{"one", "two"}));
  EXPECT_EQ(changes.take(), "0one");
}

TEST_F(StoreLiveTest, SqlIsLiveToo) {
  Store store = open();
  Mailbox<std::int64_t> counts;
  const auto live =
      store.live_sql("SELECT count(*) FROM notes WHERE body <> 'x'",
                     [&](const Rows<Row>& rows, const Delta<Row>&) { counts.put(std::get<std::int64_t>(rows[0][0])); });
  ASSERT_TRUE(live) << live.error().message;
  EXPECT_EQ(counts.take(), 0);
  add(store, "a", "one");
  EXPECT_EQ(counts.take(), 1);
  EXPECT_EQ(store.live_sql("DELETE FROM notes", [](const Rows<Row>&, const Delta<Row>&) {}).error().code,
            ErrorCode::usage);
  EXPECT_EQ(store.explain(all().limit(3))->upkeep, Explanation::Upkeep::incremental);
  EXPECT_EQ(store.explain_sql("SELECT 1 FROM notes")->tables, std::vector<std::string>{"notes"});
}

TEST_F(StoreLiveTest, WrongQueriesAreErrorsAtTheCall) {
  Store store = open();
  const auto live = store.live(from(notes::notes).order_by("nothing"), to_mailbox());
  ASSERT_FALSE(live);
  EXPECT_EQ(live.error().code, ErrorCode::invalid_args);
  EXPECT_NE(live.error().message.find("nothing"), std::string::npos) << live.error().message;
}

TEST_F(StoreLiveTest, WhatAnotherHandleOfTheFileWritesIsDeliveredWithoutAsking) {
  Store store = open();
  const auto live = store.live(all(), to_mailbox());
  ASSERT_TRUE(live);
  EXPECT_EQ(delivered.take(), Bodies{});
  Store other = open();
  add(other, "a", "from elsewhere");
  EXPECT_EQ(delivered.take(), (Bodies{"from elsewhere"}));
}

TEST_F(StoreLiveTest, ASubscriptionMayBeDroppedInsideItsOwnCallback) {
  Store store = open();
  Gate is_set;
  std::optional<Subscription> own;
  std::atomic<int> calls{0};
  auto live = store.live(all(), std::function([&](const NoteRows&, const NoteDelta&) {
                           ++calls;
                           ASSERT_TRUE(is_set.wait());
                           own.reset();
                         }));
  ASSERT_TRUE(live);
  own = std::move(*live);
  is_set.open();
  const auto witness = store.live(all(), to_mailbox());
  ASSERT_TRUE(witness);
  EXPECT_EQ(delivered.take(), Bodies{});
  add(store, "a", "one");
  EXPECT_EQ(delivered.take(), (Bodies{"one"}));
  EXPECT_EQ(calls, 1);
}

TEST_F(StoreLiveTest, AfterADropOnAnotherThreadNoCallbackRuns) {
  Store store = open();
  for (int round = 0; round < 20; ++round) {
    std::atomic<bool> is_dropped{false};
    std::atomic<bool> was_late{false};
    auto live = store.live(all(), std::function([&](const NoteRows&, const NoteDelta&) {
                             if (is_dropped) was_late = true;
                           }));
    ASSERT_TRUE(live);
    std::thread writer([&] {
      for (int i = 0; i < 5; ++i) add(store, "n" + std::to_string(round) + "-" + std::to_string(i), "x");
    });
    live->stop();
    is_dropped = true;
    writer.join();
    EXPECT_FALSE(was_late);
  }
}

TEST_F(StoreLiveTest, ASubscriptionMayOutliveTheStore) {
  std::optional<Subscription> kept;
  {
    Store store = open();
    auto live = store.live(all(), to_mailbox());
    ASSERT_TRUE(live);
    kept = std::move(*live);
    EXPECT_TRUE(delivered.take());
  }
  kept.reset();
  // And it may be dropped while the store goes.
  for (int round = 0; round < 20; ++round) {
    std::optional<Store> store(open());
    auto live = store->live(all(), to_mailbox());
    ASSERT_TRUE(live);
    std::thread dropper([subscription = std::move(*live)]() mutable { subscription.stop(); });
    add(*store, "r" + std::to_string(round), "x");
    store.reset();
    dropper.join();
  }
}

TEST_F(StoreLiveTest, WhatACallbackThrowsIsLoggedAndTheNextDeliveryComes) {
  Store store = open();
  const auto live = store.live(all(), std::function([&](const NoteRows& rows, const NoteDelta& delta) {
                                 delivered.put(bodies(rows));
                                 if (delta.is_first) throw std::runtime_error("of the app");
                                 if (rows.size() == 1) throw 42;
                               }));
  ASSERT_TRUE(live);
  EXPECT_TRUE(delivered.take());
  EXPECT_NE(logged.take()->find("of the app"), std::string::npos);
  add(store, "a", "one");
  EXPECT_EQ(delivered.take(), (Bodies{"one"}));
  EXPECT_NE(logged.take()->find("no std::exception"), std::string::npos);
  add(store, "b", "two");
  EXPECT_EQ(delivered.take(), (Bodies{"one", "two"}));
}

TEST_F(StoreLiveTest, AnErrorIsToldToTheAppThatAsked) {
  Store store = open();
  add(store, "a", "no JSON");
  Mailbox<std::string> errors;
  const auto live =
      store.live_sql("SELECT json_extract(body, '$.x') FROM notes", [](const Rows<Row>&, const Delta<Row>&) {},
                     {.on_error = [&](const Error& error) { errors.put(error.message); }});
  ASSERT_TRUE(live);
  const auto told = errors.take();
  ASSERT_TRUE(told);
  EXPECT_NE(told->find("JSON"), std::string::npos) << *told;
}

TEST_F(StoreLiveTest, ACallbackMayWriteAndReadTheStore) {
  Store store = open();
  Mailbox<std::size_t> sizes;
  const auto live = store.live(all(), std::function([&](const NoteRows& rows, const NoteDelta& delta) {
                                 if (delta.is_first) add(store, "a", "from the callback");
                                 sizes.put(rows.size());
                                 EXPECT_TRUE(store.query(all()));
                               }));
  ASSERT_TRUE(live);
  EXPECT_EQ(sizes.take(), 0u);
  EXPECT_EQ(sizes.take(), 1u);
}

}  // namespace
}  // namespace nizhal::net
