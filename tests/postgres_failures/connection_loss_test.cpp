// Connections that go away, in every moment of a push.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "tests/postgres_failures/harness.hpp"
#include "tests/postgres_failures/load.hpp"
#include "tests/postgres_failures/proxy.hpp"

namespace nizhal::testing {
namespace {

/// Ends every session of that database, and waits for it.
void end_sessions(const std::string& url) {
  shared_server().sql("postgres",
                      "CREATE TEMPORARY TABLE ended AS SELECT pid, pg_terminate_backend(pid) "
                      "FROM pg_stat_activity WHERE datname = '" +
                          database_of(url) + "'; SELECT pg_terminate_backend(pid, 60000) FROM ended");
}

class LostConnection : public ::testing::Test {
 protected:
  ~LostConnection() override { set_hook(nullptr); }
};

// Trap 4: a database connection lost in the middle of a mutator ended the process.
TEST_F(LostConnection, Trap4InTheMiddleOfAMutatorCostsNeitherTheProcessNorTheMutation) {
  const std::string url = shared_server().create_database();
  Host host(url);
  Sender sender("s");
  int ended = 0;
  for (const std::string mutator : {"add", "addOnly", "search"}) {
    for (const std::string place : {"begin", "middle", "end"}) {
      sender.queue(mutator, 3);
      int calls = 0;
      set_hook([&](std::string_view now_at) {
        if (now_at != place || ++calls != 2) return;  // the second mutation of the batch, first attempt
        ++ended;
        end_sessions(url);
      });
      sender.push_all(host);
    }
  }
  set_hook(nullptr);
  EXPECT_EQ(ended, 8) << "addOnly has no middle";
  sender.push_all(host);
  const std::string log = host.log();
  Reader reader("s");
  ASSERT_TRUE(reader.pull(host)) << log;
  reader.expect_equal(url);
  EXPECT_EQ(reader.entries().size(), 27U);
}

TEST_F(LostConnection, Trap4InEveryAttemptIsToldAsSomethingToTryAgain) {
  const std::string url = shared_server().create_database();
  Host host(url);
  Sender sender("s");
  sender.queue("add", 2);
  set_hook([&](std::string_view place) {
    if (place == "middle") end_sessions(url);
  });
  EXPECT_FALSE(sender.push(host));
  EXPECT_NE(sender.last_answer().find("\"retry\""), std::string::npos) << sender.last_answer();
  EXPECT_NE(sender.last_answer().find("\"busy\""), std::string::npos) << sender.last_answer();
  set_hook(nullptr);
  sender.push_all(host);
  sender.expect_exactly_once(url);
}

TEST_F(LostConnection, BetweenACommitAndItsAnswerRunsNothingTwice) {
  const std::string direct = shared_server().create_database();
  Proxy proxy(shared_server());
  Host host(proxy.url(direct), [](auto& options) { options.transaction_pooler = true; });
  Sender sender("s");
  sender.queue("add");
  sender.push_all(host);
  for (int round = 1; round <= 3; ++round) {
    sender.queue("add", 4);
    proxy.lose_next_commit();
    sender.push_all(host);
    EXPECT_EQ(proxy.lost(), round);
    sender.expect_exactly_once(direct);
  }
}

TEST_F(LostConnection, OfReadersIsMendedByTheNextPull) {
  const std::string url = shared_server().create_database();
  Host host(url);
  Sender sender("s");
  Reader reader("s");
  for (int round = 0; round < 3; ++round) {
    sender.queue("add", 2);
    sender.push_all(host);
    end_sessions(url);
    host.tick();
    for (int attempt = 0; attempt < 3 && !reader.pull(host); ++attempt) {
    }
    reader.expect_equal(url);
  }
  EXPECT_EQ(reader.resets(), 0);
}

TEST_F(LostConnection, BecauseTheServerIsAwayIsToldAsBusy) {
  PostgresServer server;
  const std::string url = server.create_database();
  Host host(url);
  Sender sender("s");
  sender.queue("add");
  sender.push_all(host);
  server.stop();
  sender.queue("add");
  EXPECT_FALSE(sender.push(host));
  EXPECT_NE(sender.last_answer().find("\"busy\""), std::string::npos) << sender.last_answer();
  EXPECT_EQ(host.post(protocol::kPullPath, "s", "{}").status, 503);
  server.start();
  sender.push_all(host);
  sender.expect_exactly_once(url);
}

/// What a push is promised, whatever the database does: an answer within 10 seconds.
class AnswerInTime : public LostConnection {
 protected:
  AnswerInTime() {
    limits_.push_time_max = std::chrono::seconds(1);
    host_ = std::make_unique<Host>(
        url_, [](auto& options) { options.statement_timeout = std::chrono::seconds(60); }, limits_);
  }

  void expect_retry_in_time() {
    const auto started = std::chrono::steady_clock::now();
    EXPECT_FALSE(sender_.push(*host_));
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(10));
    EXPECT_NE(sender_.last_answer().find("\"busy\""), std::string::npos) << sender_.last_answer();
  }

  PostgresServer server_;
  const std::string url_ = server_.create_database();
  server::Limits limits_;
  std::unique_ptr<Host> host_;
  Sender sender_{"s"};
};

TEST_F(AnswerInTime, ComesWhileTheServerHangs) {
  sender_.queue("add");
  sender_.push_all(*host_);
  sender_.queue("add", 2);
  server_.freeze();
  expect_retry_in_time();
  expect_retry_in_time();
  server_.thaw();
  sender_.push_all(*host_);
  set_hook([&](std::string_view place) {
    if (place == "middle") server_.freeze();
  });
  sender_.queue("add", 2);
  expect_retry_in_time();
  set_hook(nullptr);
  server_.thaw();
  sender_.push_all(*host_);
  sender_.expect_exactly_once(url_);
}

TEST_F(AnswerInTime, ComesWhileEveryStatementIsSlow) {
  server_.sql(
      database_of(url_),
      "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.4); RETURN NEW; "
      "END $$; CREATE TRIGGER dawdles BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION dawdle()");
  sender_.queue("add", 40);
  expect_retry_in_time();
  server_.sql(database_of(url_), "DROP TRIGGER dawdles ON entries");
  sender_.push_all(*host_);
  sender_.expect_exactly_once(url_);
}

TEST_F(LostConnection, RestartsUnderLoadLoseAndDoubleNothing) {
  PostgresServer server;
  const std::string url = server.create_database();
  Host host(url);
  Load load(host);
  for (int round = 0; round < 3; ++round) {
    load.wait_for_more(40);
    server.restart();
  }
  load.wait_for_more(40);
  load.finish_and_compare(url);
}

TEST_F(LostConnection, KillsUnderLoadLoseAndDoubleNothing) {
  PostgresServer server;
  const std::string url = server.create_database();
  Host host(url);
  Load load(host);
  for (int round = 0; round < 3; ++round) {
    load.wait_for_more(40);
    server.kill_hard();
    server.start();
  }
  load.wait_for_more(40);
  load.finish_and_compare(url);
}

TEST_F(LostConnection, OfAllSessionsAgainAndAgainUnderLoadLosesAndDoublesNothing) {
  const std::string url = shared_server().create_database();
  Host host(url);
  Load load(host);
  for (int round = 0; round < 10; ++round) {
    load.wait_for_more(5);
    end_sessions(url);
  }
  load.finish_and_compare(url);
}

}  // namespace
}  // namespace nizhal::testing
