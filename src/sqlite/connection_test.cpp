#include "sqlite/connection.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "base/test_temp_dir.hpp"
#include "sqlite/error.hpp"

namespace nizhal::sqlite {
namespace {

class ConnectionTest : public testing::Test {
 protected:
  std::string path(const std::string& name = "test.db") const { return folder_.file(name); }
  std::unique_ptr<Connection> open(const OpenOptions& options = {}) const {
    auto connection = Connection::open(path(), options);
    EXPECT_TRUE(connection) << connection.error().message;
    return connection ? std::move(*connection) : nullptr;
  }

  TempDir folder_;
};

std::unique_ptr<Connection> in_memory() {
  auto connection = Connection::open(":memory:", {});
  EXPECT_TRUE(connection);
  return std::move(*connection);
}

TEST_F(ConnectionTest, AFileIsOpenedInWalWithTheSettingsAskedFor) {
  const auto connection = open({.full_sync = true});
  EXPECT_EQ(connection->query_text("PRAGMA journal_mode").value(), "wal");
  EXPECT_EQ(connection->query_integer("PRAGMA synchronous").value(), 2);
  EXPECT_EQ(connection->query_integer("PRAGMA foreign_keys").value(), 0);
  EXPECT_EQ(connection->query_integer("PRAGMA busy_timeout").value(), 5000);
  const auto other = open({.busy_timeout_ms = 7});
  EXPECT_EQ(other->query_integer("PRAGMA synchronous").value(), 1);
  EXPECT_EQ(other->query_integer("PRAGMA busy_timeout").value(), 7);
}

TEST_F(ConnectionTest, AMissingFileIsCreatedOnlyWhenAskedFor) {
  const auto missing = Connection::open(path(), {.create = false});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::io_error);
  EXPECT_NE(missing.error().message.find(path()), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path()));
  EXPECT_FALSE(Connection::open(path("no/such/folder.db"), {}));
}

TEST_F(ConnectionTest, APathIsNeverTakenAsAUri) {
  EXPECT_FALSE(Connection::open("file:" + path(), {}));
  EXPECT_FALSE(Connection::open("file::memory:", {.create = false}));
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(ConnectionTest, AFileThatIsNoDatabaseIsCorrupt) {
  std::ofstream(path()) << std::string(5'000, 'x');
  for (const bool read_only : {false, true}) {
    const auto connection = Connection::open(path(), {.read_only = read_only});
    ASSERT_FALSE(connection);
    EXPECT_EQ(connection.error().code, ErrorCode::corrupt);
    EXPECT_NE(connection.error().message.find(path()), std::string::npos);
  }
}

TEST_F(ConnectionTest, ReadOnlyReadsAndRefusesToWrite) {
  const auto writer = open();
  ASSERT_TRUE(writer->execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)"));
  const auto reader = open({.read_only = true});
  EXPECT_EQ(reader->query_integer("SELECT a FROM t").value(), 1);
  const auto written = reader->execute("INSERT INTO t VALUES (2)");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::read_only);
}

TEST_F(ConnectionTest, ManyThreadsMayCreateOneFileAtOnce) {
  std::vector<std::thread> threads;
  std::vector<std::string> errors(6);
  for (std::string& error : errors)
    threads.emplace_back([&error, this] {
      const auto connection = Connection::open(path(), {});
      if (!connection) error = connection.error().message;
    });
  for (auto& thread : threads) thread.join();
  for (const std::string& error : errors) EXPECT_EQ(error, "");
}

TEST_F(ConnectionTest, ASecondWriterIsToldBusy) {
  const auto one = open();
  const auto other = open({.busy_timeout_ms = 0});
  auto transaction = Transaction::begin(*one, Transaction::Mode::immediate);
  ASSERT_TRUE(transaction);
  const auto second = Transaction::begin(*other, Transaction::Mode::immediate);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::busy);
  EXPECT_FALSE(other->in_transaction());
}

TEST_F(ConnectionTest, AReaderKeepsItsSnapshotAndCannotUpgradeAnOldOne) {
  const auto writer = open();
  ASSERT_TRUE(writer->execute("CREATE TABLE t (a)"));
  const auto reader = open();
  auto snapshot = Transaction::begin(*reader, Transaction::Mode::deferred);
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(reader->query_integer("SELECT count(*) FROM t").value(), 0);
  ASSERT_TRUE(writer->execute("INSERT INTO t VALUES (1)"));
  EXPECT_EQ(reader->query_integer("SELECT count(*) FROM t").value(), 0);
  const auto late = reader->execute("INSERT INTO t VALUES (2)");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::busy);
}

TEST_F(ConnectionTest, AFullDiskIsNamedAndLeavesNothingHalfWritten) {
  const auto connection = open();
  ASSERT_TRUE(connection->execute("CREATE TABLE t (a); PRAGMA max_page_count = 8"));
  {
    auto transaction = Transaction::begin(*connection, Transaction::Mode::immediate);
    ASSERT_TRUE(transaction);
    ASSERT_TRUE(connection->execute("INSERT INTO t VALUES (1)"));
    const auto full = connection->execute("INSERT INTO t VALUES (zeroblob(1000000))");
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, ErrorCode::disk_full);
  }
  EXPECT_FALSE(connection->in_transaction());
  EXPECT_EQ(connection->query_integer("SELECT count(*) FROM t").value(), 0);
}

TEST_F(ConnectionTest, ACommittedTransactionStaysAndADroppedOneIsGone) {
  const auto connection = open();
  ASSERT_TRUE(connection->execute("CREATE TABLE t (a)"));
  {
    auto transaction = Transaction::begin(*connection, Transaction::Mode::immediate);
    ASSERT_TRUE(transaction);
    EXPECT_TRUE(connection->in_transaction());
    ASSERT_TRUE(connection->execute("INSERT INTO t VALUES (1)"));
    ASSERT_TRUE(transaction->commit());
    EXPECT_FALSE(connection->in_transaction());
    EXPECT_FALSE(transaction->commit());
  }
  {
    auto transaction = Transaction::begin(*connection, Transaction::Mode::deferred);
    ASSERT_TRUE(transaction);
    auto moved = std::move(*transaction);
    ASSERT_TRUE(connection->execute("INSERT INTO t VALUES (2)"));
  }
  EXPECT_FALSE(connection->in_transaction());
  EXPECT_EQ(connection->query_integer("SELECT sum(a) FROM t").value(), 1);
}

TEST_F(ConnectionTest, ATransactionThatWasRolledBackUnderneathCannotCommit) {
  const auto connection = open();
  auto transaction = Transaction::begin(*connection, Transaction::Mode::immediate);
  ASSERT_TRUE(transaction);
  ASSERT_TRUE(connection->execute("ROLLBACK"));
  const auto committed = transaction->commit();
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.error().code, ErrorCode::io_error);
}

TEST(Connection, AnInterruptedStatementIsBusy) {
  const auto connection = in_memory();
  sqlite3_progress_handler(
      connection->handle(), 100, [](void*) { return 1; }, nullptr);
  const auto endless =
      connection->query_integer("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n");
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().code, ErrorCode::busy);
}

TEST(Connection, ResultCodesBecomeErrorsThatACallerCanReactTo) {
  EXPECT_EQ(error_code_of(SQLITE_BUSY_SNAPSHOT), ErrorCode::busy);
  EXPECT_EQ(error_code_of(SQLITE_LOCKED_SHAREDCACHE), ErrorCode::busy);
  EXPECT_EQ(error_code_of(SQLITE_READONLY_DBMOVED), ErrorCode::read_only);
  EXPECT_EQ(error_code_of(SQLITE_CORRUPT_INDEX), ErrorCode::corrupt);
  EXPECT_EQ(error_code_of(SQLITE_NOTADB), ErrorCode::corrupt);
  EXPECT_EQ(error_code_of(SQLITE_IOERR_FSYNC), ErrorCode::io_error);
  EXPECT_EQ(error_code_of(SQLITE_FULL), ErrorCode::disk_full);
  EXPECT_EQ(error_code_of(SQLITE_TOOBIG), ErrorCode::invalid_args);
  EXPECT_EQ(error_code_of(SQLITE_CONSTRAINT_NOTNULL), ErrorCode::constraint_violated);
}

TEST(Connection, AnErrorSaysWhatWasWrongWithoutTheParameters) {
  const auto connection = in_memory();
  ASSERT_TRUE(connection->execute("CREATE TABLE t (a TEXT NOT NULL UNIQUE)"));
  EXPECT_NE(connection->prepare("SELECT absent FROM t").error().message.find("no such column"), std::string::npos);
  auto insert = connection->prepare("INSERT INTO t VALUES (?1)");
  ASSERT_TRUE(insert);
  ASSERT_TRUE(insert->bind_text(1, "secret").run());
  const auto again = insert->bind_text(1, "secret").run();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().message.find("secret"), std::string::npos);
  EXPECT_NE(again.error().message.find("t.a"), std::string::npos);
}

TEST(Connection, ATextMustHoldExactlyOneStatement) {
  const auto connection = in_memory();
  for (const std::string_view sql : {"", " ", ";", "-- nothing", "SELECT 1; SELECT 2", "SELECT 1; x"})
    EXPECT_FALSE(connection->prepare(sql)) << sql;
  for (const std::string_view sql : {"SELECT 1", "SELECT 1;", " SELECT 1 ; ", "SELECT 1; -- one", "SELECT 1 /* one */"})
    EXPECT_TRUE(connection->prepare(sql)) << sql;
}

TEST(Connection, QueriesOfOneValueTellAbsentFromPresent) {
  const auto connection = in_memory();
  EXPECT_EQ(connection->query_integer("SELECT 7").value(), 7);
  EXPECT_EQ(connection->query_integer("SELECT NULL").value(), std::nullopt);
  EXPECT_EQ(connection->query_integer("SELECT 1 WHERE 0").value(), std::nullopt);
  EXPECT_EQ(connection->query_text("SELECT 'x'").value(), "x");
  EXPECT_EQ(connection->query_text("SELECT ''").value(), "");
  EXPECT_EQ(connection->query_text("SELECT NULL").value(), std::nullopt);
  EXPECT_FALSE(connection->query_text("SELECT"));
}

TEST(Connection, ExecuteRunsAllStatementsUpToTheFirstError) {
  const auto connection = in_memory();
  EXPECT_FALSE(connection->execute("CREATE TABLE t (a); INSERT INTO t VALUES (1); nonsense; INSERT INTO t VALUES (2)"));
  for (sqlite3_stmt* at = nullptr; (at = sqlite3_next_stmt(connection->handle(), at));)
    EXPECT_FALSE(sqlite3_stmt_busy(at));
  EXPECT_EQ(connection->query_integer("SELECT count(*) FROM t").value(), 1);
}

TEST(Connection, StatementsAreReusedAndOneTextMayRunTwiceAtOnce) {
  const auto connection = in_memory();
  sqlite3_stmt* first = nullptr;
  {
    auto statement = connection->prepare("SELECT ?1");
    ASSERT_TRUE(statement);
    first = statement->handle();
    statement->bind(1, std::int64_t{5});
    ASSERT_TRUE(statement->step().value());
  }
  auto one = connection->prepare("SELECT ?1");
  auto other = connection->prepare("SELECT ?1");
  ASSERT_TRUE(one && other);
  EXPECT_EQ(one->handle(), first);
  EXPECT_NE(other->handle(), first);
  ASSERT_TRUE(one->step().value());
  EXPECT_TRUE(one->is_null(0)) << "an earlier parameter stayed bound";
  ASSERT_TRUE(other->bind(1, std::int64_t{6}).step().value());
  EXPECT_EQ(other->integer(0), 6);
}

TEST(Connection, TheCacheIsBoundedWhileBorrowedStatementsLive) {
  const auto connection = in_memory();
  auto borrowed = connection->prepare("SELECT 'borrowed'");
  ASSERT_TRUE(borrowed);
  for (int i = 0; i < 2'000; ++i) ASSERT_EQ(connection->query_integer("SELECT " + std::to_string(i)).value(), i);
  int statements = 0;
  for (sqlite3_stmt* at = nullptr; (at = sqlite3_next_stmt(connection->handle(), at));) ++statements;
  EXPECT_LE(statements, 300);
  ASSERT_TRUE(borrowed->step().value());
  EXPECT_EQ(borrowed->text(0), "borrowed");
}

TEST(Connection, ChangesCountsRowsOfTheLastStatement) {
  const auto connection = in_memory();
  ASSERT_TRUE(connection->execute("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)"));
  EXPECT_EQ(connection->changes(), 3);
  ASSERT_TRUE(connection->execute("UPDATE t SET a = 0 WHERE a > 1"));
  EXPECT_EQ(connection->changes(), 2);
}

}  // namespace
}  // namespace nizhal::sqlite
