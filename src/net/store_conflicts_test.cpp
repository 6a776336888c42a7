// Conflicts as an app has them: a real server, devices whose edits lose by the clock, and callbacks on the store's
// thread.
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <thread>

#include <nizhal/store.hpp>

#include "../../examples/docs/docs.hpp"
#include "net/store_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;

struct StoreConflicts : ::testing::Test {
  TempDir scratch;
  Running server{ServerOptions{.domain = docs::domain(),
                               .storage = sqlite_storage(scratch.file("server.db")),
                               .auth = bearer_token_auth({.secret = kSecret})}};
  Mailbox<std::string> logged;

  /// Two devices of one user; each syncs when it is told to.
  Store open(const std::string& name) {
    auto store = open_store({.path = scratch.file(name),
                             .domain = docs::domain(),
                             .actor = {.user_id = "u1", .owner_id = "o1"},
                             .server = server.url(),
                             .token = [] { return token("u1", "o1"); },
                             .start_online = false,
                             .log =
                                 [this](std::string_view level, std::string_view message) {
                                   if (level == "error") logged.put(std::string(message));
                                 }});
    EXPECT_TRUE(store) << (store ? "" : store.error().message);
    return std::move(*store);
  }
  template <class Args>
  static std::string mutate(Store& store, const char* name, const Args& args) {
    const auto ticket = store.mutate(name, args);
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().message);
    return ticket ? ticket->client_mutation_id : "";
  }
  static void sync(Store& store) {
    const auto report = store.sync_now();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->rejected, 0u);
    EXPECT_EQ(report->pending, 0u);
  }
  /// Both have the document.
  static void begin(Store& one, Store& two) {
    mutate(one, "createSpace", docs::CreateSpace{.space_id = "s1"});
    sync(one);
    mutate(one, "createDocument", docs::CreateDocument{.id = "d1", .space_id = "s1", .title = "before"});
    sync(one);
    sync(two);
  }
  /// The clock's next millisecond: what is edited now is later than what was edited before.
  static void let_time_pass() {
    const auto now = [] { return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()); };
    const auto before = now();
    while (now() <= before) std::this_thread::yield();
  }
  static std::string title(const Store& store) {
    const auto found = store.get(docs::documents, "d1");
    EXPECT_TRUE(found && *found);
    return found && *found ? (*found)->title : "";
  }
};

TEST_F(StoreConflicts, AnEditThatLosesIsToldOnceOnTheStoresThreadWithWhatItLostTo) {
  std::optional<Store> mine(open("mine.db"));
  Store theirs = open("theirs.db");
  begin(*mine, theirs);

  Mailbox<LostEdit> told;
  Mailbox<std::thread::id> threads;
  Mailbox<bool> is_listed;
  auto observed = mine->on_conflict([&](const LostEdit& edit) {
    threads.put(std::this_thread::get_id());
    // It may ask the store, which has it already.
    const auto listed = mine->conflicts();
    is_listed.put(listed && *listed == std::vector<LostEdit>{edit} && mine->status().conflicts == 1);
    told.put(edit);
  });
  const std::string lost = mutate(*mine, "setTitle", docs::SetTitle{.id = "d1", .title = "mine, \"earlier\""});
  mutate(*mine, "setStatus", docs::SetStatus{.id = "d1", .status = "ready"});
  let_time_pass();
  mutate(theirs, "setTitle", docs::SetTitle{.id = "d1", .title = "theirs, later"});
  sync(theirs);
  sync(*mine);

  const auto edit = told.take();
  ASSERT_TRUE(edit);
  EXPECT_EQ(edit->table, "documents");
  EXPECT_EQ(edit->key, "d1");
  EXPECT_EQ(edit->column, "title");
  EXPECT_EQ(edit->lost, R"("mine, \"earlier\"")");
  EXPECT_EQ(edit->mutator, "setTitle");
  EXPECT_EQ(edit->client_mutation_id, lost);
  EXPECT_LT(edit->at, edit->winner_at);
  EXPECT_NE(threads.take(), std::this_thread::get_id());
  EXPECT_EQ(is_listed.take(), true);
  EXPECT_EQ(title(*mine), "theirs, later");
  EXPECT_EQ((*mine->get(docs::documents, "d1"))->status, "ready") << "the other column did not lose";
  EXPECT_TRUE(theirs.conflicts()->empty()) << "who won is not told";

  // Neither syncing again nor opening the file again tells it a second time; it is listed until it is dismissed.
  sync(*mine);
  observed.stop();
  mine.reset();
  mine.emplace(open("mine.db"));
  observed = mine->on_conflict([&](const LostEdit& again) { told.put(again); });
  sync(*mine);
  EXPECT_EQ(*mine->conflicts(), std::vector<LostEdit>{*edit});
  EXPECT_EQ(mine->status().conflicts, 1u);
  // What would have been told comes before what is told of a later conflict.
  mutate(*mine, "setStatus", docs::SetStatus{.id = "d1", .status = "also late"});
  let_time_pass();
  mutate(theirs, "setStatus", docs::SetStatus{.id = "d1", .status = "final"});
  sync(theirs);
  sync(*mine);
  const auto next = told.take();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->column, "status");
  EXPECT_TRUE(told.is_empty());
  ASSERT_TRUE(mine->dismiss_conflict(edit->id));
  EXPECT_EQ(*mine->conflicts(), std::vector<LostEdit>{*next});
  EXPECT_EQ(mine->dismiss_conflict(edit->id).error().code, ErrorCode::not_found);
}

TEST_F(StoreConflicts, WhatACallbackThrowsIsLoggedAndTheOthersAndTheNextConflictAreTold) {
  Store mine = open("mine.db");
  Store theirs = open("theirs.db");
  begin(mine, theirs);
  Mailbox<std::string> told, dropped;
  int calls = 0;
  const auto throws = mine.on_conflict([&](const LostEdit&) {
    if (++calls == 1) throw std::runtime_error("of the app");
    throw 42;
  });
  const auto observed = mine.on_conflict([&](const LostEdit& edit) { told.put(edit.lost); });
  auto ended = mine.on_conflict([&](const LostEdit& edit) { dropped.put(edit.lost); });
  ended.stop();

  for (const char* title : {"one", "two"}) {
    mutate(mine, "setTitle", docs::SetTitle{.id = "d1", .title = title});
    let_time_pass();
    mutate(theirs, "setTitle", docs::SetTitle{.id = "d1", .title = std::string("later than ") + title});
    sync(theirs);
    sync(mine);
    EXPECT_EQ(told.take(), '"' + std::string(title) + '"');
  }
  EXPECT_NE(logged.take()->find("a conflict callback threw: of the app"), std::string::npos);
  EXPECT_NE(logged.take()->find("a conflict callback threw"), std::string::npos);
  EXPECT_TRUE(dropped.is_empty());
  // The store goes on as ever.
  mutate(mine, "setTitle", docs::SetTitle{.id = "d1", .title = "the last word"});
  sync(mine);
  sync(theirs);
  EXPECT_EQ(title(theirs), "the last word");
}

}  // namespace
}  // namespace nizhal::net
