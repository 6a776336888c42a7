// What only the embedded storage has: its statements' plans, one writer with versions without gaps, its locks and its
// file. What it has in common with PostgreSQL is in tests/conformance.
#include "storage/sqlite/sqlite_storage.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "examples/ledger/ledger.hpp"
#include "examples/notes/notes.hpp"
#include "storage/sqlite/statements.hpp"
#include "storage/sqlite/triggers.hpp"
#include "tests/backends/office_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::storage {
namespace {

using nizhal::testing::BackendKind;
using nizhal::testing::compiled;
using nizhal::testing::Names;
using nizhal::testing::office_domain;
using nizhal::testing::TestDatabase;

struct LockTest : ::testing::Test {
  TestDatabase db{BackendKind::sqlite, notes::domain()};
  const TableDef& notes_table = db.domain->table(0);
};
using OneWriter = LockTest;

TEST(Statements, EveryPageIsARangeOfOneIndexInItsOrder) {
  for (const auto& domain : {notes::domain(), ledger::domain(), office_domain()}) {
    TestDatabase db(BackendKind::sqlite, domain);
    const DomainSql sql(*db.domain);
    int statements = 0;
    for (const auto& entries : sql.entries) {
      for (const EntrySql& entry : entries) {
        for (const std::string& text : {entry.live, entry.backfill, entry.backfill_after}) {
          const Names plan = db.other->query("EXPLAIN QUERY PLAN " + text);
          ASSERT_EQ(plan.size(), 1u) << text;
          EXPECT_NE(plan[0].find("SEARCH r USING"), std::string::npos) << plan[0] << "\n" << text;
          EXPECT_EQ(plan[0].find("TEMP B-TREE"), std::string::npos) << plan[0] << "\n" << text;
          ++statements;
        }
        const Names plan = db.other->query("EXPLAIN QUERY PLAN " + entry.live);
        const std::string range = "nizhal_version>? AND nizhal_version<?)";
        EXPECT_NE(plan[0].find(range), std::string::npos) << plan[0];
      }
    }
    EXPECT_GT(statements, 0);
  }
}

TEST(Statements, WhetherAGrantRemainsIsLookedUpAndNotSearchedFor) {
  TestDatabase db(BackendKind::sqlite, office_domain());
  int lookups = 0;
  // The triggers ask with the same text.
  for (const std::string& statement : recompute_grants_sql(*db.domain)) {
    if (statement.find("NOT EXISTS") == std::string::npos) continue;
    for (const std::string& step : db.other->query("EXPLAIN QUERY PLAN " + statement)) {
      EXPECT_EQ(step.find("SCAN r"), std::string::npos) << step;
      if (step.find("SEARCH r USING INDEX") != std::string::npos &&
          step.find("(<expr>=? AND <expr>=?)") != std::string::npos)
        ++lookups;
    }
  }
  EXPECT_EQ(lookups, 2);
}

TEST_F(OneWriter, AVersionThatWasRolledBackWasNeverGivenOut) {
  const Version before = db.last();
  {
    auto transaction = db.write();
    ASSERT_TRUE(*transaction->insert(notes_table, {"n1", "o1", "x"}));
    EXPECT_EQ(number(transaction->version()), number(before) + 1);
  }
  EXPECT_EQ(db.last(), before);
  db.other->run("BEGIN; INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x'); ROLLBACK");
  EXPECT_EQ(db.last(), before);
  EXPECT_FALSE(db.storage->run_script("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', ''); nonsense"));
  EXPECT_EQ(db.last(), before);
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  EXPECT_EQ(number(db.last()), number(before) + 1);
}

TEST_F(OneWriter, TheHorizonIsTheLastCommit) {
  db.other->run("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'x')");
  const Position position = db.position();
  EXPECT_EQ(position.horizon, position.last);
  EXPECT_EQ(db.storage->change_mark()->last, position.last);
}

TEST_F(LockTest, AWriterThatWaitsTooLongIsBusyAndNothingHappened) {
  auto impatient = db.backend->open(db.domain, {.lock_timeout = std::chrono::milliseconds(20)});
  db.other->run("BEGIN IMMEDIATE");
  const auto refused = impatient->write(Timestamp{1});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::busy);
  db.other->run("COMMIT");
  auto first = impatient->write(Timestamp{1});
  ASSERT_TRUE(first.has_value()) << first.error().message;
  const auto second = impatient->write(Timestamp{1});
  ASSERT_FALSE(second.has_value()) << "one writer at a time";
  EXPECT_EQ(second.error().code, ErrorCode::busy);
  first->reset();
  EXPECT_TRUE(impatient->write(Timestamp{1}).has_value());
}

TEST_F(LockTest, WritersAreBusyOnceTheStorageIsInterrupted) {
  auto transaction = db.write();
  std::thread waiting([&] {
    const auto refused = db.storage->write(Timestamp{1});
    EXPECT_TRUE(!refused && refused.error().code == ErrorCode::busy);
  });
  db.storage->interrupt();
  waiting.join();
  EXPECT_TRUE(transaction->commit().has_value()) << "what has begun may end";
  EXPECT_EQ(db.storage->gc(Timestamp{1}).error().code, ErrorCode::busy);
}

TEST_F(LockTest, MoreReadersThanConnectionsWaitAndThenAreBusy) {
  auto storage = open_sqlite_storage({.path = db.backend->location(), .lock_timeout_ms = 20, .readers_max = 2},
                                     db.domain, system_random(), Log());
  ASSERT_TRUE(storage.has_value());
  auto first = (*storage)->snapshot(), second = (*storage)->snapshot();
  ASSERT_TRUE(first.has_value() && second.has_value());
  const auto third = (*storage)->snapshot();
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().code, ErrorCode::busy);
  first->reset();
  EXPECT_TRUE((*storage)->snapshot().has_value());
}

TEST(Storage, AMemoryDatabaseIsRefusedAsUsage) {
  const auto opened = open_sqlite_storage({.path = ":memory:"}, compiled(notes::domain()), system_random(), Log());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::usage);
}

TEST(Storage, IsCalledByItsFile) {
  TestDatabase db(BackendKind::sqlite, notes::domain());
  EXPECT_EQ(db.storage->describe(), "sqlite:" + db.backend->location());
}

}  // namespace
}  // namespace nizhal::storage
