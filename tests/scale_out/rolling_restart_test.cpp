// Several instances on one PostgreSQL behind a plain TCP balancer: one is killed under load, then all are restarted one
// after the other. No mutation is lost or doubled, and nobody who uses a device sees an error.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <nizhal/store.hpp>

#include "../../examples/notes/notes.hpp"
#include "base/test_temp_dir.hpp"
#include "postgres/url.hpp"
#include "server/authenticator.hpp"
#include "tests/postgres_server/postgres_server.hpp"
#include "tests/support/balancer.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

constexpr std::size_t kDevices = 6;
constexpr std::size_t kStep = 40;  // confirmed mutations, of all devices together, between two events

/// What the devices' users were told.
class Told {
 public:
  void applied(std::string id) {
    const std::lock_guard lock(mutex_);
    ids_.insert(std::move(id));
    changed_.notify_all();
  }
  void failed(std::string why) {
    const std::lock_guard lock(mutex_);
    failures_.push_back(std::move(why));
    changed_.notify_all();
  }
  /// Until `count` more are applied than now. False: something failed, or nothing moves any more.
  bool wait_for_more(std::size_t count) {
    std::unique_lock lock(mutex_);
    const std::size_t wanted = ids_.size() + count;
    return changed_.wait_for(lock, kPatience, [&] { return ids_.size() >= wanted || !failures_.empty(); }) &&
           failures_.empty();
  }
  std::set<std::string> ids() const {
    const std::lock_guard lock(mutex_);
    return ids_;
  }
  std::vector<std::string> failures() const {
    const std::lock_guard lock(mutex_);
    return failures_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> ids_;
  std::vector<std::string> failures_;
};

/// A device whose user adds one note after the other, each as soon as the server has the one before.
class Device {
 public:
  Device(std::size_t number, const std::string& path, const std::string& url, Told& told)
      : number_(number), told_(told) {
    auto opened = open_store(
        {.path = path,
         .domain = notes::domain(),
         .actor = {.user_id = "u1", .owner_id = "o1"},
         .server = url,
         .token = [] { return server::make_jwt(kTestSecret, R"({"userId":"u1","ownerId":"o1","exp":4102444800})"); }});
    if (!opened) {
      told_.failed(opened.error().message);
      return;
    }
    store_.emplace(std::move(*opened));
    user_ = std::thread([this] { use(); });
  }
  ~Device() { stop(); }
  void stop() {
    stopping_ = true;
    if (user_.joinable()) user_.join();
  }
  Store& store() { return *store_; }

 private:
  void use() {
    for (int i = 0; !stopping_; ++i) {
      const std::string id = fmt::format("d{}-{:05}", number_, i);
      const auto ticket = store_->mutate("addNote", notes::AddNote{.id = id, .body = "b"});
      if (!ticket) return told_.failed(fmt::format("{}: {}", id, ticket.error().message));
      const auto outcome = ticket->wait(Tier::on_server, kPatience);
      if (!outcome) return told_.failed(fmt::format("{}: {}", id, outcome.error().message));
      if (!outcome->is_done()) return told_.failed(fmt::format("{}: refused, {}", id, outcome->message));
      told_.applied(id);
    }
  }

  const std::size_t number_;
  Told& told_;
  std::optional<Store> store_;
  std::atomic<bool> stopping_{false};
  std::thread user_;
};

TEST(ScaleOut, OneInstanceIsKilledUnderLoadAndAllAreRestartedAndNobodySeesIt) {
  const std::string url = shared_server().create_database();
  const std::string database = postgres::parse_url(url)->database;
  const std::vector<std::string> realtime{"--realtime", "listen-notify"};
  ServerProcess first("notes", url, realtime), second("notes", url, realtime);
  ASSERT_NE(first.url(), "") << first.why();
  ASSERT_NE(second.url(), "") << second.why();
  Balancer balancer({first.url(), second.url()});

  TempDir folder;
  Told told;
  std::vector<std::unique_ptr<Device>> devices;
  for (std::size_t i = 0; i < kDevices; ++i)
    devices.push_back(std::make_unique<Device>(i, folder.file(fmt::format("{}.db", i)), balancer.url(), told));
  const auto goes_on = [&told](const char* after) {
    EXPECT_TRUE(told.wait_for_more(kStep)) << after << ": " << fmt::format("{}", fmt::join(told.failures(), "; "));
  };
  goes_on("the beginning");
  first.kill();
  goes_on("the first instance was killed");
  EXPECT_TRUE(first.start()) << first.why();
  goes_on("it was started again");
  for (ServerProcess* instance : {&first, &second}) {
    EXPECT_EQ(instance->terminate().code, 0) << instance->why();
    goes_on("an instance was stopped");
    EXPECT_TRUE(instance->start()) << instance->why();
    goes_on("it was started again");
  }
  for (const auto& device : devices) device->stop();
  ASSERT_EQ(told.failures(), std::vector<std::string>());

  const auto on_server = [&database](const std::string& sql) { return shared_server().value(database, sql); };
  const std::string all = fmt::format("{}", fmt::join(told.ids(), ","));
  EXPECT_EQ(on_server("SELECT string_agg(id, ',' ORDER BY id COLLATE \"C\") FROM notes"), all);
  EXPECT_EQ(on_server("SELECT count(*) FROM (SELECT client_mutation_id FROM nizhal.audit WHERE outcome = 'applied' "
                      "GROUP BY client_mutation_id HAVING count(*) > 1) AS doubled"),
            "0");
  EXPECT_EQ(on_server("SELECT count(*) FROM nizhal.audit WHERE outcome = 'applied'"),
            std::to_string(told.ids().size()));
  for (const auto& device : devices) {
    const auto synced = device->store().sync_now(kPatience);
    ASSERT_TRUE(synced) << synced.error().message;
    EXPECT_EQ(synced->pending, 0U);
    EXPECT_EQ(synced->dead_letters, 0U);
    const auto rows = device->store().sql("SELECT group_concat(id, ',') FROM (SELECT id FROM notes ORDER BY id)");
    ASSERT_TRUE(rows) << rows.error().message;
    EXPECT_EQ(std::get<std::string>(rows->rows[0][0]), all);
  }
  for (const std::size_t instance : {0U, 1U}) EXPECT_GT(balancer.taken(instance), 1U);
}

}  // namespace
}  // namespace nizhal::testing
