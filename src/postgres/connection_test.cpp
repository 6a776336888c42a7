// The connection against a real server: pipelines and their errors, prepared statements that go stale or missing,
// servers that go away.
#include "postgres/connection.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

#include "base/reserved_port.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::postgres {
namespace {

using testing::PostgresServer;
using testing::shared_server;

std::unique_ptr<Connection> connect(const std::string& url, const ConnectOptions& defaults = {}) {
  ConnectOptions options = defaults;
  options.url = url;
  auto connection = Connection::connect(options);
  EXPECT_TRUE(connection) << connection.error().message;
  return connection ? std::move(*connection) : nullptr;
}

class PostgresConnection : public ::testing::Test {
 protected:
  /// The single value of a statement.
  std::string value(std::string_view sql, std::span<const Parameter> parameters = {}) {
    auto rows = db->query(sql, parameters);
    EXPECT_TRUE(rows) << sql << ": " << db->error_text();
    return rows && rows->size() == 1 ? std::string(rows->text(0, 0)) : "(none)";
  }

  std::string url = shared_server().create_database();
  std::unique_ptr<Connection> db = connect(url);
};

TEST_F(PostgresConnection, ReadsValuesOfEachKind) {
  auto rows =
      db->query("SELECT 12::bigint, true, NULL::text, 'ä'::text, $1::bytea", std::array<Parameter, 1>{"\\x00ff"});
  ASSERT_TRUE(rows) << db->error_text();
  ASSERT_EQ(rows->size(), 1);
  ASSERT_EQ(rows->columns(), 5);
  EXPECT_EQ(rows->integer(0, 0), 12);
  EXPECT_TRUE(rows->boolean(0, 1));
  EXPECT_TRUE(rows->is_null(0, 2));
  EXPECT_EQ(rows->text(0, 2), "");
  EXPECT_EQ(rows->text(0, 3), "ä");
  EXPECT_EQ(rows->text(0, 4), "\\x00ff");
  EXPECT_EQ(rows->integer(0, 3), 0);
}

TEST_F(PostgresConnection, SetsItsSessionWhateverTheRoleSays) {
  auto& server = shared_server();
  server.sql("postgres",
             "DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN; ALTER ROLE odd SET timezone = 'Asia/Tokyo'; ALTER ROLE "
             "odd SET datestyle = 'German';"
             "ALTER ROLE odd SET bytea_output = 'escape'; ALTER ROLE odd SET extra_float_digits = 0;"
             "ALTER ROLE odd SET client_encoding = 'LATIN1'; ALTER ROLE odd SET statement_timeout = 1");
  ConnectOptions options;
  options.statement_timeout = std::chrono::milliseconds(7'000);
  options.lock_timeout = std::chrono::milliseconds(2'500);
  db = connect(url + "?user=odd", options);
  ASSERT_TRUE(db);
  EXPECT_EQ(value("SELECT current_user"), "odd");
  EXPECT_EQ(value("SELECT '2026-01-02T03:04:05Z'::timestamptz"), "2026-01-02 03:04:05+00");
  EXPECT_EQ(value("SELECT '\\x00'::bytea"), "\\x00");
  EXPECT_EQ(value("SELECT 0.1::float8 + 0.2::float8"), "0.30000000000000004");
  EXPECT_EQ(value("SELECT 'ä€'::text"), "ä€");
  EXPECT_EQ(value("SHOW statement_timeout"), "7s");
  EXPECT_EQ(value("SHOW lock_timeout"), "2500ms");
  EXPECT_EQ(value("SHOW idle_in_transaction_session_timeout"), "15s");
  EXPECT_EQ(value("SHOW application_name"), "nizhal");
}

TEST_F(PostgresConnection, SendsAWholeTransactionInOneRoundTrip) {
  ASSERT_TRUE(db->execute("CREATE TABLE note (id int PRIMARY KEY)"));
  db->queue("BEGIN");
  const auto written = db->queue("INSERT INTO note VALUES ($1), ($2)", std::array<Parameter, 2>{"1", "2"});
  const auto read = db->queue("SELECT count(*) FROM note");
  db->queue("COMMIT");
  ASSERT_TRUE(db->finish()) << db->error_text();
  auto count = db->take(read);
  ASSERT_TRUE(count);
  EXPECT_EQ(count->integer(0, 0), 2);
  EXPECT_EQ(db->take(written)->affected(), 2U);
  EXPECT_FALSE(db->in_transaction());
  EXPECT_EQ(db->take(read).error().code, ErrorCode::internal) << "an answer is taken once";
}

TEST_F(PostgresConnection, RunsNothingBehindAnErrorAndGoesOnAfterARollback) {
  ASSERT_TRUE(db->execute("CREATE TABLE note (id int PRIMARY KEY)"));
  db->queue("BEGIN");
  const auto first = db->queue("SELECT 41");
  const auto wrong = db->queue("INSERT INTO note VALUES ($1), ($1)", std::array<Parameter, 1>{"5"});
  const auto after = db->queue("INSERT INTO note VALUES (6)");
  const auto finished = db->finish();
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, ErrorCode::constraint_violated);
  EXPECT_EQ(db->sqlstate(), "23505");
  EXPECT_EQ(db->error_table(), "note");
  EXPECT_EQ(db->error_schema(), "public");
  EXPECT_EQ(db->error_constraint(), "note_pkey");
  EXPECT_NE(db->error_text().find("duplicate key"), std::string::npos);
  EXPECT_EQ(finished.error().message.find('5', finished.error().message.find(')')), std::string::npos)
      << "no value of a row: " << finished.error().message;
  EXPECT_EQ(db->take(first)->integer(0, 0), 41) << "what came before has its answer";
  EXPECT_EQ(db->take(wrong).error().code, ErrorCode::constraint_violated);
  EXPECT_EQ(db->take(after).error().code, ErrorCode::constraint_violated);
  EXPECT_TRUE(db->is_open());
  EXPECT_TRUE(db->in_transaction());
  EXPECT_TRUE(db->transaction_failed());
  ASSERT_TRUE(db->query("ROLLBACK"));
  EXPECT_FALSE(db->in_transaction());
  EXPECT_EQ(value("SELECT count(*) FROM note"), "0");
  EXPECT_TRUE(db->query("INSERT INTO note VALUES (6)")) << "a statement that was skipped is prepared when it is needed";
}

TEST_F(PostgresConnection, RollsBackToASavepointInTheMiddleOfAPipeline) {
  ASSERT_TRUE(db->execute("CREATE TABLE note (id int PRIMARY KEY)"));
  db->queue("BEGIN");
  db->queue("INSERT INTO note VALUES (1)");
  db->queue("SAVEPOINT a");
  ASSERT_FALSE(db->query("INSERT INTO note VALUES (1)"));
  db->queue("ROLLBACK TO SAVEPOINT a");
  db->queue("INSERT INTO note VALUES (2)");
  db->queue("COMMIT");
  ASSERT_TRUE(db->finish()) << db->error_text();
  EXPECT_EQ(value("SELECT count(*) FROM note"), "2");
}

TEST_F(PostgresConnection, PreparesAStatementOnce) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(value("SELECT $1::int + 1", std::array<Parameter, 1>{"1"}), "2");
  EXPECT_EQ(value("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%int + 1'"), "1");
}

TEST_F(PostgresConnection, KeepsABoundedNumberOfPreparedStatements) {
  for (int i = 0; i < 1'200; ++i) ASSERT_TRUE(db->query("SELECT " + std::to_string(i)));
  auto rows = db->query("SELECT count(*) FROM pg_prepared_statements");
  ASSERT_TRUE(rows);
  EXPECT_LE(rows->integer(0, 0), 512);
}

TEST_F(PostgresConnection, PreparesAnewWhenATablesColumnsHaveChanged) {
  ASSERT_TRUE(db->execute("CREATE TABLE note (id int); INSERT INTO note VALUES (1)"));
  EXPECT_EQ(value("SELECT * FROM note"), "1");
  shared_server().sql(value("SELECT current_database()"), "ALTER TABLE note ALTER id TYPE text");
  const auto stale = db->query("SELECT * FROM note");
  ASSERT_FALSE(stale) << "this version of PostgreSQL replans by itself: the test needs another case";
  EXPECT_EQ(stale.error().code, ErrorCode::busy);
  EXPECT_TRUE(db->is_open());
  EXPECT_EQ(value("SELECT * FROM note"), "1");
}

TEST_F(PostgresConnection, GoesOnWithoutPreparedStatementsWhenTheyAreLost) {
  EXPECT_EQ(value("SELECT 1"), "1");
  EXPECT_TRUE(db->transaction_settings().empty());
  ASSERT_TRUE(db->execute("DISCARD ALL"));
  const auto lost = db->query("SELECT 1");
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::busy);
  EXPECT_EQ(value("SELECT 1"), "1");
  EXPECT_TRUE(db->is_pooled());
  EXPECT_FALSE(db->transaction_settings().empty()) << "the session's settings are gone as well";
  EXPECT_EQ(value("SELECT count(*) FROM pg_prepared_statements"), "0");
}

TEST_F(PostgresConnection, MakesItsSettingsInEachTransactionBehindAPooler) {
  ConnectOptions options;
  options.transaction_pooler = true;
  db = connect(url, options);
  ASSERT_TRUE(db);
  EXPECT_TRUE(db->is_pooled());
  db->queue("BEGIN");
  db->queue(db->transaction_settings());
  EXPECT_EQ(value("SHOW statement_timeout"), "5s");
  EXPECT_EQ(value("SHOW timezone"), "UTC");
  ASSERT_TRUE(db->query("ROLLBACK"));
  EXPECT_EQ(value("SHOW statement_timeout"), "0") << "the session is somebody else's";
  EXPECT_EQ(value("SELECT count(*) FROM pg_prepared_statements"), "0");
}

TEST_F(PostgresConnection, RefusesATextThatPostgresqlCannotHold) {
  ASSERT_TRUE(db->query("BEGIN"));
  ASSERT_TRUE(db->query("SAVEPOINT a"));
  const std::string text("a\0b", 3);
  const auto refused = db->query("SELECT $1::text", std::array<Parameter, 1>{text});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::constraint_violated);
  EXPECT_EQ(db->sqlstate(), "22021");
  EXPECT_TRUE(db->query("ROLLBACK TO SAVEPOINT a"));
}

TEST_F(PostgresConnection, RunsAScriptAndAnswersWithItsLastRows) {
  auto rows = db->execute("CREATE TABLE note (id int); INSERT INTO note VALUES (1), (2); SELECT max(id) FROM note");
  ASSERT_TRUE(rows) << db->error_text();
  EXPECT_EQ(rows->integer(0, 0), 2);
  const auto failed = db->execute("INSERT INTO note VALUES (3); SELECT 1 / 0; INSERT INTO note VALUES (4)");
  ASSERT_FALSE(failed);
  EXPECT_EQ(db->sqlstate(), "22012");
  EXPECT_EQ(value("SELECT max(id) FROM note"), "2") << "a script outside a transaction is one of its own";
  EXPECT_FALSE(db->execute("COPY note FROM STDIN"));
  EXPECT_EQ(value("SELECT max(id) FROM note"), "2") << "and the connection is still good";
}

TEST_F(PostgresConnection, EndsAStatementAtItsTimeout) {
  ConnectOptions options;
  options.statement_timeout = std::chrono::milliseconds(50);
  db = connect(url, options);
  ASSERT_TRUE(db);
  const auto slow = db->query("SELECT pg_sleep(60)");
  ASSERT_FALSE(slow);
  EXPECT_EQ(slow.error().code, ErrorCode::busy);
  EXPECT_EQ(db->sqlstate(), "57014");
  EXPECT_TRUE(db->is_open());
  // On a busy machine this, too, may take longer than that.
  auto quick = db->query("SELECT 1");
  while (!quick && db->sqlstate() == "57014" && db->is_open()) quick = db->query("SELECT 1");
  ASSERT_TRUE(quick) << db->error_text();
  EXPECT_EQ(quick->text(0, 0), "1");
}

TEST_F(PostgresConnection, EndsAWaitForALockAtItsTimeout) {
  ASSERT_TRUE(db->execute("CREATE TABLE note (id int)"));
  ASSERT_TRUE(db->query("BEGIN"));
  ASSERT_TRUE(db->query("LOCK TABLE note"));
  ConnectOptions options;
  options.lock_timeout = std::chrono::milliseconds(50);
  const auto other = connect(url, options);
  ASSERT_TRUE(other);
  const auto waited = other->query("INSERT INTO note VALUES (1)");
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::busy);
  EXPECT_EQ(other->sqlstate(), "55P03");
}

TEST_F(PostgresConnection, GivesUpOnAServerThatDoesNotAnswer) {
  // The statement's timeout is switched off behind the connection's back: the server now stays silent.
  ConnectOptions options;
  options.statement_timeout = std::chrono::milliseconds(50);
  db = connect(url, options);
  ASSERT_TRUE(db);
  ASSERT_TRUE(db->execute("SET statement_timeout = 0"));
  const auto silent = db->query("SELECT pg_sleep(600)");
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().code, ErrorCode::busy);
  EXPECT_FALSE(db->is_open());
  EXPECT_FALSE(db->query("SELECT 1"));
  EXPECT_FALSE(db->reset());
  EXPECT_FALSE(db->execute("SELECT 1"));
  shared_server().sql("postgres", "SELECT pg_terminate_backend(" + std::to_string(db->backend_pid()) + ")");
}

TEST_F(PostgresConnection, GivesUpAtItsDeadline) {
  db->set_deadline(std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
  const auto late = db->query("SELECT pg_sleep(4)");
  ASSERT_FALSE(late) << "the statement's timeout is 5 s";
  EXPECT_EQ(late.error().code, ErrorCode::busy);
  EXPECT_FALSE(db->is_open());
}

TEST_F(PostgresConnection, TellsThatItsSessionWasEnded) {
  ASSERT_TRUE(db->query("BEGIN"));
  shared_server().sql("postgres", "SELECT pg_terminate_backend(" + std::to_string(db->backend_pid()) + ", 60000)");
  const auto lost = db->query("SELECT 1");
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::busy);
  EXPECT_EQ(db->sqlstate(), "57P01") << db->error_text();
  EXPECT_FALSE(db->is_open());
  EXPECT_FALSE(db->in_transaction());
}

TEST_F(PostgresConnection, SeesThatItsIdleSessionWasEnded) {
  EXPECT_TRUE(db->looks_alive());
  shared_server().sql("postgres", "SELECT pg_terminate_backend(" + std::to_string(db->backend_pid()) + ", 60000)");
  EXPECT_FALSE(db->looks_alive());
  EXPECT_FALSE(db->is_open());
}

TEST_F(PostgresConnection, CancelsFromAnotherThread) {
  std::thread canceller([&] {
    while (shared_server().value("postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid = " +
                                                 std::to_string(db->backend_pid())) != "1") {
    }
    db->cancel();
  });
  const auto cancelled = db->query("SELECT pg_sleep(60)");
  canceller.join();
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, ErrorCode::busy);
  EXPECT_TRUE(db->is_open());
  EXPECT_EQ(value("SELECT 1"), "1");
}

TEST_F(PostgresConnection, ResetsWhateverWasGoingOn) {
  ASSERT_TRUE(db->execute("CREATE TABLE note (id int PRIMARY KEY)"));
  EXPECT_TRUE(db->reset());
  db->queue("INSERT INTO note VALUES (1)");
  EXPECT_TRUE(db->reset()) << "queued outside a transaction";
  db->queue("BEGIN");
  db->queue("INSERT INTO note VALUES (1)");
  EXPECT_TRUE(db->reset()) << "queued in one";
  ASSERT_TRUE(db->query("BEGIN"));
  ASSERT_FALSE(db->query("SELECT 1 / 0"));
  EXPECT_TRUE(db->reset()) << "failed";
  ASSERT_TRUE(db->query("BEGIN"));
  db->queue("SELECT 1 / 0");
  EXPECT_TRUE(db->reset()) << "about to fail";
  EXPECT_FALSE(db->in_transaction());
  EXPECT_EQ(value("SELECT count(*) FROM note"), "0");
}

TEST_F(PostgresConnection, CarriesPipelinesLargerThanAllBuffers) {
  ASSERT_TRUE(db->execute("CREATE TABLE note (id int, body text)"));
  const std::string body(200'000, 'x');
  db->queue("BEGIN");
  std::vector<Connection::Ticket> tickets;
  for (int i = 0; i < 60; ++i)
    tickets.push_back(db->queue("INSERT INTO note VALUES ($1, $2) RETURNING body",
                                std::array<Parameter, 2>{std::to_string(i), body}));
  db->queue("COMMIT");
  ASSERT_TRUE(db->finish()) << db->error_text();
  for (const auto ticket : tickets) EXPECT_EQ(db->take(ticket)->text(0, 0).size(), body.size());
}

TEST(PostgresConnect, SaysWhyAServerCannotBeReached) {
  ConnectOptions options;
  const ReservedPort nobody_listens;
  options.url = "postgresql://me:secret@localhost:" + std::to_string(nobody_listens.port()) + "/shop";
  const auto refused = Connection::connect(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unreachable);
  EXPECT_NE(refused.error().message.find("refused"), std::string::npos) << refused.error().message;
  EXPECT_EQ(refused.error().message.find("secret"), std::string::npos) << refused.error().message;

  options.url = shared_server().url("no_such_database");
  const auto missing = Connection::connect(options);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::unreachable);
  EXPECT_NE(missing.error().message.find("\"no_such_database\" does not exist"), std::string::npos)
      << missing.error().message;
  EXPECT_EQ(missing.error().message.find("LOCATION"), std::string::npos) << missing.error().message;

  options.url = shared_server().url() + "?user=nobody_here";
  const auto unknown = Connection::connect(options);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::unauthorized) << unknown.error().message;
}

TEST(PostgresConnect, GivesUpOnAHostThatDoesNotAnswerAndTriesTheNext) {
  // A listening socket that nobody accepts from: the connection is made, and then there is silence.
  const int silent = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(silent, reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(silent, 16), 0);
  ASSERT_EQ(::getsockname(silent, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string port = std::to_string(ntohs(address.sin_port));

  ConnectOptions options;
  options.connect_timeout = std::chrono::milliseconds(200);
  options.url = "postgresql://me@127.0.0.1:" + port + "/postgres";
  const auto nobody = Connection::connect(options);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, ErrorCode::unreachable);

  auto& server = shared_server();
  options.url = "host=127.0.0.1," + server.folder() + " port=" + port + "," + std::to_string(server.port()) +
                " dbname=postgres user=" + server.user();
  options.connect_timeout = std::chrono::seconds(4);  // half of it for each host
  const auto second = Connection::connect(options);
  EXPECT_TRUE(second) << second.error().message;
  ::close(silent);
}

}  // namespace
}  // namespace nizhal::postgres
