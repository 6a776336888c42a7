// Two server processes on one PostgreSQL: what is pushed to one pokes who is connected to the other, also while the
// connections by which they hear of each other are cut.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "postgres/url.hpp"
#include "server/authenticator.hpp"
#include "tests/postgres_server/pooler.hpp"
#include "tests/postgres_server/postgres_server.hpp"
#include "tests/support/process.hpp"
#include "tests/support/raw_http.hpp"

namespace nizhal::testing {
namespace {

std::uint16_t port_of(const ServerProcess& server) {
  const std::string& url = server.url();
  return static_cast<std::uint16_t>(std::atoi(url.substr(url.rfind(':') + 1).c_str()));
}

class PokeAcrossInstances : public ::testing::Test {
 protected:
  /// A subscriber of all buckets of its user.
  std::unique_ptr<RawWebSocket> subscribe(const ServerProcess& server) {
    auto socket = std::make_unique<RawWebSocket>(port_of(server), "/sync/stream?token=" + token_);
    EXPECT_EQ(socket->response().status, 101);
    return socket;
  }
  void push(const ServerProcess& server) {
    const std::string id = fmt::format("n{}", ++pushed_);
    const RawResponse response = request(
        port_of(server), "POST", "/sync/push",
        {{"Authorization", "Bearer " + token_}, {"Content-Type", "application/json"}},
        fmt::format(
            R"({{"mutations":[{{"name":"addNote","args":{{"id":"{0}","body":"x"}},"clientMutationId":"{0}"}}]}})", id));
    ASSERT_EQ(response.status, 200) << response.body;
  }
  static std::string next_poke(RawWebSocket& socket) {
    while (const auto frame = socket.read_frame())
      if (frame->payload.starts_with("repull:")) return frame->payload;
    return "none";
  }
  void sql(const std::string& script) { shared_server().sql(postgres::parse_url(url_)->database, script); }

  const std::string url_ = shared_server().create_database();
  const std::string token_ = server::make_jwt(kTestSecret, R"({"userId":"u1","ownerId":"o1","exp":4102444800})");
  int pushed_ = 0;
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_F(PokeAcrossInstances, APushOnOneInstancePokesASubscriberOfTheOther) {
  ServerProcess a("notes", url_, {"--realtime", "listen-notify"});
  ASSERT_FALSE(a.url().empty()) << a.why();
  ServerProcess b("notes", url_, {"--realtime", "listen-notify"});
  ASSERT_FALSE(b.url().empty()) << b.why();
  EXPECT_TRUE(a.says("LISTEN/NOTIFY")) << a.why();
  const auto on_a = subscribe(a), on_b = subscribe(b);
  for (int round = 0; round < 20; ++round) {
    push(round % 2 == 0 ? a : b);
    EXPECT_EQ(next_poke(*on_a), "repull:o1");
    EXPECT_EQ(next_poke(*on_b), "repull:o1");
  }
  EXPECT_EQ(a.terminate(), (ExitStatus{0, 0}));
  EXPECT_EQ(b.terminate(), (ExitStatus{0, 0}));
  EXPECT_FALSE(has(a.why() + b.why(), "warning")) << "they hear each other: " << a.why() << b.why();
}

TEST_F(PokeAcrossInstances, WhileTheConnectionsBetweenThemAreCutEveryCommitIsStillToldOf) {
  ServerProcess a("notes", url_, {"--realtime", "listen-notify"}), b("notes", url_, {"--realtime", "listen-notify"});
  ASSERT_FALSE(a.url().empty()) << a.why();
  ASSERT_FALSE(b.url().empty()) << b.why();
  const auto on_b = subscribe(b);
  for (int round = 0; round < 10; ++round) {
    // Some are cut before, some while the commit is told.
    std::thread cutter([&] {
      sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
          "pg_backend_pid() AND (query LIKE 'LISTEN%' OR query LIKE '%pg_advisory_lock_shared%' OR query LIKE "
          "'%pg_notify%')");
    });
    push(a);
    cutter.join();
    EXPECT_EQ(next_poke(*on_b), "repull:o1") << "round " << round << b.why();
  }
}

TEST_F(PokeAcrossInstances, BehindAPoolerInTransactionModeTheyHearEachOtherOverADirectConnection) {
  Pooler pooler(shared_server());
  ASSERT_EQ(nizhal({"migrate", "--domain", domain_library("notes"), "--db", url_}).status.code, 0);
  const std::vector<std::string> options{"--pooler", "transaction", "--realtime", "listen-notify", "--listen-db", url_};
  ServerProcess a("notes", pooler.url(url_), options), b("notes", pooler.url(url_), options);
  ASSERT_FALSE(a.url().empty()) << a.why();
  ASSERT_FALSE(b.url().empty()) << b.why();
  const auto on_b = subscribe(b);
  for (int round = 0; round < 5; ++round) {
    push(a);
    EXPECT_EQ(next_poke(*on_b), "repull:o1");
  }
  EXPECT_FALSE(has(a.why() + b.why(), "cannot listen")) << a.why() << b.why();
  const Finished refused = nizhal({"serve", "--domain", domain_library("notes"), "--db", pooler.url(url_), "--pooler",
                                   "transaction", "--realtime", "listen-notify"});
  EXPECT_EQ(refused.status.code, 2) << refused.err;
  EXPECT_TRUE(has(refused.err, "--listen-db")) << refused.err;
}

TEST_F(PokeAcrossInstances, InstancesThatDoNotHearEachOtherSaySoAndPokeNonetheless) {
  ServerProcess a("notes", url_), b("notes", url_);
  ASSERT_FALSE(a.url().empty()) << a.why();
  ASSERT_FALSE(b.url().empty()) << b.why();
  EXPECT_TRUE(b.says("--realtime listen-notify")) << b.why();
  const auto on_b = subscribe(b);
  push(a);
  EXPECT_EQ(next_poke(*on_b), "repull:o1");
}

}  // namespace
}  // namespace nizhal::testing
