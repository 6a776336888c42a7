// Databases that crash, are promoted, are restored elsewhere, or are kept busy for long: what devices have stays true.
#include <gtest/gtest.h>

#include <string>

#include "postgres/connection.hpp"
#include "tests/postgres_failures/harness.hpp"
#include "tests/postgres_failures/load.hpp"
#include "tests/support/require.hpp"

namespace nizhal::testing {
namespace {

std::unique_ptr<postgres::Connection> connect(const std::string& url) {
  postgres::ConnectOptions options;
  options.url = url;
  return require(postgres::Connection::connect(options), "connect");
}

/// Another program writes and thinks better of it: its version is handed out, and nothing is flushed to the disk.
void write_and_roll_back(const std::string& url) {
  const auto other = connect(url);
  require(other->query("BEGIN"), "begin");
  require(other->query("INSERT INTO entries (id, owner_id, body) VALUES ('gone', 's', 'outside')"), "insert");
  require(other->query("ROLLBACK"), "roll back");
}

// Trap 28: a database crash hands out again versions that a cursor has passed.
TEST(Crash, Trap28BetweenARollbackAndItsFlushHidesNoRowFromACursor) {
  // Nothing but commits flushes the write-ahead log.
  PostgresServer server({.settings = {{"wal_writer_delay", "10s"}, {"autovacuum", "off"}}});
  const std::string url = server.create_database(), database = database_of(url);
  const auto last_version = [&] {
    return std::stoll(server.value(database, "SELECT last_value FROM nizhal.version_seq"));
  };
  Host host(url);
  Sender sender("s");
  Reader reader("s");
  sender.queue("add");
  sender.push_all(host);
  ASSERT_TRUE(reader.pull(host));

  // Without a look in between the version comes again: the danger is real.
  server.sql(database, "CHECKPOINT");
  write_and_roll_back(url);
  const auto handed_out = last_version();
  server.kill_hard();
  server.start();
  ASSERT_LT(last_version(), handed_out) << "this server does not forget what it has not flushed: prove it otherwise";

  for (int round = 0; round < 5; ++round) {
    sender.queue("add");
    sender.push_all(host);
    server.sql(database, "CHECKPOINT");
    for (int i = 0; i < 5; ++i) write_and_roll_back(url);
    for (int attempt = 0; attempt < 3 && !reader.pull(host); ++attempt) {
    }
    reader.expect_equal(url);
    server.kill_hard();
    server.start();
    sender.queue("add");
    sender.push_all(host);
    for (int attempt = 0; attempt < 3 && !reader.pull(host); ++attempt) {
    }
    reader.expect_equal(url);
  }
  EXPECT_EQ(reader.resets(), 0) << "a crash alone makes nobody start afresh";
  sender.expect_exactly_once(url);
}

TEST(Promotion, OfASynchronousStandbyUnderLoadLosesAndDoublesNothing) {
  PostgresServer primary;
  const std::string database = database_of(primary.create_database());
  const auto standby = primary.standby();
  const auto host_of = [](const PostgresServer& server) {
    const std::string url = server.url();
    const auto begin = url.find('@') + 1;
    return url.substr(begin, url.rfind('/') - begin);
  };
  Host host("postgresql://" + primary.user() + "@" + host_of(primary) + "," + host_of(*standby) + "/" + database);
  Sender sender("reader");
  sender.queue("add", 3);
  sender.push_all(host);
  Reader reader("reader");
  ASSERT_TRUE(reader.pull(host));
  {
    Load load(host);
    load.wait_for_more(60);
    primary.kill_hard();
    standby->promote();
    load.wait_for_more(60);
    load.finish_and_compare(standby->url(database));
  }
  sender.expect_exactly_once(standby->url(database));
  for (int attempt = 0; attempt < 3 && !reader.pull(host); ++attempt) {
  }
  reader.expect_equal(standby->url(database));
  EXPECT_EQ(reader.resets(), 1) << "another timeline is another epoch: devices start afresh";
}

// Trap 11: one long write transaction, even in another database, froze all sync.
TEST(LongTransaction, Trap11HoldsBackNobodysRows) {
  auto& server = shared_server();
  const std::string url = server.create_database();
  Host host(url);
  const auto elsewhere = connect(server.create_database());
  require(elsewhere->query("BEGIN"), "begin");
  require(elsewhere->query("CREATE TABLE long (id int)"), "write");
  const auto here = connect(url);
  require(here->query("BEGIN"), "begin");
  require(here->query("INSERT INTO entries (id, owner_id, body) VALUES ('late', 's', 'outside')"), "insert");
  Sender sender("s");
  Reader reader("s");
  for (int round = 0; round < 3; ++round) {
    sender.queue("add", 2);
    sender.push_all(host);
    ASSERT_TRUE(reader.pull(host));
    reader.expect_equal(url);
    EXPECT_EQ(reader.entries().size(), sender.acknowledged());
  }
  require(here->query("COMMIT"), "commit");
  ASSERT_TRUE(reader.pull(host));
  reader.expect_equal(url);
  EXPECT_EQ(reader.entries().count("late"), 1U);
}

// Trap 12: dump and restore into a new cluster made rows invisible.
TEST(Restore, Trap12IntoANewClusterShowsEveryRow) {
  auto& server = shared_server();
  const std::string url = server.create_database();
  Reader reader("s"), fresh("s");
  Sender sender("s");
  {
    Host host(url);
    sender.queue("add", 5);
    sender.push_all(host);
    ASSERT_TRUE(reader.pull(host));
  }
  const std::string dump = server.folder() + "/dump";
  server.run({"pg_dump", "-Fc", "-f", dump, url});
  PostgresServer other;
  const std::string restored = other.create_database();
  other.run({"pg_restore", "--exit-on-error", "-d", restored, dump});
  Host host(restored);
  sender.queue("add", 5);
  sender.push_all(host);
  sender.expect_exactly_once(restored);
  ASSERT_TRUE(reader.pull(host));
  reader.expect_equal(restored);
  EXPECT_EQ(reader.resets(), 1) << "another cluster is another epoch";
  ASSERT_TRUE(fresh.pull(host));
  fresh.expect_equal(restored);
  EXPECT_EQ(fresh.entries().size(), 10U);
}

}  // namespace
}  // namespace nizhal::testing
