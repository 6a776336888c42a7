// The first sync and what is like it, end to end: a real server, a real device, real sockets, and a relay between them
// that stops the sync where a test wants to look. Devices are killed with SIGKILL.
#include <gtest/gtest.h>

#include <signal.h>

#include <atomic>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <nizhal/fault_proxy.hpp>
#include <nizhal/store.hpp>

#include "base/json.hpp"
#include "base/test_temp_dir.hpp"
#include "examples/notes/notes.hpp"
#include "sqlite/connection.hpp"
#include "tests/support/process.hpp"
#include "tests/support/require.hpp"
#include "tests/support/select_text.hpp"

namespace nizhal::testing {

using chaos::FaultProxy;
namespace {

using Texts = std::vector<std::string>;

constexpr const char* kCount = "SELECT count(*) FROM notes";

/// A server with many notes of owner o1, reached through a relay.
struct FirstSync : ::testing::Test {
  TempDir folder;
  std::optional<ServerProcess> server;
  std::optional<FaultProxy> relay;

  void serve(int notes) {
    std::ofstream(folder.file("seed.sql"))
        << "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " << notes
        << ") INSERT INTO notes(id, owner_id, body) SELECT printf('n%06d', i), 'o1', 'body of ' || i FROM n;";
    server.emplace("notes", folder.file("server.db"), Texts{"--seed", folder.file("seed.sql")});
    ASSERT_FALSE(server->url().empty()) << server->why();
    relay.emplace(server->url());
  }
  StoreOptions options() {
    StoreOptions options{.path = folder.file("device.db"),
                         .domain = notes::domain(),
                         .actor = {.user_id = "u1", .owner_id = "o1"},
                         .server = relay->url(),
                         .token = [token = make_token("u1", "o1")] { return token; }};
    options.start_online = false;
    return options;
  }
  Store open() { return require(open_store(options()), "opening the store"); }
  ClientCommand command() { return {"notes", folder.file("device.db"), relay->url(), make_token("u1", "o1")}; }

  /// Reads a file that others have open.
  static Texts select(const std::string& file, std::string_view sql) {
    auto connection = require(sqlite::Connection::open(file, {.read_only = true}), "opening a file to read");
    return select_text(*connection, sql);
  }
  /// As another program.
  void write_on_server(const std::string& sql) const {
    auto connection = require(sqlite::Connection::open(folder.file("server.db"), {}), "opening the server's file");
    require(connection->execute(sql), "writing as another program");
  }
  Texts on_device(std::string_view sql) const { return select(folder.file("device.db"), sql); }
  Texts on_server(std::string_view sql) const { return select(folder.file("server.db"), sql); }
  void expect_equal() const {
    constexpr const char* kAll = "SELECT id, owner_id, body FROM notes ORDER BY id";
    EXPECT_EQ(on_device(kAll), on_server(kAll));
  }

  static std::string cursor_of(const std::string& pull) {
    const auto parsed = require(parse_json(pull), "reading a pull");
    return std::string(string_member(parsed, "cursor").value_or(""));
  }
  /// Ids of notes that the answered pulls brought, in order.
  Texts ids_sent() const {
    Texts ids;
    for (const FaultProxy::Exchange& exchange : relay->pulls()) {
      const auto page = require(parse_json(exchange.answer), "reading a page");
      for (const json::value& changed : member(page, "changed")->get_array())
        for (const json::value& row : member(changed, "rows")->get_array())
          ids.emplace_back(string_member(row, "id").value_or(""));
    }
    return ids;
  }
};

/// A sync that runs while the test looks.
class Syncing {
 public:
  Syncing(Store& store, FaultProxy& relay) : relay_(relay), thread_([this, &store] { report_ = store.sync_now(); }) {}
  SyncReport finish() {
    thread_.join();
    return require(std::move(*report_), "syncing");
  }
  /// A test that gives up in the middle holds nothing.
  ~Syncing() {
    if (!thread_.joinable()) return;
    relay_.let_go();
    thread_.join();
  }

 private:
  FaultProxy& relay_;
  std::optional<Result<SyncReport>> report_;
  std::thread thread_;
};

TEST_F(FirstSync, ADeviceKilledInTheMiddleGoesOnAfterTheLastPageThatItHas) {
  serve(20'000);
  const ClientCommand device = command();
  relay->hold_after_pulls(8);
  auto first = start_nizhal(device.arguments({"sync"}));
  ASSERT_TRUE(relay->wait_until_held(kPatience)) << first->err();
  const std::string next = relay->held_request();
  first->signal(SIGKILL);
  ASSERT_TRUE(first->wait(kPatience));
  relay->drop_held();
  EXPECT_EQ(on_device(kCount), Texts{"8000"});

  // Killed once more, further on.
  relay->hold_after_pulls(5);
  auto second = start_nizhal(device.arguments({"sync"}));
  ASSERT_TRUE(relay->wait_until_held(kPatience)) << second->err();
  second->signal(SIGKILL);
  ASSERT_TRUE(second->wait(kPatience));
  relay->drop_held();
  EXPECT_EQ(on_device(kCount), Texts{"13000"});

  const Finished last = device.run({"sync", "--json"});
  ASSERT_EQ(last.status.code, 0) << last.err;
  const auto pulls = relay->pulls();
  ASSERT_GE(pulls.size(), 20u);
  EXPECT_EQ(cursor_of(pulls[8].request), cursor_of(next)) << "the page that was not answered is the next one asked for";
  std::set<std::string> cursors;
  for (const auto& pull : pulls)
    EXPECT_TRUE(cursors.insert(cursor_of(pull.request)).second) << "a page was asked for twice";
  const Texts ids = ids_sent();
  EXPECT_EQ(ids.size(), 20'000u);
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 20'000u);
  expect_equal();
}

TEST_F(FirstSync, AnEmptyStoreIsUsableFromTheFirstPageWithProgress) {
  serve(5'000);
  Store store = open();
  std::atomic<std::uint64_t> rows_told{0}, total_told{0};
  const auto observed = store.on_status([&](const StoreStatus& status) {
    if (!status.progress_rows) return;
    rows_told = *status.progress_rows;
    total_told = *status.progress_total;
  });
  relay->hold_after_pulls(2);
  Syncing syncing(store, *relay);
  ASSERT_TRUE(relay->wait_until_held(kPatience));

  EXPECT_EQ(require(store.query(from(notes::notes)), "reading").size(), 2'000u);
  ASSERT_TRUE(store.mutate("addNote", notes::AddNote{.id = "mine", .body = "written between two pages"}));
  ASSERT_TRUE(store.mutate("editNote", notes::EditNote{.id = "n000001", .body = "edited between two pages"}));
  EXPECT_EQ(require(store.get(notes::notes, std::string("mine")), "reading")->body, "written between two pages");
  const StoreStatus status = store.status();
  EXPECT_TRUE(status.syncing);
  EXPECT_EQ(status.progress_rows, 2'000u);
  EXPECT_EQ(status.progress_total, 5'000u);
  EXPECT_EQ(status.pending, 2u);

  relay->let_go();
  syncing.finish();
  store.sync_now().value();
  EXPECT_EQ(store.status().progress_rows, std::nullopt);
  EXPECT_EQ(store.status().pending, 0u);
  EXPECT_GE(rows_told, 2'000u);
  EXPECT_EQ(total_told, 5'000u);
  EXPECT_EQ(on_server(kCount), Texts{"5001"});
  EXPECT_EQ(on_server("SELECT body FROM notes WHERE id = 'n000001'"), Texts{"edited between two pages"});
  expect_equal();
}

TEST_F(FirstSync, ALaterGainIsSeenWholeOrNotAtAllAlsoByAnotherProcessAndOverAKill) {
  serve(1);
  write_on_server(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) "
      "INSERT INTO team_notes(id, team_id, body) SELECT printf('t%06d', i), 'red', 'b' FROM n");
  const ClientCommand device = command();
  ASSERT_EQ(device.run({"sync"}).status.code, 0);
  write_on_server("INSERT INTO team_members(id, user_id, team_id) VALUES('m1', 'u1', 'red')");
  constexpr const char* kTeam = "SELECT count(*) FROM team_notes";
  std::set<std::string> seen;
  std::mutex mutex;
  relay->on_answer([&](const FaultProxy::Exchange&) {
    const std::lock_guard lock(mutex);
    for (const std::string& count : on_device(kTeam)) seen.insert(count);
  });
  relay->forget();
  relay->hold_after_pulls(2);
  auto killed = start_nizhal(device.arguments({"sync"}));
  ASSERT_TRUE(relay->wait_until_held(kPatience)) << killed->err();
  killed->signal(SIGKILL);
  ASSERT_TRUE(killed->wait(kPatience));
  relay->drop_held();
  EXPECT_EQ(on_device(kTeam), Texts{"0"});
  EXPECT_EQ(on_device("SELECT count(*) FROM nizhal_staged"), Texts{"2"});

  ASSERT_EQ(device.run({"sync"}).status.code, 0);
  EXPECT_EQ(on_device(kTeam), Texts{"4000"});
  EXPECT_EQ(on_device("SELECT count(*) FROM nizhal_staged"), Texts{"0"});
  EXPECT_EQ(seen, std::set<std::string>{"0"}) << "part of a gained bucket was seen";
  const Texts ids = ids_sent();
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), ids.size()) << "a page was asked for twice";
}

TEST_F(FirstSync, AResetShowsTheOldRowsUntilTheFreshSyncIsComplete) {
  serve(3'000);
  {
    Store store = open();
    require(store.sync_now(), "the first sync");
  }
  write_on_server(
      "DELETE FROM notes WHERE id > 'n001000'; "
      "INSERT INTO notes(id, owner_id, body) SELECT 'x' || id, 'o1', body FROM notes");
  ASSERT_EQ(nizhal({"epoch", "--db", "sqlite:" + folder.file("server.db"), "--rotate"}).status.code, 0);

  relay->hold_after_pulls(2);
  {
    Store store = open();
    ASSERT_TRUE(store.mutate("addNote", notes::AddNote{.id = "mine", .body = "pending"}));
    Syncing syncing(store, *relay);
    ASSERT_TRUE(relay->wait_until_held(kPatience));
    EXPECT_EQ(on_device(kCount), Texts{"3001"});
    EXPECT_TRUE(require(store.get(notes::notes, std::string("n002500")), "reading").has_value());
    EXPECT_TRUE(require(store.get(notes::notes, std::string("mine")), "reading").has_value());
    relay->let_go();
    syncing.finish();
  }
  EXPECT_EQ(on_device(kCount), Texts{"2001"});
  expect_equal();
}

}  // namespace
}  // namespace nizhal::testing
