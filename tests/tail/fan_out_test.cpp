// What the database is asked when many devices pull at once: as much as for one. How often storage is called is counted
// here; on PostgreSQL the server itself counts the statements, too.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/test_world.hpp"
#include "storage/postgres/postgres_storage.hpp"
#include "tests/backends/backend.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::server::testing {
namespace {

using nizhal::testing::BackendKind;
using nizhal::testing::PostgresServer;

/// A database that can say how many queries it was asked; not counted is what begins and ends a transaction.
class CountedDatabase {
 public:
  virtual ~CountedDatabase() = default;
  virtual std::unique_ptr<FaultyStorage> open(std::shared_ptr<const CompiledDomain> domain) = 0;
  virtual void begin_counting() = 0;
  virtual std::size_t queries() = 0;
  virtual std::string told() { return ""; }
};

std::size_t calls(const FaultyStorage& storage) {
  return storage.positions + storage.snapshots + storage.changes + storage.marks + storage.writes;
}

class CountedSqlite : public CountedDatabase {
 public:
  std::unique_ptr<FaultyStorage> open(std::shared_ptr<const CompiledDomain> domain) override {
    auto storage = std::make_unique<FaultyStorage>(backend_->open(std::move(domain)));
    storage_ = storage.get();
    return storage;
  }
  void begin_counting() override { before_ = calls(*storage_); }
  std::size_t queries() override { return calls(*storage_) - before_; }

 private:
  std::unique_ptr<nizhal::testing::Backend> backend_ = nizhal::testing::make_sqlite_backend();
  FaultyStorage* storage_ = nullptr;
  std::size_t before_ = 0;
};

class CountedPostgres : public CountedDatabase {
 public:
  std::unique_ptr<FaultyStorage> open(std::shared_ptr<const CompiledDomain> domain) override {
    server_.sql("postgres", "CREATE DATABASE counted");
    server_.sql("counted", "CREATE EXTENSION pg_stat_statements");
    storage::PostgresStorageOptions options;
    options.url = server_.url("counted");
    auto opened = storage::open_postgres_storage(std::move(options), std::move(domain), system_random(), Log());
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    return std::make_unique<FaultyStorage>(*std::move(opened));
  }
  void begin_counting() override { server_.sql("counted", "SELECT pg_stat_statements_reset()"); }
  std::size_t queries() override {
    return static_cast<std::size_t>(std::stoul(server_.value("counted", "SELECT coalesce(sum(calls), 0)" + from())));
  }
  std::string told() override {
    return server_.value("counted", "SELECT string_agg(calls || ' x ' || left(query, 60), E'\\n')" + from());
  }

 private:
  static std::string from() {
    return " FROM pg_stat_statements WHERE toplevel AND query !~* '^(begin|commit|rollback|set|discard|deallocate)' "
           "AND "
           "query !~ '^SELECT set_config|pg_stat_statements'";  // of those who count
  }
  PostgresServer server_{{.settings = {{"shared_preload_libraries", "pg_stat_statements"}}}};
};

class CountingPeer : public StreamPeer {
 public:
  explicit CountingPeer(std::size_t& pokes) : pokes_(pokes) {}
  void send(std::string frame) override { pokes_ += frame.starts_with("repull:") ? 1 : 0; }
  void close(int, std::string_view) override {}

 private:
  std::size_t& pokes_;
};

class FanOut : public ::testing::TestWithParam<BackendKind> {
 protected:
  void SetUp() override {
    if (GetParam() == BackendKind::sqlite)
      database = std::make_unique<CountedSqlite>();
    else
      database = std::make_unique<CountedPostgres>();
    storage = database->open(domain);
    ASSERT_TRUE(storage->provision());
    server = std::make_unique<ServerSync>(
        domain, ServerOutside{clock, random, executor, *storage, authenticator, Log(), nullptr, &timers}, Limits{});
  }
  void TearDown() override { server.reset(); }

  std::string token(std::string_view user) const {
    return token_for(user, "o-" + std::string(user), Timestamp{kStart.microseconds + 3'600'000'000});
  }
  protocol::HttpRequest request(std::string_view user, std::string_view path, std::string body) {
    protocol::HttpRequest http;
    http.method = "POST";
    http.path = std::string(path);
    http.headers["authorization"] = "Bearer " + token(user);
    http.body = std::move(body);
    return http;
  }
  protocol::HttpRequest pull_of(std::string_view user, std::string_view device, std::string_view cursor) {
    return request(user, "/sync/pull",
                   fmt::format(R"({{"limit":5000,"deviceId":"{}","cursor":"{}"}})", device, cursor));
  }
  static std::string cursor_in(const std::string& body) {
    const auto value = parse_json(body);
    return value ? std::string(string_member(*value, "cursor").value_or("")) : "";
  }
  void push(std::string_view user, const Sent& sent) {
    const auto response = server->handle(request(user, "/sync/push", World::push_body({sent}, true)));
    EXPECT_NE(response.body.find(R"("status":"applied")"), std::string::npos) << response.body;
  }
  /// All at once. How many were answered without going the usual way; the answers are in `bodies`.
  std::size_t pull_together(const std::vector<protocol::HttpRequest>& requests) {
    std::size_t answered = 0;
    bodies.assign(requests.size(), "");
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const bool waits = server->try_defer(requests[i], [&, i](std::optional<protocol::HttpResponse> response) {
        if (!response) return;
        ++answered;
        bodies[i] = response->body;
      });
      EXPECT_TRUE(waits);
    }
    executor.run();
    return answered;
  }

  std::shared_ptr<const CompiledDomain> domain = compiled(test_domain());
  ManualClock clock{kStart};
  ManualTimers timers{clock};
  SeededRandom random{7};
  QueueExecutor executor;
  JwtAuthenticator authenticator{kSecret};
  std::unique_ptr<CountedDatabase> database;
  std::unique_ptr<FaultyStorage> storage;
  std::unique_ptr<ServerSync> server;
  std::vector<std::string> bodies;
};
INSTANTIATE_TEST_SUITE_P(On, FanOut, nizhal::testing::every_backend(), nizhal::testing::kind_name);

constexpr std::size_t kSubscribers = 1'000;

/// All of one bucket, each with a stream of its own.
class ThousandSubscribers : public FanOut {
 protected:
  void SetUp() override {
    FanOut::SetUp();
    push("writer", {.name = "createTeam", .cmid = "m0", .id = "x", .place = "a"});
    std::string members = "INSERT INTO members (id, user_id, team_id) VALUES ";
    for (std::size_t i = 0; i < kSubscribers; ++i)
      members += fmt::format("{}('m{}', 'v{}', 'a')", i == 0 ? "" : ", ", i, i);
    ASSERT_TRUE(storage->run_script(members));
    for (std::size_t i = 0; i < kSubscribers; ++i) {
      const std::string user = fmt::format("v{}", i);
      cursors.push_back(cursor_in(server->handle(pull_of(user, "d-" + user, "")).body));
      protocol::HttpRequest stream;
      stream.path = "/sync/stream";
      stream.headers["authorization"] = "Bearer " + token(user);
      auto ticket = server->authorize_stream(stream);
      ASSERT_TRUE(ticket);
      server->open_stream(*ticket, std::make_shared<CountingPeer>(pokes));
    }
    server->tick();
    executor.run();
  }
  void commit(int number) {
    last = fmt::format("doc-{}", number);
    push("writer", {.name = "addDoc", .cmid = fmt::format("m{}", number + 1), .id = last, .place = "a"});
    calls_before = calls(*storage);
    pokes = 0;
    executor.run();
    EXPECT_EQ(pokes, kSubscribers);
    database->begin_counting();
  }
  protocol::HttpRequest pull_after_poke(std::size_t subscriber) {
    return pull_of(fmt::format("v{}", subscriber), fmt::format("d-v{}", subscriber), cursors[subscriber]);
  }
  /// One after another, each with all that the server can do before the next one comes.
  void pull_one_by_one(std::vector<std::size_t> subscribers) {
    bodies.assign(kSubscribers, "");
    for (const std::size_t i : subscribers) {
      EXPECT_TRUE(server->try_defer(pull_after_poke(i), [this, i](std::optional<protocol::HttpResponse> response) {
        ASSERT_TRUE(response) << i;
        bodies[i] = response->body;
        cursors[i] = cursor_in(response->body);
      }));
      timers.advance(std::chrono::microseconds(100));
      executor.run();
    }
  }
  std::size_t told() const {
    std::size_t count = 0;
    for (const std::string& body : bodies) count += body.find('"' + last + '"') != std::string::npos ? 1 : 0;
    return count;
  }
  void expect_three_queries() {
    EXPECT_LE(calls(*storage) - calls_before, 3U) << "a look of the poker, one at the position, a refresh";
    EXPECT_LE(database->queries(), 2U) << "for the pulls: " << database->told();
  }

  std::vector<std::string> cursors;
  std::size_t pokes = 0, calls_before = 0;
  std::string last;
};
INSTANTIATE_TEST_SUITE_P(On, ThousandSubscribers, nizhal::testing::every_backend(), nizhal::testing::kind_name);

TEST_P(ThousandSubscribers, PullAfterOneCommitWithThreeQueriesHoweverTheyCome) {
  // At once.
  commit(0);
  std::vector<protocol::HttpRequest> requests;
  for (std::size_t i = 0; i < kSubscribers; ++i) requests.push_back(pull_after_poke(i));
  EXPECT_EQ(pull_together(requests), kSubscribers);
  EXPECT_EQ(told(), kSubscribers);
  expect_three_queries();
  for (std::size_t i = 0; i < kSubscribers; ++i) cursors[i] = cursor_in(bodies[i]);

  // One by one.
  std::vector<std::size_t> order(kSubscribers);
  std::iota(order.begin(), order.end(), 0U);
  for (int number = 1; number < 3; ++number) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    commit(number);
    pull_one_by_one(order);
    EXPECT_EQ(told(), kSubscribers) << "with the last one's pull all are answered";
    expect_three_queries();
  }

  // Some never.
  commit(3);
  order.resize(kSubscribers - kSubscribers / 20);
  pull_one_by_one(order);
  EXPECT_EQ(told(), 0U);
  timers.advance(Limits{}.gather_quiet);
  executor.run();
  EXPECT_EQ(told(), order.size());
  expect_three_queries();
}

TEST_P(FanOut, TenThousandIdleDevicesCostOneQuery) {
  constexpr std::size_t kDevices = 10'000;
  push("writer", {.name = "addNote", .cmid = "m0", .id = "n"});
  const std::string cursor = cursor_in(server->handle(pull_of("writer", "d", "")).body);
  std::vector<protocol::HttpRequest> requests;
  for (std::size_t i = 0; i < kDevices; ++i) requests.push_back(pull_of("writer", fmt::format("d{}", i), cursor));
  EXPECT_EQ(pull_together(requests), kDevices) << "not one of them needs a query of its own, even the first time";
  database->begin_counting();
  EXPECT_EQ(pull_together(requests), kDevices);
  EXPECT_EQ(database->queries(), 1U) << database->told();
  for (const std::string& body : bodies) EXPECT_NE(body.find(R"("lastMutationId":0)"), std::string::npos);
}

}  // namespace
}  // namespace nizhal::server::testing
