// Errors that pass: what the database says no to now and yes to later. Trap 8: such an error became a final refusal,
// and its text leaked SQL and parameters.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "postgres/connection.hpp"
#include "tests/postgres_failures/harness.hpp"

namespace nizhal::testing {
namespace {

/// From now on the first `times` entries written fail: `what` is PL/pgSQL.
void break_writes(const std::string& url, int times, const std::string& what) {
  // The sequence remembers though the transaction is rolled back.
  shared_server().sql(
      database_of(url),
      "DROP TRIGGER IF EXISTS breaks ON entries; DROP SEQUENCE IF EXISTS broken; CREATE SEQUENCE broken;"
      "CREATE OR REPLACE FUNCTION break_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "IF nextval('broken') <= " +
          std::to_string(times) + " THEN " + what +
          "; END IF; RETURN NEW; END $$;"
          "CREATE TRIGGER breaks BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION break_write()");
}

std::string raises(const std::string& sqlstate) {
  return "RAISE EXCEPTION USING ERRCODE = '" + sqlstate +
         "', MESSAGE = 'INSERT INTO entries failed for ' || NEW.body, DETAIL = NEW.body, HINT = NEW.body";
}

class TransientError : public ::testing::TestWithParam<const char*> {};

TEST_P(TransientError, Trap8NeverRefusesAMutation) {
  const std::string url = shared_server().create_database();
  Host host(url);
  Sender sender("s");
  Reader reader("s");
  for (const int times : {1, 2, 7}) {
    break_writes(url, times, raises(GetParam()));
    for (const char* mutator : {"add", "addOnly", "search"}) sender.queue(mutator, 2);
    sender.push_all(host);
  }
  sender.queue("add", 3);
  break_writes(url, 1'000'000, raises(GetParam()));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(sender.push(host));
  EXPECT_NE(sender.last_answer().find("\"retry\""), std::string::npos) << sender.last_answer();
  break_writes(url, 0, raises(GetParam()));
  sender.push_all(host);
  ASSERT_TRUE(reader.pull(host));
  reader.expect_equal(url);
  EXPECT_EQ(reader.entries().size(), 21U);
}

// Serialization failure, deadlock, cancelled (statement timeout), lock timeout, out of memory, too many connections,
// full disk, shutdown; and what nobody expects of a mutation: an internal error of the server.
INSTANTIATE_TEST_SUITE_P(Sqlstate, TransientError,
                         ::testing::Values("40001", "40P01", "57014", "55P03", "53200", "53300", "53100", "57P01",
                                           "XX000"),
                         [](const auto& test) { return std::string(test.param); });

TEST(FinalError, Trap8OfTheDatabasesOwnerRefusesWithoutQuotingAnything) {
  const std::string url = shared_server().create_database();
  Host host(url);
  break_writes(url, 1'000'000, raises("P0001"));
  const auto answer =
      host.post(protocol::kPushPath, "s",
                R"({"results":true,"mutations":[{"name":"add","clientMutationId":"m1","args":{"id":"e1",)"
                R"("text":")" +
                    std::string(kSecretText) + R"("}}]})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find("\"rejected\""), std::string::npos) << answer.body;
}

/// Lets nobody on before `count` are there; the second time nobody waits.
class Meeting {
 public:
  explicit Meeting(int count) : count_(count) {}
  void arrive() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    all_there_.notify_all();
    all_there_.wait_for(lock, std::chrono::seconds(120), [&] { return arrived_ >= count_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_there_;
  int arrived_ = 0;
  const int count_;
};

/// Two mutations that meet in their middle.
void run_together(Host& host, Sender& first, Sender& second) {
  Meeting meeting(2);
  set_hook([&](std::string_view place) {
    if (place == "middle") meeting.arrive();
  });
  std::thread other([&] { second.push_all(host); });
  first.push_all(host);
  other.join();
  set_hook(nullptr);
}

TEST(RealConflict, Trap8ADeadlockBetweenTwoPushesIsRunAgain) {
  const std::string url = shared_server().create_database();
  // The server finds a deadlock after this time, and before the engine's lock timeout would end it.
  shared_server().sql("postgres", "ALTER DATABASE " + database_of(url) + " SET deadlock_timeout = '100ms'");
  Host host(url);
  Sender first("first", "o"), second("second", "o");
  first.queue("both", 1, "ab");
  first.push_all(host);  // the totals are there
  first.queue("both", 1, "ab");
  second.queue("both", 1, "ba");
  run_together(host, first, second);
  first.expect_exactly_once(url);
  second.expect_exactly_once(url);
  EXPECT_EQ(shared_server().value(database_of(url), "SELECT string_agg(count::text, ' ') FROM totals"), "3 3");
  EXPECT_NE(host.log().find("40P01"), std::string::npos) << "no deadlock happened: " << host.log();
}

TEST(RealConflict, Trap8ASerializationFailureBetweenTwoPushesIsRunAgain) {
  const std::string url = shared_server().create_database();
  Host host(url);
  Sender first("first", "o"), second("second", "o");
  first.queue("search");
  first.push_all(host);  // from now on it is known that this mutator searches, and what that needs
  first.queue("search");
  second.queue("search");
  run_together(host, first, second);
  first.expect_exactly_once(url);
  second.expect_exactly_once(url);
  EXPECT_NE(host.log().find("40001"), std::string::npos) << "no conflict happened: " << host.log();
}

TEST(StatementTimeout, Trap8InTheMiddleOfAPushIsTriedAgain) {
  const std::string url = shared_server().create_database();
  Host host(url, [](auto& options) { options.statement_timeout = std::chrono::milliseconds(200); });
  Sender sender("s");
  break_writes(url, 2, "PERFORM pg_sleep(600)");
  sender.queue("add", 3);
  sender.push_all(host);
  sender.expect_exactly_once(url);
  EXPECT_NE(host.log().find("57014"), std::string::npos) << "nothing was cancelled: " << host.log();
}

TEST(LockTimeout, Trap8BehindAnotherProgramsLockIsTriedAgain) {
  const std::string url = shared_server().create_database();
  Host host(url, [](auto& options) { options.lock_timeout = std::chrono::milliseconds(50); });
  postgres::ConnectOptions connect;
  connect.url = url;
  auto other = postgres::Connection::connect(connect);
  ASSERT_TRUE(other);
  ASSERT_TRUE((*other)->query("BEGIN"));
  ASSERT_TRUE((*other)->query("LOCK TABLE entries"));
  Sender sender("s");
  sender.queue("add", 3);
  EXPECT_FALSE(sender.push(host));
  EXPECT_NE(sender.last_answer().find("\"busy\""), std::string::npos) << sender.last_answer();
  ASSERT_TRUE((*other)->query("COMMIT"));
  sender.push_all(host);
  sender.expect_exactly_once(url);
}

}  // namespace
}  // namespace nizhal::testing
