// The pool against a real server: lending, waiting, and what becomes of connections that broke.
#include "postgres/pool.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>

#include "tests/postgres_server/pooler.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::postgres {
namespace {

using testing::PostgresServer;
using testing::shared_server;

PoolOptions options_for(const std::string& url) {
  PoolOptions options;
  options.connect.url = url;
  return options;
}

TEST(PostgresPool, LendsTheSameConnectionAgain) {
  const auto pool = Pool::create(options_for(shared_server().create_database()));
  int pid = 0;
  {
    auto lease = pool->borrow();
    ASSERT_TRUE(lease) << lease.error().message;
    pid = (*lease)->backend_pid();
  }
  auto lease = pool->borrow();
  ASSERT_TRUE(lease);
  EXPECT_EQ((*lease)->backend_pid(), pid);
}

TEST(PostgresPool, RollsBackWhatIsGivenBackInATransaction) {
  const std::string url = shared_server().create_database();
  const auto pool = Pool::create(options_for(url));
  {
    auto lease = pool->borrow();
    ASSERT_TRUE(lease);
    ASSERT_TRUE((*lease)->execute("CREATE TABLE note (id int PRIMARY KEY)"));
    ASSERT_TRUE((*lease)->query("BEGIN"));
    ASSERT_TRUE((*lease)->query("INSERT INTO note VALUES (1)"));
    (*lease)->queue("INSERT INTO note VALUES (2)");
  }
  auto lease = pool->borrow();
  ASSERT_TRUE(lease);
  EXPECT_FALSE((*lease)->in_transaction());
  EXPECT_EQ((*lease)->query("SELECT count(*) FROM note")->integer(0, 0), 0);
}

TEST(PostgresPool, SaysBusyWhileAllAreLentAndLendsWhatComesBack) {
  auto options = options_for(shared_server().create_database());
  options.connections_max = 1;
  options.borrow_timeout = std::chrono::milliseconds(50);
  const auto pool = Pool::create(options);
  auto first = pool->borrow();
  ASSERT_TRUE(first);
  const auto none = pool->borrow();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::busy);

  options.borrow_timeout = std::chrono::seconds(60);
  const auto patient = Pool::create(options);
  std::optional<Pool::Lease> held;
  held.emplace(std::move(*patient->borrow()));
  Result<void> waited;
  std::thread waiter([&] {
    const auto lease = patient->borrow();
    if (!lease) waited = tl::unexpected(lease.error());
  });
  held.reset();
  waiter.join();
  EXPECT_TRUE(waited);
}

TEST(PostgresPool, ARestartedServerCostsNobodyAnError) {
  PostgresServer server;
  const auto pool = Pool::create(options_for(server.create_database()));
  {
    std::vector<Pool::Lease> all;
    for (int i = 0; i < 4; ++i) all.push_back(std::move(*pool->borrow()));
  }
  server.restart();
  for (int i = 0; i < 4; ++i) {
    auto lease = pool->borrow();
    ASSERT_TRUE(lease) << lease.error().message;
    EXPECT_TRUE((*lease)->query("SELECT 1"));
  }
}

TEST(PostgresPool, SaysThatTheServerIsAwayAndLendsAgainWhenItIsBack) {
  PostgresServer server;
  auto options = options_for(server.create_database());
  options.connections_max = 1;
  options.idle_check = std::chrono::milliseconds(0);
  const auto pool = Pool::create(options);
  ASSERT_TRUE(pool->borrow());
  server.kill_hard();
  const auto away = pool->borrow();
  ASSERT_FALSE(away);
  EXPECT_EQ(away.error().code, ErrorCode::unreachable);
  server.start();
  auto back = pool->borrow();
  ASSERT_TRUE(back) << back.error().message << " (the place of a connection that could not be made must be free again)";
  EXPECT_TRUE((*back)->query("SELECT 1"));
}

TEST(PostgresPool, DoesNotKeepAConnectionThatBroke) {
  auto& server = shared_server();
  auto options = options_for(server.create_database());
  options.connections_max = 1;
  const auto pool = Pool::create(options);
  {
    auto lease = pool->borrow();
    ASSERT_TRUE(lease);
    server.sql("postgres", "SELECT pg_terminate_backend(" + std::to_string((*lease)->backend_pid()) + ", 60000)");
    EXPECT_FALSE((*lease)->query("SELECT 1"));
  }
  auto lease = pool->borrow();
  ASSERT_TRUE(lease);
  EXPECT_TRUE((*lease)->query("SELECT 1"));
}

TEST(PostgresPool, WorksBehindAPoolerInTransactionMode) {
  PostgresServer server;
  testing::Pooler pooler(server, 2);
  auto options = options_for(pooler.url(server.create_database()));
  options.connect.transaction_pooler = true;
  options.idle_check = std::chrono::milliseconds(0);
  const auto pool = Pool::create(options);
  for (int round = 0; round < 2; ++round) {
    // Each of them has had another session by the end.
    std::vector<Pool::Lease> all;
    for (int i = 0; i < 4; ++i) {
      auto lease = pool->borrow();
      ASSERT_TRUE(lease) << lease.error().message;
      all.push_back(std::move(*lease));
    }
    for (int turn = 0; turn < 8; ++turn) {
      Connection& db = *all[static_cast<std::size_t>(turn % 4)];
      db.queue("BEGIN");
      db.queue(db.transaction_settings());
      const auto timeout = db.queue("SHOW statement_timeout");
      const auto zone = db.queue("SHOW timezone");
      ASSERT_TRUE(db.finish()) << db.error_text();
      EXPECT_EQ(db.take(timeout)->text(0, 0), "5s");
      EXPECT_EQ(db.take(zone)->text(0, 0), "UTC");
      EXPECT_FALSE(db.query("SELECT 1 / 0"));
      ASSERT_TRUE(db.query("ROLLBACK")) << db.error_text();
    }
    all.clear();
    pooler.stop();
    EXPECT_EQ(pool->borrow().error().code, ErrorCode::unreachable);
    pooler.start();
  }
}

TEST(PostgresPool, GoesOnBehindAPoolerThatNobodyTellsItOf) {
  PostgresServer server;
  testing::Pooler pooler(server, 1);
  const auto pool = Pool::create(options_for(pooler.url(server.create_database())));
  auto first = pool->borrow();
  auto second = pool->borrow();
  ASSERT_TRUE(first && second);
  // Both think that the one session is theirs, and give their statements the same names.
  int failed = 0;
  for (int turn = 0; turn < 6; ++turn) {
    for (Pool::Lease* lease : {&*first, &*second}) {
      Connection& db = **lease;
      const std::string wanted = std::to_string(lease == &*first ? turn : 100 + turn);
      const auto answer = db.query("SELECT " + wanted);
      ASSERT_TRUE(db.is_open()) << db.error_text();
      if (answer) {
        EXPECT_EQ(answer->text(0, 0), wanted);
      } else {
        EXPECT_EQ(answer.error().code, ErrorCode::busy) << db.error_text();
        ++failed;
      }
    }
  }
  EXPECT_LE(failed, 2) << "each finds out once";
}

TEST(PostgresPool, CancelsAllThatIsLent) {
  auto& server = shared_server();
  const auto pool = Pool::create(options_for(server.create_database()));
  auto lease = pool->borrow();
  ASSERT_TRUE(lease);
  const std::string pid = std::to_string((*lease)->backend_pid());
  std::thread canceller([&] {
    while (server.value("postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid = " + pid) !=
           "1") {
    }
    pool->cancel_all();
  });
  const auto cancelled = (*lease)->query("SELECT pg_sleep(60)");
  canceller.join();
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, ErrorCode::busy);
}

}  // namespace
}  // namespace nizhal::postgres
