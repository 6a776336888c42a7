// Devices that sync with an app's own backend (examples/rest_backend), which knows nothing of Nizhal: a plain HTTP
// server on a real socket, its replies lost, its session over, itself restarted.
#include <gtest/gtest.h>

#include <atomic>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>

#include <nizhal/store.hpp>

#include "../../examples/rest_backend/backend.hpp"
#include "../../examples/rest_backend/rest_target.hpp"
#include "../../examples/rest_backend/todos.hpp"
#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "base/test_temp_dir.hpp"
#include "tests/support/require.hpp"

namespace nizhal::testing {
namespace {

using Titles = std::map<std::string, std::string>;  // id → title, with " (done)"

/// The backend on one port for as long as the test runs, whether it listens or not.
class RestServer {
 public:
  RestServer() {
    start();
    port_ = listener_->port();
  }
  todos::Backend backend;
  /// The connection of the next write whose turn it is when this reaches zero is cut after the write was done.
  std::atomic<int> writes_until_a_reply_is_lost{-1};
  std::uint16_t port() const { return port_; }
  void start() {
    listener_ = std::make_unique<todos::Listener>(backend, port_, [this](const todos::Request& request) {
      if (request.method() == boost::beast::http::verb::get) return true;
      if (writes_until_a_reply_is_lost < 0) return true;
      return writes_until_a_reply_is_lost-- != 0;
    });
  }
  void stop() { listener_.reset(); }

 private:
  std::uint16_t port_ = 0;
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
