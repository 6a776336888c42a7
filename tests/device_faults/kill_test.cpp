// kill -9 at every commit of a device: a child process runs a script of more than 200 mutations against a real server
// and is killed in the middle of a commit's last write, or right after it, at the first commit of a step, then the
// second, until the step is done; the next child goes on from there (S1, S2, S4, S5). Nothing that was acknowledged is
// lost, nothing is done twice, and each child finds a whole and consistent file.
//
// NIZHAL_FAULTS=all kills twice at every commit, in it and after it.
#include <gtest/gtest.h>
#include <signal.h>

#include <fmt/format.h>
#include <cstdlib>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <nizhal/server.hpp>

#include "../../examples/notes/notes.hpp"
#include "base/json.hpp"
#include "base/test_temp_dir.hpp"
#include "process/child_process.hpp"
#include "server/authenticator.hpp"
#include "sqlite/connection.hpp"
#include "tests/device_faults/device_script.hpp"
#include "tests/support/process.hpp"
#include "tests/support/select_text.hpp"

namespace nizhal::testing {
namespace {

/// A server in this process, on a free port of the loopback.
class LoopbackServer {
 public:
  explicit LoopbackServer(const std::string& file)
      : server_({.domain = notes::domain(),
                 .storage = sqlite_storage(file),
                 .auth = bearer_token_auth({.secret = std::string(kTestSecret)}),
                 .pull_limit_default = 5,
                 .pull_limit_max = 5}) {
    std::promise<std::uint16_t> ready;
    auto port = ready.get_future();
    thread_ = std::thread([this, ready = std::move(ready)]() mutable {
      server_.listen({.port = 0, .on_ready = [&](std::uint16_t at) { ready.set_value(at); }, .handle_signals = false});
    });
    url_ = fmt::format("http://127.0.0.1:{}", port.get());
  }
  ~LoopbackServer() {
    server_.stop();
    thread_.join();
  }
  const std::string& url() const { return url_; }

 private:
  Server server_;
  std::thread thread_;
  std::string url_;
};

std::string token() { return server::make_jwt(kTestSecret, R"({"userId":"u1","ownerId":"o1","exp":4102444800})"); }

/// What the children told, and what they did of it.
struct Told {
  std::set<std::string> acknowledged, given_up;
  std::size_t at = 0;
  bool ended = false;
  std::string wrong;
};

/// As another program: rows that the device edits too, and new ones.
void write_as_others(const std::string& file, std::size_t step) {
  auto opened = sqlite::Connection::open(file, {.create = false});
  ASSERT_TRUE(opened) << opened.error().message;
  for (int i = 0; i < 7; ++i) {
    const auto done = (*opened)->execute(fmt::format(
        "INSERT INTO notes(id, owner_id, body) VALUES('others-{}', 'o1', 'at {}') ON CONFLICT(id) DO UPDATE SET "
        "body = excluded.body",
        i, step));
    ASSERT_TRUE(done) << done.error().message;
  }
}

TEST(KillAtEveryCommit, LosesNothingAcknowledgedAndDoublesNothing) {
  const char* wanted = std::getenv("NIZHAL_FAULTS");
  const bool all = wanted && std::string_view(wanted) == "all";
  ASSERT_GE(script_mutations(), 200U);
  const TempDir folder;
  const std::string store = folder.file("device.db"), database = folder.file("server.db");
  LoopbackServer server(database);
  Told told;
  std::size_t step = 0, kills = 0, syncs_killed = 0;
  std::uint64_t nth = 1;
  bool after = false, tried_both = false;

  for (int children = 0; !told.ended && children < 5'000; ++children) {
    auto spawned = process::ChildProcess::spawn({"/proc/self/exe", "--device", store, server.url(), token(),
                                                 std::to_string(step), std::to_string(nth), after ? "after" : "in"});
    ASSERT_TRUE(spawned) << spawned.error().message;
    process::ChildProcess& child = **spawned;
    while (const auto line = child.next_line(kPatience)) {
      const std::string_view text = *line;
      const auto rest = [&](std::string_view begin) { return std::string(text.substr(begin.size())); };
      if (text.starts_with("at ")) told.at = static_cast<std::size_t>(std::atoll(rest("at ").c_str()));
      if (text.starts_with("told ")) told.acknowledged.insert(rest("told "));
      if (text.starts_with("giving up ")) told.given_up.insert(rest("giving up "));
      if (text.starts_with("wrong ")) told.wrong = rest("wrong ");
      if (text == "end") told.ended = true;
      if (text.starts_with("others ")) {
        write_as_others(database, told.at);
        if (HasFatalFailure()) return;
        ASSERT_TRUE(child.write("written\n"));
      }
    }
    const auto end = child.wait(kPatience);
    ASSERT_TRUE(end) << "a child does not end";
    ASSERT_EQ(told.wrong, "") << "in step " << told.at << " of a child that began at " << step << "; " << child.err();
    if (end->signal != SIGKILL) {
      ASSERT_EQ(end->code, 0) << child.err();
      continue;
    }
    ++kills;
    if (device_script()[told.at].kind == ScriptStep::Kind::sync) ++syncs_killed;
    // Killed in a later step than it began with: at that step's first commit, in the way that goes with the step.
    if (told.at != step) {
      step = told.at;
      nth = 1;
      after = step % 2 == 1;
      tried_both = false;
    }
    const bool wants_both = all || device_script()[step].kind != ScriptStep::Kind::mutate;
    if (wants_both && !tried_both) {
      after = !after;
      tried_both = true;
    } else {
      ++nth;
      tried_both = false;
    }
  }
  ASSERT_TRUE(told.ended) << "the script does not come to its end";

  // What the server has is what the device shows.
  const auto select = [](const std::string& file, std::string_view sql) {
    auto opened = sqlite::Connection::open(file, {.read_only = true});
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? select_text(**opened, sql) : std::vector<std::string>();
  };
  constexpr std::string_view kNotes = "SELECT id, body FROM notes ORDER BY id";
  const auto on_server = select(database, kNotes);
  EXPECT_EQ(select(store, kNotes), on_server);
  EXPECT_GE(on_server.size(), 100U);
  EXPECT_EQ(select(store, "SELECT count(*) FROM nizhal_outbox"), std::vector<std::string>{"0"});

  // Nothing was done twice, and each mutation that was acknowledged was done, or refused and told.
  EXPECT_EQ(
      select(database, "SELECT client_mutation_id FROM nizhal_audit GROUP BY client_mutation_id HAVING count(*) > 1"),
      std::vector<std::string>());
  const auto applied_list = select(database, "SELECT client_mutation_id FROM nizhal_audit WHERE outcome = 'applied'");
  const std::set<std::string> applied(applied_list.begin(), applied_list.end());
  const auto dead_list = select(store, "SELECT client_mutation_id FROM nizhal_dead_letter");
  const std::set<std::string> dead(dead_list.begin(), dead_list.end());
  for (const std::string& id : told.acknowledged) {
    EXPECT_TRUE(applied.contains(id) || dead.contains(id) || told.given_up.contains(id))
        << id << " was acknowledged and is lost";
    EXPECT_FALSE(applied.contains(id) && dead.contains(id)) << id << " was applied and is a dead letter";
  }
  std::cout << "killed at " << kills << " commits of " << device_script().size() << " steps with " << script_mutations()
            << " mutations (" << syncs_killed << " of them in a sync); " << told.acknowledged.size()
            << " mutations were acknowledged, none is lost, none was done twice\n";
  EXPECT_GE(kills, 300U);
}

}  // namespace
}  // namespace nizhal::testing
