// Devices that sync with an app's own backend (examples/rest_backend), which knows nothing of Nizhal: a plain HTTP
// server on a real socket, its replies lost, its session over, itself restarted.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <nizhal/store.hpp>

#include "../../examples/rest_backend/backend.hpp"
#include "../../examples/rest_backend/rest_target.hpp"
#include "../../examples/rest_backend/todos.hpp"
#include "base/environment.hpp"
#include "base/reserved_port.hpp"
#include "base/test_seed.hpp"
#include "base/test_temp_dir.hpp"
#include "tests/support/require.hpp"

namespace nizhal::testing {
namespace {

using Titles = std::map<std::string, std::string>;  // id → title, with " (done)"

constexpr std::chrono::milliseconds kPatience{120'000};

std::string told(const Outcome& outcome) { return outcome.is_done() ? "done" : outcome.code; }

MutateOptions asking(std::chrono::milliseconds timeout = kPatience) {
  return {.mode = SyncMode::server_authoritative, .timeout = timeout};
}

/// What came in callbacks, in order.
template <class T>
class Heard {
 public:
  void add(T item) {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    changed_.notify_all();
  }
  bool wait_for_last(const T& wanted) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return !items_.empty() && items_.back() == wanted; });
  }
  std::vector<T> items() const {
    const std::lock_guard lock(mutex_);
    return items_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<T> items_;
};

/// The backend on one port for as long as the test runs, whether it listens or not.
class RestServer {
 public:
  RestServer() { start(); }
  todos::Backend backend;
  /// The connection of the next write whose turn it is when this reaches zero is cut after the write was done.
  std::atomic<int> writes_until_a_reply_is_lost{-1};
  /// No list is answered.
  std::atomic<bool> are_lists_cut{false};
  std::uint16_t port() const { return port_.port(); }
  void start() {
    listener_ = std::make_unique<todos::Listener>(backend, port(), [this](const todos::Request& request) {
      if (request.method() == boost::beast::http::verb::get) return !are_lists_cut;
      if (writes_until_a_reply_is_lost < 0) return true;
      return writes_until_a_reply_is_lost-- != 0;
    });
  }
  void stop() { listener_.reset(); }

 private:
  const ReservedPort port_;
  std::unique_ptr<todos::Listener> listener_;
};

/// One installation of the app. It touches the network only when told to sync.
class Device {
 public:
  Device(std::string path, const RestServer& server) : path_(std::move(path)), port_(server.port()) { open(); }
  void open() {
    StoreOptions options{.path = path_,
                         .domain = todos::domain(),
                         .actor = {.user_id = "u1", .owner_id = "o1"},
                         .target = std::make_shared<todos::RestTarget>(port_, "the-session")};
    options.start_online = false;
    store_.emplace(require(open_store(std::move(options)), "opening the store"));
  }
  void reopen() {
    store_.reset();
    open();
  }
  Store& store() { return *store_; }
  Result<Ticket> ask(const std::string& id, const std::string& title, const MutateOptions& options = asking()) {
    return store_->mutate("addTodo", todos::AddTodo{.id = id, .title = title}, options);
  }
  std::string add(const std::string& id, const std::string& title) {
    return require(store_->mutate("addTodo", todos::AddTodo{.id = id, .title = title}), "addTodo").client_mutation_id;
  }
  Result<Ticket> set_done(const std::string& id) {
    return store_->mutate("setDone", todos::SetDone{.id = id, .done = true});
  }
  Result<Ticket> remove(const std::string& id) { return store_->mutate("deleteTodo", todos::DeleteTodo{.id = id}); }
  SyncReport sync() { return require(store_->sync_now(), "syncing"); }
  Titles titles() {
    Titles titles;
    for (const todos::Todo& todo : require(store_->query(from(todos::todos)), "reading"))
      titles[todo.id] = todo.title + (todo.done ? " (done)" : "");
    return titles;
  }

 private:
  std::string path_;
  std::uint16_t port_;
  std::optional<Store> store_;
};

struct Brownfield : ::testing::Test {
  TempDir folder;
  RestServer server;
  Device one{folder.file("one.db"), server};
  Device two{folder.file("two.db"), server};
};

TEST_F(Brownfield, TwoDevicesConvergeThroughABackendThatKnowsNothingOfUs) {
  const std::string office = server.backend.add("from the office");
  one.add("a", "bread");
  one.add("b", "milk");
  // Under the id of this device; the backend will have given the row another by the time it hears of this.
  ASSERT_TRUE(one.set_done("b"));
  two.add("c", "eggs");
  EXPECT_EQ(one.titles(), (Titles{{"a", "bread"}, {"b", "milk (done)"}}));
  EXPECT_EQ(one.store().status().connection, StoreStatus::Connection::offline);

  const SyncReport first = one.sync();
  EXPECT_EQ(first.applied, 3u);
  EXPECT_EQ(first.pending, 0u);
  two.sync();
  one.sync();
  EXPECT_EQ(one.titles(), server.backend.titles());
  EXPECT_EQ(two.titles(), server.backend.titles());
  EXPECT_EQ(one.titles().size(), 4u);
  EXPECT_EQ(one.titles().count("a"), 0u) << "the backend's id replaces the device's";

  ASSERT_TRUE(two.remove(office));
  two.sync();
  server.backend.add("more from the office");
  one.sync();
  EXPECT_EQ(one.titles(), server.backend.titles());
  EXPECT_EQ(one.titles().count(office), 0u);
  EXPECT_EQ(server.backend.writes_done(), 5u);
  EXPECT_EQ(one.store().status().server, fmt::format("127.0.0.1:{}", server.port()));
}

TEST_F(Brownfield, ARefusalIsRolledBackAndItsDeadLetterCanBeEditedAndRetried) {
  one.add("a", "forbidden");
  one.add("b", "bread");
  const SyncReport report = one.sync();
  EXPECT_EQ(report.rejected, 1u);
  EXPECT_EQ(report.applied, 1u);
  EXPECT_EQ(one.titles(), server.backend.titles());
  const auto letters = require(one.store().dead_letters(), "dead letters");
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters[0].code, "bad_title");
  EXPECT_EQ(letters[0].message, "this title is not allowed");
  ASSERT_TRUE(one.store().retry_with(letters[0].id, R"({"id":"a","title":"butter"})"));
  one.sync();
  EXPECT_EQ(one.titles(), server.backend.titles());
  EXPECT_EQ(one.titles().size(), 2u);
}

TEST_F(Brownfield, TheBackendsAnswerDecidesAConflict) {
  const std::string id = server.backend.add("to be deleted elsewhere");
  one.sync();
  ASSERT_TRUE(one.set_done(id));
  server.backend.remove(id);
  EXPECT_EQ(one.sync().rejected, 1u);
  EXPECT_EQ(one.titles(), Titles{});
  EXPECT_EQ(require(one.store().dead_letters(), "dead letters").at(0).code, "not_found");
}

TEST_F(Brownfield, AWriteWhoseReplyIsLostIsDoneOnceByItsIdempotencyKey) {
  one.add("a", "bread");
  one.add("b", "milk");
  server.writes_until_a_reply_is_lost = 1;
  const auto failed = one.store().sync_now();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unreachable) << failed.error().message;
  EXPECT_EQ(server.backend.writes_done(), 2u);
  EXPECT_EQ(one.store().status().pending, 2u) << "one is done and waits for its pull, of the other nothing is known";
  one.reopen();
  EXPECT_EQ(one.titles().size(), 2u);
  one.sync();
  EXPECT_EQ(server.backend.writes_done(), 2u);
  EXPECT_EQ(one.titles(), server.backend.titles());
  EXPECT_EQ(one.store().status().pending, 0u);
}

TEST_F(Brownfield, ASessionThatIsOverKeepsEveryWrite) {
  one.sync();
  one.add("a", "bread");
  server.backend.sign_out(true);
  const auto failed = one.store().sync_now();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unauthorized);
  EXPECT_NE(failed.error().message.find("sign in again"), std::string::npos) << failed.error().message;
  EXPECT_EQ(one.titles(), (Titles{{"a", "bread"}}));
  EXPECT_EQ(require(one.store().dead_letters(), "dead letters").size(), 0u);
  server.backend.sign_out(false);
  EXPECT_EQ(one.sync().applied, 1u);
  EXPECT_EQ(one.titles(), server.backend.titles());
}

TEST_F(Brownfield, ADeviceThatWasAwayForTooLongStartsOverAndKeepsItsPendingWrites) {
  const std::string gone = server.backend.add("deleted meanwhile");
  server.backend.add("stays");
  one.sync();
  server.backend.remove(gone);
  server.backend.clean_up();
  one.add("a", "written offline");
  EXPECT_EQ(one.titles().size(), 3u);
  one.sync();
  EXPECT_EQ(one.titles(), server.backend.titles());
  EXPECT_EQ(one.titles().size(), 2u);
}

TEST_F(Brownfield, ABackendThatIsAwayIsOfflineAndItsReturnBringsEverything) {
  server.stop();
  one.add("a", "bread");
  const auto failed = one.store().sync_now();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unreachable);
  EXPECT_EQ(one.store().status().connection, StoreStatus::Connection::offline);
  server.start();
  EXPECT_EQ(one.sync().applied, 1u);
  EXPECT_EQ(one.titles(), server.backend.titles());
}

TEST_F(Brownfield, AStoreWithATargetAndAServerOrWithChosenBucketsIsAUsageError) {
  StoreOptions options{.path = folder.file("three.db"),
                       .domain = todos::domain(),
                       .actor = {.user_id = "u1", .owner_id = "o1"},
                       .server = "http://127.0.0.1:1",
                       .target = std::make_shared<todos::RestTarget>(server.port(), "the-session")};
  const auto both = open_store(options);
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().code, ErrorCode::usage);
  options.server.clear();
  options.coverage = Coverage::subscribed;
  const auto chosen = open_store(options);
  ASSERT_FALSE(chosen);
  EXPECT_EQ(chosen.error().code, ErrorCode::usage);
}

TEST_F(Brownfield, TicketsFollowAWriteFromTheDeviceToTheBackendAndItsPull) {
  Heard<std::string> calls;
  const Ticket written = require(one.ask("a", "bread", {}), "addTodo");
  const Ticket refused = require(one.ask("b", "forbidden", {}), "addTodo");
  written.on_server([&](const Outcome& outcome) { calls.add("on server: " + told(outcome)); });
  written.on_confirmed([&](const Outcome& outcome) { calls.add("confirmed: " + told(outcome)); });
  EXPECT_EQ(told(*written.wait(Tier::on_device, kPatience)), "done");
  EXPECT_EQ(written.wait(Tier::on_server, std::chrono::milliseconds(0)).error().code, ErrorCode::busy);

  // The backend does it, and the pull fails: on the server, and not yet confirmed.
  server.are_lists_cut = true;
  ASSERT_FALSE(one.store().sync_now());
  const Outcome on_server = require(written.wait(Tier::on_server, kPatience), "the answer");
  EXPECT_TRUE(on_server.server_id.has_value()) << "the backend gave it another id";
  EXPECT_EQ(written.wait(Tier::confirmed, std::chrono::milliseconds(0)).error().code, ErrorCode::busy);
  EXPECT_EQ(told(*refused.wait(Tier::confirmed, kPatience)), "bad_title") << "a refusal is final at once";

  server.are_lists_cut = false;
  one.sync();
  EXPECT_EQ(told(*written.wait(Tier::confirmed, kPatience)), "done");
  EXPECT_TRUE(calls.wait_for_last("confirmed: done"));
  EXPECT_EQ(calls.items(), (std::vector<std::string>{"on server: done", "confirmed: done"}));
  one.reopen();
  EXPECT_EQ(told(*one.store().ticket(written.client_mutation_id).wait(Tier::confirmed, kPatience)), "done");
}

TEST_F(Brownfield, LiveQueriesShowEachChangeOnceAndNeverAnInBetweenState) {
  Heard<Titles> seen;
  const Subscription live = require(one.store().live(from(todos::todos).order_by("id"),
                                                     [&](const Rows<todos::Todo>& rows, const Delta<todos::Todo>&) {
                                                       Titles titles;
                                                       for (const todos::Todo& todo : rows)
                                                         titles[todo.id] = todo.title + (todo.done ? " (done)" : "");
                                                       seen.add(std::move(titles));
                                                     }),
                                    "a live query");
  ASSERT_TRUE(seen.wait_for_last({}));
  one.add("a", "bread");
  ASSERT_TRUE(seen.wait_for_last({{"a", "bread"}}));
  one.add("b", "forbidden");
  ASSERT_TRUE(seen.wait_for_last({{"a", "bread"}, {"b", "forbidden"}}));
  one.sync();
  ASSERT_TRUE(seen.wait_for_last(server.backend.titles())) << "under the backend's id, without the refused one";
  server.backend.add("from the office");
  one.sync();
  ASSERT_TRUE(seen.wait_for_last(server.backend.titles()));
  for (const Titles& titles : seen.items()) {
    std::size_t breads = 0;
    for (const auto& [id, title] : titles) breads += title == "bread" ? 1 : 0;
    EXPECT_LE(breads, 1U) << "shown under both ids";
  }
  EXPECT_EQ(seen.items().back().size(), 2U);
}

TEST_F(Brownfield, AWriteThatTheBackendIsToDecideIsShownWhenMutateReturns) {
  one.add("a", "bread");
  one.store().set_online(true);
  const auto asked = one.ask("b", "milk");
  ASSERT_TRUE(asked) << asked.error().message;
  EXPECT_EQ(one.titles(), server.backend.titles()) << "what was pending went before, and both have the backend's ids";
  EXPECT_EQ(server.backend.writes_done(), 2U);
  EXPECT_EQ(told(*asked->wait(Tier::on_server, std::chrono::milliseconds(0))), "done");
  EXPECT_EQ(told(*asked->wait(Tier::confirmed, kPatience)), "done");

  const auto refused = one.ask("c", "forbidden");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::refused);
  EXPECT_EQ(refused.error().message, "bad_title: this title is not allowed");
  EXPECT_EQ(one.titles(), server.backend.titles());
  EXPECT_EQ(require(one.store().dead_letters(), "dead letters").size(), 0U) << "the caller has the refusal";
}

TEST_F(Brownfield, AWriteThatTheBackendCannotBeAskedForIsNotKept) {
  const auto expect_nothing_kept = [&](ErrorCode code) {
    const auto asked = one.ask("a", "bread");
    ASSERT_FALSE(asked);
    EXPECT_EQ(asked.error().code, code) << asked.error().message;
    EXPECT_EQ(require(one.store().outbox(), "the outbox").size(), 0U);
    EXPECT_EQ(one.titles(), Titles{});
  };
  expect_nothing_kept(ErrorCode::unreachable);  // offline
  server.backend.sign_out(true);
  one.store().set_online(true);
  expect_nothing_kept(ErrorCode::unauthorized);
  server.backend.sign_out(false);
  EXPECT_EQ(server.backend.writes_done(), 0U);
}

TEST_F(Brownfield, AWriteWhoseAnswerIsLostWhileItsCallerWaitsIsAskedForAgainAndDoneOnce) {
  one.sync();
  server.writes_until_a_reply_is_lost = 0;
  one.store().set_online(true);
  const auto asked = one.ask("a", "bread");
  ASSERT_TRUE(asked) << asked.error().message;
  EXPECT_EQ(server.backend.writes_done(), 1U);
  EXPECT_EQ(one.titles(), server.backend.titles());
}

/// A target whose calls use the store that they belong to.
class MeddlingTarget : public SyncTarget {
 public:
  TargetResult<TargetPage> pull(const TargetPull&) override { return TargetPage(); }
  TargetResult<Outcome> push(const TargetMutation& mutation) override {
    if (during_push) std::exchange(during_push, nullptr)();
    return mutation.name == "addTodo" ? done() : reject("unknown", "never heard of it");
  }
  std::function<void()> during_push;
};

TEST_F(Brownfield, WaitingForTheBackendInACallOfTheTargetIsAUsageError) {
  const auto target = std::make_shared<MeddlingTarget>();
  StoreOptions options{.path = folder.file("three.db"),
                       .domain = todos::domain(),
                       .actor = {.user_id = "u1", .owner_id = "o1"},
                       .target = target};
  options.start_online = false;
  Store store = require(open_store(std::move(options)), "opening the store");
  const Ticket ticket = require(store.mutate("addTodo", todos::AddTodo{.id = "a", .title = "bread"}), "addTodo");
  std::vector<ErrorCode> codes;
  target->during_push = [&] {
    codes.push_back(store.mutate("addTodo", todos::AddTodo{.id = "b", .title = "milk"}, asking()).error().code);
    codes.push_back(ticket.wait(Tier::on_server, kPatience).error().code);
    EXPECT_TRUE(store.mutate("addTodo", todos::AddTodo{.id = "c", .title = "eggs"})) << "this needs nobody";
  };
  EXPECT_EQ(require(store.sync_now(), "syncing").pending, 0U);
  EXPECT_EQ(codes, (std::vector<ErrorCode>{ErrorCode::usage, ErrorCode::usage}));
}

TEST_F(Brownfield, LostRepliesRestartsAndOfflineTimesEndWithAllEqualAndNothingDoneTwice) {
  SeededRandom random(test_seed("brownfield", 31));
  Device* const devices[] = {&one, &two};
  std::uint64_t written = 0;
  for (int step = 0; step < 300; ++step) {
    const std::uint64_t which = random.below(2);
    Device& device = *devices[which];
    switch (random.below(8)) {
      case 0:
      case 1: {
        const std::string id = fmt::format("d{}-{}", which, step);
        device.add(id, fmt::format("title {}", step));
        ++written;
        break;
      }
      case 2: {
        // By whatever id it has on this device now.
        const Titles now = device.titles();
        if (now.empty()) break;
        auto it = now.begin();
        std::advance(it, static_cast<long>(random.below(now.size())));
        ASSERT_TRUE(random.below(3) == 0 ? device.remove(it->first) : device.set_done(it->first));
        break;
      }
      case 3:
        device.reopen();
        break;
      case 4:
        server.backend.add(fmt::format("office {}", step));
        ++written;
        break;
      case 5:
        server.writes_until_a_reply_is_lost = static_cast<int>(random.below(3));
        break;
      case 6:
        if (random.below(3) == 0) server.backend.clean_up();
        break;
      default:
        // Fails when a reply is lost; that is told, and nothing else.
        if (const auto synced = device.store().sync_now(); !synced) {
          EXPECT_EQ(synced.error().code, ErrorCode::unreachable) << synced.error().message;
        }
    }
  }
  server.writes_until_a_reply_is_lost = -1;
  for (int round = 0; round < 2; ++round) {
    one.sync();
    two.sync();
  }
  EXPECT_EQ(one.titles(), server.backend.titles());
  EXPECT_EQ(two.titles(), server.backend.titles());
  EXPECT_EQ(one.store().status().pending, 0u);
  EXPECT_EQ(two.store().status().pending, 0u);
  // Each title at most once: nothing was done twice.
  std::map<std::string, int> times;
  for (const auto& [id, title] : server.backend.titles()) ++times[title.substr(0, title.find(" (done)"))];
  for (const auto& [title, count] : times) EXPECT_EQ(count, 1) << title;
  EXPECT_GT(written, 50u);
}

}  // namespace
}  // namespace nizhal::testing
