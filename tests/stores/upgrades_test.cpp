// App upgrades with real processes: the `nizhal` binary with the libraries of two versions of one app, on one store.
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/test_temp_dir.hpp"
#include "tests/support/json_answer.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

void execute(const std::string& path, const std::string& sql) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(database);
  sqlite3_close(database);
}

class AppVersions : public ::testing::Test {
 protected:
  void serve(const std::string& domain) {
    if (server_) server_->terminate();
    server_ = std::make_unique<ServerProcess>(domain, directory_.file("server.db"));
    ASSERT_FALSE(server_->url().empty()) << server_->why();
  }
  ClientCommand device(const std::string& name, const std::string& domain) {
    return {domain, directory_.file(name + ".db"), server_ ? server_->url() : "", token_};
  }
  /// What a command prints.
  static std::string run(const ClientCommand& device, std::vector<std::string> command) {
    command.emplace_back("--json");
    const Finished finished = device.run(command);
    EXPECT_EQ(finished.status.code, 0) << command[0] << ": " << finished.err;
    std::string out = finished.out;
    while (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
  }
  static json::value answer(const ClientCommand& device, std::vector<std::string> command) {
    command.emplace_back("--json");
    return answer_of(device.run(command));
  }
  static void mutate(const ClientCommand& device, const std::string& name, const std::string& args) {
    run(device, {"mutate", name, args});
  }
  static std::string query(const ClientCommand& device, const std::string& sql) { return run(device, {"query", sql}); }
  static std::string tasks(const ClientCommand& device) {
    return query(
        device, "SELECT group_concat(id || ' ' || priority, ', ') AS all_tasks FROM (SELECT * FROM tasks ORDER BY id)");
  }
  static std::string are(const std::string& text) { return R"([{"all_tasks":")" + text + R"("}])"; }

  TempDir directory_;
  std::string token_ = make_token("u1", "o1");
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(AppVersions, PendingMutationsOfTheOldAppArriveFromTheNewOneAndNewColumnsAreFilled) {
  serve("shop_1");
  ClientCommand old_app = device("a", "shop_1");
  mutate(old_app, "addTask", R"({"id":"t1","title":"from before"})");
  run(old_app, {"sync"});
  serve("shop_2");
  // Another device has the new app already.
  ClientCommand other = device("b", "shop_2");
  run(other, {"sync"});
  EXPECT_EQ(tasks(other), are("t1 3"));
  mutate(other, "setPriority", R"({"id":"t1","priority":7})");
  mutate(other, "addLabel", R"({"id":"l1","text":"new"})");
  run(other, {"sync"});
  // The old one reads and writes: the server brings its arguments to today's.
  old_app = device("a", "shop_1");
  mutate(old_app, "addTask", R"({"id":"t2","title":"to the new server"})");
  run(old_app, {"sync"});
  EXPECT_EQ(query(old_app, "SELECT count(*) AS n FROM tasks"), R"([{"n":2}])");
  mutate(old_app, "addTask", R"({"id":"t3","title":"pending over the upgrade"})");
  mutate(old_app, "addTask", R"({"id":"t4","title":"no priority fits this"})");
  mutate(old_app, "addTask", R"({"id":"t5","title":"after it"})");

  ClientCommand new_app = device("a", "shop_2");
  new_app.server.clear();  // remembered
  EXPECT_EQ(tasks(new_app), are("t1 3, t2 3, t3 1, t5 1")) << "the upcast ones ran again, the others wait for the sync";
  const json::value outbox = answer(new_app, {"outbox"});
  EXPECT_EQ(to_text(outbox.at(0).at("args")), R"({"id":"t3","title":"pending over the upgrade","priority":"1"})");
  const json::value letters = answer(new_app, {"dead-letters"});
  ASSERT_EQ(letters.as_array().size(), 1u);
  EXPECT_EQ(letters.at(0).at("code").as_string(), "cannot_upcast");
  EXPECT_EQ(to_text(letters.at(0).at("args")), R"({"id":"t4","title":"no priority fits this"})");
  run(new_app, {"dead-letters", "edit", "1", R"({"id":"t4","title":"it does now","priority":9})"});
  run(new_app, {"sync"});
  EXPECT_EQ(tasks(new_app), are("t1 7, t2 1, t3 1, t4 9, t5 1"));
  EXPECT_EQ(query(new_app, "SELECT text FROM labels"), R"([{"text":"new"}])");
  run(other, {"sync"});
  EXPECT_EQ(tasks(other), tasks(new_app));
}

TEST_F(AppVersions, AnOlderAppOpensTheNewerAppsStoreAndSendsWhatItLeft) {
  serve("shop_2");
  ClientCommand new_app = device("a", "shop_2");
  mutate(new_app, "addTask", R"({"id":"t1","title":"synced","priority":8})");
  mutate(new_app, "addLabel", R"({"id":"l1","text":"kept"})");
  run(new_app, {"sync"});
  mutate(new_app, "addTask", R"({"id":"t2","title":"pending","priority":9})");
  mutate(new_app, "addLabel", R"({"id":"l2","text":"pending"})");
  ClientCommand old_app = device("a", "shop_1");
  mutate(old_app, "addTask", R"({"id":"t3","title":"by the old app"})");
  const json::value outbox = answer(old_app, {"outbox"});
  ASSERT_EQ(outbox.as_array().size(), 3u);
  EXPECT_EQ(to_text(outbox.at(0).at("args")), R"({"id":"t2","title":"pending","priority":"9"})");
  run(old_app, {"sync"});
  EXPECT_EQ(query(old_app, "SELECT count(*) AS n FROM tasks"), R"([{"n":3}])");
  EXPECT_EQ(run(old_app, {"outbox"}), "[]");
  EXPECT_EQ(run(old_app, {"dead-letters"}), "[]");
  run(new_app, {"sync"});
  EXPECT_EQ(tasks(new_app), are("t1 8, t2 9, t3 1"));
  EXPECT_EQ(query(new_app, "SELECT group_concat(id) AS ids FROM (SELECT id FROM labels ORDER BY id)"),
            R"([{"ids":"l1,l2"}])");
}

TEST_F(AppVersions, AnUpgradeThatRebuildsATableWaitsUntilNoOtherProcessHasTheFile) {
  const ClientCommand old_app = device("a", "shop_2"), new_app = device("a", "shop_3");
  mutate(old_app, "addTask", R"({"id":"t1","title":"first","priority":8})");
  constexpr const char* kTypes = "SELECT group_concat(typeof(priority)) AS types FROM tasks";
  const auto watch = start_nizhal(old_app.arguments({"--json", "watch", "SELECT count(*) AS n FROM tasks"}));
  ASSERT_EQ(watch->next_line(kPatience), R"({"rows":[{"n":1}]})") << watch->err();

  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"status"}, {"query", kTypes}, {"mutate", "addTask", R"({"id":"t2","title":"new","priority":"low"})"}}) {
    const Finished refused = new_app.run(command);
    EXPECT_EQ(refused.status.code, 4) << command[0] << ": " << refused.err;
    EXPECT_EQ(refused.out, "") << command[0];
    EXPECT_NE(refused.err.find(R"(table "tasks": column "priority" changed from bigint to text)"), std::string::npos)
        << refused.err;
    EXPECT_NE(refused.err.find("the file is open elsewhere, in another process or in this one: close it there, then "
                               "open it again. Nothing was changed"),
              std::string::npos)
        << refused.err;
  }
  // The old app goes on as if nothing had been tried, in the process that runs and in others.
  mutate(old_app, "addTask", R"({"id":"t2","title":"second","priority":2})");
  EXPECT_EQ(watch->next_line(kPatience), R"({"changes":[{"step":"updated","index":0,"row":{"n":2}}]})") << watch->err();
  EXPECT_EQ(query(old_app, kTypes), R"([{"types":"integer,integer"}])");

  // However it ended.
  watch->signal(SIGKILL);
  ASSERT_TRUE(watch->wait(kPatience));
  EXPECT_EQ(query(new_app, kTypes), R"([{"types":"text,text"}])");
  EXPECT_EQ(tasks(new_app), are("t1 high, t2 low")) << "what was pending ran again as the new app says it";
}

TEST_F(AppVersions, TheOutboxSaysWhatDependsOnWhat) {
  const ClientCommand phone = device("a", "shop_3");
  const json::value task = answer(phone, {"mutate", "addTask", R"({"id":"t1","title":"first","priority":"low"})"});
  mutate(phone, "setPriority", R"({"id":"t1","priority":"high"})");
  mutate(phone, "addTask", R"({"id":"t2","title":"second","priority":"low"})");
  const json::value outbox = answer(phone, {"outbox"});
  ASSERT_EQ(outbox.as_array().size(), 3u);
  const auto told = [&](std::size_t entry) {
    return to_text(outbox.at(entry).at("dependsOn")) + " " + to_text(outbox.at(entry).at("dependencyKey"));
  };
  EXPECT_EQ(told(0), R"([] "task:t1")");
  EXPECT_EQ(told(1), "[" + to_text(task.at("clientMutationId")) + "] null");
  EXPECT_EQ(told(2), R"([] "task:t2")");
}

TEST_F(AppVersions, AStoreOfTheFirstFormatIsOpenedByTwoProcessesAtOnce) {
  const ClientCommand first = device("first", "shop_1");
  mutate(first, "addTask", R"({"id":"t1","title":"kept"})");
  // As the first release left it.
  execute(first.store, R"(
    DROP INDEX nizhal_outbox_key; DROP INDEX nizhal_outbox_awaiting; DROP TABLE nizhal_inverse; DROP TABLE nizhal_subscription;
    ALTER TABLE nizhal_outbox DROP COLUMN dependency_key; ALTER TABLE nizhal_outbox DROP COLUMN awaits_server;
    ALTER TABLE nizhal_outbox DROP COLUMN send_before; DROP TABLE nizhal_settled;
    ALTER TABLE nizhal_dead_letter DROP COLUMN dependency_key; ALTER TABLE nizhal_dead_letter DROP COLUMN chain;
    UPDATE nizhal_meta SET value = '1' WHERE key = 'format'; PRAGMA wal_checkpoint(TRUNCATE))");
  for (int round = 0; round < 5; ++round) {
    ClientCommand copy = first;
    copy.store = directory_.file("copy" + std::to_string(round) + ".db");
    std::filesystem::copy_file(first.store, copy.store);
    std::vector<std::unique_ptr<ChildProcess>> both;
    for (int i = 0; i < 2; ++i)
      both.push_back(
          start_nizhal(copy.arguments({"mutate", "addTask", R"({"id":"p)" + std::to_string(i) + R"(","title":"x"})"})));
    for (auto& process : both) {
      const auto status = process->wait(kPatience);
      ASSERT_TRUE(status);
      EXPECT_EQ(status->code, 0);
    }
    EXPECT_EQ(query(copy, "SELECT count(*) AS n FROM tasks"), R"([{"n":3}])");
    EXPECT_EQ(query(copy, "SELECT value FROM nizhal_meta WHERE key = 'format'"), R"([{"value":"3"}])");
  }
}

}  // namespace
}  // namespace nizhal::testing
