// pgbouncer in transaction mode between the engine and PostgreSQL, and TLS to the database.
#include <gtest/gtest.h>

#include <string>

#include "tests/postgres_failures/harness.hpp"
#include "tests/postgres_failures/load.hpp"
#include "tests/postgres_server/pooler.hpp"

namespace nizhal::testing {
namespace {

class TransactionPooler : public ::testing::TestWithParam<bool> {};

TEST_P(TransactionPooler, CarriesAWholeConversation) {
  PostgresServer server;
  Pooler pooler(server, 4);
  const std::string url = server.create_database();
  Host host(pooler.url(url), [&](auto& options) {
    options.transaction_pooler = true;
    if (GetParam()) options.listen_url = url;
  });
  Sender sender("s");
  Reader reader("s");
  for (const char* mutator : {"add", "addOnly", "search"}) {
    sender.queue(mutator, 5);
    sender.push_all(host);
    ASSERT_TRUE(reader.pull(host)) << host.log();
    reader.expect_equal(url);
    host.tick();
  }
  // Another program's write is seen as well.
  server.sql(database_of(url), "INSERT INTO entries (id, owner_id, body) VALUES ('outside', 's', 'outside')");
  host.tick();
  ASSERT_TRUE(reader.pull(host));
  EXPECT_EQ(reader.entries().count("outside"), 1U);
  {
    Load load(host);
    for (int round = 0; round < 3; ++round) {
      load.wait_for_more(30);
      pooler.stop();
      pooler.start();
      host.tick();
    }
    load.wait_for_more(30);
    load.finish_and_compare(url);
  }
  // The pooler's own session to the server may go at any time.
  server.restart();
  sender.queue("add", 5);
  sender.push_all(host);
  sender.expect_exactly_once(url);
  for (int attempt = 0; attempt < 5 && !reader.pull(host); ++attempt) {
  }
  reader.expect_equal(url);
  EXPECT_EQ(reader.resets(), 0);
}

INSTANTIATE_TEST_SUITE_P(Watching, TransactionPooler, ::testing::Values(true, false),
                         [](const auto& test) { return test.param ? "Directly" : "ThroughIt"; });

TEST(DatabaseTls, ConnectsOnlyToTheServerThatItKnows) {
  PostgresServer server({.tls = true});
  const std::string database = database_of(server.create_database());
  const std::string trusted = server.tcp_url(database, "sslmode=verify-full&sslrootcert=" + server.certificate());
  {
    Host host(trusted);
    Sender sender("s");
    sender.queue("add", 3);
    sender.push_all(host);
    sender.expect_exactly_once(trusted);
    EXPECT_EQ(server.value("postgres",
                           "SELECT count(*) > 0 AND bool_and(s.ssl) FROM pg_stat_ssl s JOIN "
                           "pg_stat_activity a USING (pid) WHERE a.datname = '" +
                               database + "'"),
              "t");
  }
  const auto refused = [&](const std::string& parameters) {
    storage::PostgresStorageOptions options;
    options.url = server.tcp_url(database, parameters);
    auto opened = storage::open_postgres_storage(options, failure_domain(), system_random(), Log());
    EXPECT_FALSE(opened) << parameters;
    return opened ? Error{} : opened.error();
  };
  const Error stranger = refused("sslmode=verify-full&sslrootcert=" + server.other_certificate());
  EXPECT_EQ(stranger.code, ErrorCode::unreachable);
  EXPECT_NE(stranger.message.find("certificate verify failed"), std::string::npos) << stranger.message;
  EXPECT_NE(stranger.message.find("localhost"), std::string::npos) << "which server: " << stranger.message;
  const Error plain = refused("sslmode=disable");
  EXPECT_EQ(plain.code, ErrorCode::unauthorized);
  EXPECT_NE(plain.message.find("no encryption"), std::string::npos) << plain.message;
}

}  // namespace
}  // namespace nizhal::testing
