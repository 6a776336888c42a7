// What the database is asked when many devices pull at once: as much as for one. How often storage is called is counted
// here; on PostgreSQL the server itself counts the statements, too.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <memory>
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
        domain, ServerOutside{clock, random, executor, *storage, authenticator, Log()}, Limits{});
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
  SeededRandom random{7};
  QueueExecutor executor;
  JwtAuthenticator authenticator{kSecret};
  std::unique_ptr<CountedDatabase> database;
  std::unique_ptr<FaultyStorage> storage;
  std::unique_ptr<ServerSync> server;
  std::vector<std::string> bodies;
};
INSTANTIATE_TEST_SUITE_P(On, FanOut, nizhal::testing::every_backend(), nizhal::testing::kind_name);

TEST_P(FanOut, AThousandSubscribersPullAfterOneCommitWithThreeQueries) {
  constexpr std::size_t kSubscribers = 1'000;
  push("writer", {.name = "createTeam", .cmid = "m0", .id = "x", .place = "a"});
  std::string members = "INSERT INTO members (id, user_id, team_id) VALUES ";
  for (std::size_t i = 0; i < kSubscribers; ++i)
    members += fmt::format("{}('m{}', 'v{}', 'a')", i == 0 ? "" : ", ", i, i);
  ASSERT_TRUE(storage->run_script(members));
  std::vector<std::string> cursors;
  std::size_t pokes = 0;
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

  for (int commit = 0; commit < 3; ++commit) {
    push("writer",
         {.name = "addDoc", .cmid = fmt::format("m{}", commit + 1), .id = fmt::format("doc-{}", commit), .place = "a"});
    const std::size_t before = calls(*storage);
    pokes = 0;
    executor.run();
    EXPECT_EQ(pokes, kSubscribers);
    database->begin_counting();
    std::vector<protocol::HttpRequest> requests;
    for (std::size_t i = 0; i < kSubscribers; ++i)
      requests.push_back(pull_of(fmt::format("v{}", i), fmt::format("d-v{}", i), cursors[i]));
    EXPECT_EQ(pull_together(requests), kSubscribers);
    EXPECT_LE(calls(*storage) - before, 3U) << "a look of the poker, one at the position, a refresh";
    EXPECT_LE(database->queries(), 2U) << "for the pulls: " << database->told();
    for (std::size_t i = 0; i < kSubscribers; ++i) {
      EXPECT_NE(bodies[i].find(fmt::format("doc-{}", commit)), std::string::npos) << bodies[i];
      cursors[i] = cursor_in(bodies[i]);
    }
  }
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
