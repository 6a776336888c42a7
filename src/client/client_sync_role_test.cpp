// Two handles on one file, each with its own machine and its own connection; who syncs is decided by locks that the
// test holds in memory.
#include <deque>

#include "client/client_sync.hpp"
#include "client/client_test_support.hpp"
#include "client/commit.hpp"
#include "client/store_locks.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::FakeServer;
using testing::NoteRows;

/// What the handles of one file lock.
struct LockTable {
  const StoreLocks* role = nullptr;
  std::set<const StoreLocks*> open;
  std::optional<Error> error;
};

class FakeLocks : public StoreLocks {
 public:
  explicit FakeLocks(LockTable& table) : table_(table) {}
  ~FakeLocks() override {
    table_.open.erase(this);
    give_up_role();
  }
  Result<void> enter() override {
    if (table_.error) return tl::unexpected(*table_.error);
    table_.open.insert(this);
    return {};
  }
  Result<bool> try_alone() override {
    if (table_.error) return tl::unexpected(*table_.error);
    return table_.open.size() == table_.open.count(this);
  }
  bool has_others() override { return table_.open.size() > table_.open.count(this); }
  Result<bool> try_take_role() override {
    if (table_.error) return tl::unexpected(*table_.error);
    if (table_.role && table_.role != this) return false;
    table_.role = this;
    return true;
  }
  void give_up_role() override {
    if (table_.role == this) table_.role = nullptr;
  }

 private:
  LockTable& table_;
};

/// One handle: a connection to the file, a machine, and what it asked for.
class Handle {
 public:
  Handle(const std::string& path, ManualClock& clock, LockTable& locks, std::uint64_t seed)
      : device(path, clock, seed), clock_(clock), random_(seed) {
    device.options().locks = std::make_shared<FakeLocks>(locks);
    device.reopen();
    start();
  }
  void start() {
    sync_ = std::make_unique<ClientSync>(device.store(), clock_, random_, Log(), SyncOptions{"http://localhost:1"});
    requests.clear();
  }

  void handle(const Event& event) {
    for (Effect& effect : sync_->handle(event)) {
      if (auto* send = std::get_if<SendRequest>(&effect)) requests.push_back(std::move(*send));
      if (auto* finished = std::get_if<SyncFinished>(&effect)) finishes.push_back(finished->report);
      if (std::holds_alternative<OpenSocket>(effect)) ++sockets_opened;
      if (std::holds_alternative<CloseSocket>(effect)) ++sockets_closed;
      if (std::holds_alternative<Notify>(effect)) ++notifications;
    }
  }
  /// One answer; false when nothing was asked.
  bool answer(FakeServer& server) {
    if (requests.empty()) return false;
    const SendRequest request = std::move(requests.front());
    requests.pop_front();
    handle(Answered{request.request, server.handle(request.http)});
    return true;
  }
  void run(FakeServer& server) {
    while (answer(server)) {
    }
  }
  void cut() {
    const SendRequest request = std::move(requests.front());
    requests.pop_front();
    handle(Failed{request.request, "connection refused"});
  }
  /// As kill -9 does: nothing is told, what it held is free.
  void die(LockTable& locks) {
    locks.role = nullptr;
    requests.clear();
  }
  StoreStatus status() const { return sync_->status(); }

  Device device;
  std::deque<SendRequest> requests;
  std::vector<Result<SyncReport>> finishes;
  int sockets_opened = 0, sockets_closed = 0, notifications = 0;

 private:
  ManualClock& clock_;
  SeededRandom random_;
  std::unique_ptr<ClientSync> sync_;
};

struct Role : ::testing::Test {
  TempDir folder;
  ManualClock clock{testing::kStart};
  FakeServer server{clock};
  LockTable locks;
  Handle first{folder.file("a.db"), clock, locks, 1};
  Handle second{folder.file("a.db"), clock, locks, 2};

  /// Time passes until nobody has anything to do.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      first.handle(Ticked{});
      first.run(server);
      second.handle(Ticked{});
      second.run(server);
    }
  }
};

TEST_F(Role, ExactlyOneOfTwoHandlesSendsAndOpensASocket) {
  server.put("n1", "theirs");
  first.handle(Started{});
  second.handle(Started{});
  EXPECT_EQ(first.requests.size(), 1U);
  EXPECT_TRUE(second.requests.empty());
  EXPECT_TRUE(second.status().standby);
  settle();
  EXPECT_FALSE(first.status().standby);
  EXPECT_EQ(first.sockets_opened, 1);
  EXPECT_EQ(second.sockets_opened, 0);
  EXPECT_EQ(second.device.notes(), (NoteRows{{"n1", "theirs"}}));
}

/// Takes down what it is told.
struct Told : CommitListener {
  void committed(std::shared_ptr<const Commit> commit) override { commits.push_back(std::move(commit)); }
  bool knows_of_others() const {
    return std::any_of(commits.begin(), commits.end(), [](const auto& commit) { return commit->changes.is_unknown; });
  }
  std::vector<std::shared_ptr<const Commit>> commits;
};

TEST_F(Role, AStandbyIsToldOfACommitWhenTheHolderWrote) {
  first.handle(Started{});
  second.handle(Started{});
  settle();
  Told told;
  second.device.store().add_listener(told);
  const int before = second.notifications;
  second.handle(Ticked{});
  EXPECT_TRUE(told.commits.empty()) << "nobody wrote";
  server.put("n1", "theirs");
  first.handle(SyncRequested{});
  first.run(server);
  EXPECT_TRUE(told.commits.empty());
  second.handle(Ticked{});
  ASSERT_EQ(told.commits.size(), 1U);
  EXPECT_TRUE(told.knows_of_others());
  EXPECT_GT(second.notifications, before);
  second.device.store().remove_listener(told);
}

TEST_F(Role, WhatAHandlesOwnTransactionNoticedIsToldWithItsCommitAndNotTwice) {
  first.handle(Started{});
  first.run(server);
  first.handle(Ticked{});
  Told told;
  first.device.store().add_listener(told);
  second.device.add("n1", "of the other");
  first.device.add("n2", "own");
  ASSERT_EQ(told.commits.size(), 1U);
  EXPECT_TRUE(told.knows_of_others());
  // The machine learns of it all the same: it is the one that pushes.
  first.handle(Ticked{});
  ASSERT_EQ(told.commits.size(), 2U) << "mutation ids were given";
  EXPECT_FALSE(told.commits[1]->changes.is_unknown);
  ASSERT_EQ(first.requests.size(), 1U);
  EXPECT_EQ(first.requests.front().http.path, protocol::kPushPath);
  first.device.store().remove_listener(told);
}

TEST_F(Role, ARefusedMutationDoesNotSwallowWhatItNoticed) {
  first.device.add("n1", "here");
  Told told;
  second.device.store().add_listener(told);
  ASSERT_FALSE(second.device.mutate("addNote", {"n1", "again"}));
  EXPECT_TRUE(told.commits.empty());
  second.handle(Ticked{});
  EXPECT_TRUE(told.knows_of_others());
  second.device.store().remove_listener(told);
}

TEST_F(Role, TheHolderPushesWhatAStandbyWroteAndTheStandbyLearnsWhatBecameOfIt) {
  first.handle(Started{});
  second.handle(Started{});
  settle();
  second.device.add("n1", "good");
  second.device.add("n2", "reject");
  second.handle(Mutated{});
  EXPECT_TRUE(second.requests.empty());
  settle();
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "good"}}));
  EXPECT_EQ(second.status().pending, 0U);
  EXPECT_EQ(second.status().dead_letters, 1U);
  EXPECT_EQ(second.device.notes(), (NoteRows{{"n1", "good"}}));
}

TEST_F(Role, AStandbyTakesOverWhenTheHolderDiesInTheMiddleOfAPushAndNothingIsDoubled) {
  first.handle(Started{});
  first.run(server);
  second.handle(Started{});
  for (int i = 0; i < 5; ++i) first.device.add("n" + std::to_string(i), "x");
  first.handle(Mutated{});
  ASSERT_EQ(first.requests.size(), 1U);
  (void)server.handle(first.requests.front().http);  // it arrives, the answer does not
  first.die(locks);
  second.device.add("n5", "x");
  second.handle(Ticked{});
  EXPECT_FALSE(second.status().standby);
  second.run(server);
  EXPECT_EQ(server.notes().size(), 6U);
  EXPECT_EQ(server.runs.size(), 6U);
  EXPECT_EQ(second.status().pending, 0U);
  EXPECT_EQ(second.sockets_opened, 1);
}

TEST_F(Role, AHolderThatGoesOfflineGivesItUpOnceItsRequestHasEnded) {
  first.handle(Started{});
  first.run(server);
  second.handle(Started{});
  first.device.add("n1", "x");
  first.handle(Mutated{});
  ASSERT_EQ(first.requests.size(), 1U);
  first.handle(WentOffline{});
  second.handle(Ticked{});
  EXPECT_TRUE(second.status().standby) << "its push is still under way";
  first.cut();
  second.handle(Ticked{});
  second.run(server);
  EXPECT_FALSE(second.status().standby);
  EXPECT_EQ(server.notes().size(), 1U);
  // Back again it stands by, and no timer of before wakes it.
  first.handle(WentOnline{});
  EXPECT_TRUE(first.requests.empty());
  EXPECT_TRUE(first.status().standby);
  first.handle(TimerFired{TimerId::pull});
  first.handle(TimerFired{TimerId::socket});
  EXPECT_TRUE(first.requests.empty());
}

TEST_F(Role, AStandbyShowsTheHoldersConnectionAndLastError) {
  first.handle(Started{});
  second.handle(Started{});
  settle();
  EXPECT_EQ(second.status().connection, StoreStatus::Connection::online);
  first.handle(TimerFired{TimerId::pull});
  first.cut();
  first.handle(Ticked{});
  second.handle(Ticked{});
  EXPECT_EQ(second.status().connection, StoreStatus::Connection::offline);
  EXPECT_NE(second.status().last_error.find("connection refused"), std::string::npos);
  // What it takes over it has to find out for itself.
  first.handle(SyncRequested{});
  settle();
  EXPECT_EQ(second.status().connection, StoreStatus::Connection::online);
  EXPECT_EQ(second.status().last_error, "");
  first.die(locks);
  second.handle(Ticked{});
  EXPECT_EQ(second.status().connection, StoreStatus::Connection::offline);
  second.run(server);
  EXPECT_EQ(second.status().connection, StoreStatus::Connection::online);
}

TEST_F(Role, AHandleThatIsAloneTellsNobodyHowItStands) {
  second.device.close();
  second.device.options().locks.reset();
  first.handle(Started{});
  first.run(server);
  const std::string version = first.device.sql_text("PRAGMA data_version");
  for (int i = 0; i < 3; ++i) first.handle(Ticked{});
  EXPECT_EQ(first.device.sql_text("PRAGMA data_version"), version) << "nothing is written";
}

TEST_F(Role, AHolderThatIsClosedGivesItUp) {
  first.handle(Started{});
  second.handle(Started{});
  first.handle(Stopped{});
  second.handle(Ticked{});
  EXPECT_FALSE(second.status().standby);
  EXPECT_EQ(second.requests.size(), 1U);
}

TEST_F(Role, AStoreThatOnlySyncsWhenAskedHasTheRoleForThatLongOnly) {
  first.handle(SyncRequested{});
  second.handle(Started{});
  EXPECT_TRUE(second.status().standby);
  first.run(server);
  ASSERT_EQ(first.finishes.size(), 1U);
  second.handle(Ticked{});
  EXPECT_FALSE(second.status().standby);
  EXPECT_EQ(second.requests.size(), 1U);
}

TEST_F(Role, ASyncThatAStandbyWantsIsDoneByTheHolderWhichAnswersWithItsReport) {
  first.handle(Started{});
  first.run(server);
  server.put("n1", "theirs");
  second.device.add("n2", "mine");
  second.handle(SyncRequested{});
  EXPECT_TRUE(second.requests.empty());
  first.handle(Ticked{});
  first.run(server);
  EXPECT_TRUE(first.finishes.empty()) << "nobody asked for it here";
  second.handle(Ticked{});
  ASSERT_EQ(second.finishes.size(), 1U);
  ASSERT_TRUE(second.finishes[0]) << second.finishes[0].error().message;
  EXPECT_EQ(second.finishes[0]->applied, 1U);
  EXPECT_EQ(second.finishes[0]->pulled_rows, 2U);
  EXPECT_EQ(second.finishes[0]->pending, 0U);
  EXPECT_EQ(second.device.notes().size(), 2U);
  // An answer is for what was asked before it.
  second.handle(SyncRequested{});
  second.handle(Ticked{});
  EXPECT_EQ(second.finishes.size(), 1U);
  settle();
  EXPECT_EQ(second.finishes.size(), 2U);
}

TEST_F(Role, ASyncThatTheHolderCannotDoFailsForTheStandbyWithTheHoldersError) {
  first.handle(Started{});
  first.run(server);
  second.handle(SyncRequested{});
  first.handle(Ticked{});
  ASSERT_EQ(first.requests.size(), 1U);
  first.cut();
  second.handle(Ticked{});
  ASSERT_EQ(second.finishes.size(), 1U);
  ASSERT_FALSE(second.finishes[0]);
  EXPECT_EQ(second.finishes[0].error().code, ErrorCode::unreachable);
  EXPECT_NE(second.finishes[0].error().message.find("connection refused"), std::string::npos);
}

TEST_F(Role, ASyncIsDoneByTheStandbyItselfWhenTheHolderDiesBeforeItAnswered) {
  first.handle(Started{});
  first.run(server);
  second.device.add("n1", "x");
  second.handle(SyncRequested{});
  first.handle(Ticked{});
  first.die(locks);
  second.handle(Ticked{});
  second.run(server);
  ASSERT_EQ(second.finishes.size(), 1U);
  ASSERT_TRUE(second.finishes[0]);
  EXPECT_EQ(second.finishes[0]->pending, 0U);
  EXPECT_EQ(server.notes().size(), 1U);
  EXPECT_EQ(locks.role, nullptr) << "it wanted the network for that sync only";
}

TEST_F(Role, AHolderThatIsClosedOrGoesOfflineLeavesARequestToWhoAsked) {
  for (const Event& ends : {Event{Stopped{}}, Event{WentOffline{}}}) {
    first.start();
    first.handle(Started{});
    first.run(server);
    second.finishes.clear();
    second.handle(SyncRequested{});
    first.handle(Ticked{});
    ASSERT_EQ(first.requests.size(), 1U);
    first.handle(ends);
    if (std::holds_alternative<WentOffline>(ends)) first.cut();
    second.handle(Ticked{});
    EXPECT_TRUE(second.finishes.empty());
    second.run(server);
    ASSERT_EQ(second.finishes.size(), 1U);
    EXPECT_TRUE(second.finishes[0]);
  }
}

TEST_F(Role, TheHoldersOwnSyncBeginsAfterTheOneThatItDoesForAnother) {
  first.handle(Started{});
  first.run(server);
  second.handle(SyncRequested{});
  first.handle(Ticked{});
  ASSERT_EQ(first.requests.size(), 1U);
  ASSERT_TRUE(first.answer(server));  // what comes after it is not in it
  server.put("n1", "late");
  first.handle(SyncRequested{});
  first.run(server);
  ASSERT_EQ(first.finishes.size(), 1U);
  ASSERT_TRUE(first.finishes[0]);
  EXPECT_EQ(first.finishes[0]->pulled_rows, 1U);
}

TEST_F(Role, AnAbandonedRequestIsNotMadeUpForLater) {
  first.handle(Started{});
  first.run(server);
  second.handle(SyncRequested{});
  second.handle(SyncAbandoned{});
  ASSERT_EQ(second.finishes.size(), 1U);
  EXPECT_EQ(second.finishes[0].error().code, ErrorCode::busy);
  first.die(locks);
  second.handle(Ticked{});
  EXPECT_TRUE(second.requests.empty()) << "it is not online by itself";
  EXPECT_FALSE(second.status().standby);
}

TEST_F(Role, LocksThatFailAreANamedErrorAndNothingIsSent) {
  locks.error = Error{ErrorCode::read_only, "a.db-sync cannot be opened: Permission denied"};
  first.handle(Started{});
  EXPECT_TRUE(first.requests.empty());
  EXPECT_NE(first.status().last_error.find("a.db-sync"), std::string::npos);
  first.device.add("n1", "works locally");
  first.handle(SyncRequested{});
  ASSERT_EQ(first.finishes.size(), 1U);
  EXPECT_EQ(first.finishes[0].error().code, ErrorCode::read_only);
  first.handle(Ticked{});
  const int before = first.notifications;
  first.handle(Ticked{});
  EXPECT_EQ(first.notifications, before) << "told once";
  locks.error.reset();
  first.handle(Ticked{});
  first.run(server);
  EXPECT_EQ(first.status().last_error, "");
  EXPECT_EQ(server.notes().size(), 1U);
}

TEST_F(Role, ACursorInMemoryNeverReplacesTheOneThatANewHolderReached) {
  first.handle(Started{});
  first.run(server);
  // An idle pull moves the first handle's cursor in memory only.
  server.put_row("team_members", {std::string("m1"), std::string("u9"), std::string("t9")});
  first.handle(SyncRequested{});
  first.run(server);
  first.handle(TimerFired{TimerId::pull});
  first.run(server);
  first.handle(WentOffline{});
  second.handle(Started{});
  server.put("n1", "x");
  settle();
  const std::string reached = second.device.sql_text("SELECT value FROM nizhal_meta WHERE key = 'cursor'");
  first.device.add("n2", "a commit of the first handle");
  EXPECT_EQ(first.device.sql_text("SELECT value FROM nizhal_meta WHERE key = 'cursor'"), reached);
  first.device.close();
  EXPECT_EQ(second.device.sql_text("SELECT value FROM nizhal_meta WHERE key = 'cursor'"), reached);
}

TEST_F(Role, APageThatAnswersAQuestionFromBeforeAnotherHandlesPullChangesNothing) {
  server.put("n1", "old");
  auto asked = first.device.store().next_pull(1000);
  ASSERT_TRUE(asked);
  auto page = protocol::decode_page(first.device.store().domain().domain(), server.pull(*asked));
  ASSERT_TRUE(page);
  server.put("n1", "new");
  second.device.pull(server);
  auto applied = first.device.store().apply_page(*asked, *page);
  ASSERT_TRUE(applied);
  EXPECT_FALSE(applied->complete);
  EXPECT_EQ(first.device.notes(), (NoteRows{{"n1", "new"}}));
}

TEST_F(Role, AnswersToAPushAreJudgedByTheClientIdThatTheFileHasNow) {
  first.device.add("n1", "x");
  auto sent = first.device.store().next_push(10, 1 << 20);
  ASSERT_TRUE(sent);
  const protocol::PushReply reply = server.push(*sent);
  // The other handle finds out that the file is a clone meanwhile.
  server.clients[second.device.store().client_id()] = {7, "of the other device"};
  second.device.pull(server);
  ASSERT_NE(second.device.store().client_id(), *sent->mutations[0].client_id);
  auto settled = first.device.store().settle_push(*sent, reply);
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->applied, 0U);
  EXPECT_TRUE(settled->send_again);
  first.device.sync(server);
  EXPECT_EQ(server.runs.size(), 1U);
}

TEST_F(Role, AnotherActorIsRefusedWhileTheFileIsOpenElsewhere) {
  for (const OtherActor choice : {OtherActor::Archive, OtherActor::Discard}) {
    LocalStoreOptions options = first.device.options();
    options.actor = {.user_id = "u2", .owner_id = "o2", .claims = ""};
    options.other_actor = choice;
    options.locks = std::make_shared<FakeLocks>(locks);
    SeededRandom random(3);
    auto opened = LocalStore::open(options, clock, random, Log());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::busy);
    EXPECT_NE(opened.error().message.find("open elsewhere"), std::string::npos) << opened.error().message;
  }
  first.device.add("n1", "x");
  EXPECT_EQ(second.device.notes().size(), 1U);
}

}  // namespace
}  // namespace nizhal::client
