// Whether grants have moved, as a commit tells it.
#include "storage/postgres/grants_standing.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <future>

#include "../../../examples/notes/notes.hpp"
#include "storage/postgres/test_database.hpp"

namespace nizhal::storage {
namespace {

using pg::GrantsStanding;
using Mark = std::optional<std::uint64_t>;

TEST(GrantsStandingTest, TellsTheMarkOnlyWhenEveryChangeWasThereAtTheLastLook) {
  GrantsStanding standing;
  const GrantsStanding::Time start{};
  const auto at = [start](int second) { return start + std::chrono::seconds(second); };
  EXPECT_FALSE(standing.unsettled_after()) << "nobody has looked";
  EXPECT_EQ(standing.mark(at(0), {}), Mark());
  standing.looked(at(10), 3, Version{100}, {105, 107});
  EXPECT_EQ(standing.unsettled_after(), Version{100});
  EXPECT_EQ(standing.mark(at(0), {}), Mark(3));
  EXPECT_EQ(standing.mark(at(0), {Version{105}, Version{107}}), Mark(3));
  EXPECT_EQ(standing.mark(at(0), {Version{99}}), Mark(3)) << "settled by a look that came after the reading began";
  EXPECT_EQ(standing.mark(at(0), {Version{105}, Version{106}}), Mark());
  EXPECT_EQ(standing.mark(at(10), {}), Mark()) << "a connection of after a crash, as far as anybody knows";
  standing.lost();
  EXPECT_EQ(standing.mark(at(0), {}), Mark());
  EXPECT_FALSE(standing.unsettled_after());
}

struct GrantsAtCommit : ::testing::Test {
  TestDatabase db{notes::domain()};
  int pushed = 0;

  std::unique_ptr<WriteTransaction> begin() {
    auto transaction = db.write();
    EXPECT_TRUE(*transaction->insert(db.domain->table(0), {"n" + std::to_string(++pushed), "o1", ""}));
    return transaction;
  }
  Mark commit(WriteTransaction& transaction) {
    const auto committed = transaction.commit();
    EXPECT_TRUE(committed) << (committed ? "" : committed.error().message);
    return transaction.grants_mark();
  }
  void member(const std::string& id, const std::string& user) {
    db.other->run("INSERT INTO team_members (id, user_id, team_id) VALUES ('" + id + "', '" + user + "', 't1')");
  }
};

TEST_F(GrantsAtCommit, ACommitTellsTheMarkOfTheLastLookUntilSomebodyChangesAGrant) {
  EXPECT_EQ(commit(*begin()), Mark()) << "nobody has looked";
  const ChangeMark first = db.mark();
  EXPECT_EQ(commit(*begin()), Mark(first.grants));
  member("m1", "u1");
  EXPECT_EQ(commit(*begin()), Mark()) << "another program";
  const ChangeMark second = db.mark();
  EXPECT_NE(second.grants, first.grants);
  EXPECT_EQ(commit(*begin()), Mark(second.grants));
  auto own = db.write();
  ASSERT_TRUE(*own->remove(*db.domain->domain().find_table("team_members"), "m1"));
  EXPECT_EQ(commit(*own), Mark()) << "its own";
  own.reset();
  EXPECT_EQ(commit(*begin()), Mark());
  EXPECT_EQ(commit(*begin()), Mark(db.mark().grants));
}

TEST_F(GrantsAtCommit, AChangeThatIsNotCommittedIsNoneYet) {
  commit(*begin());
  const ChangeMark mark = db.mark();
  OtherProgram slow(db.url);
  slow.run("BEGIN; INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 't1')");
  EXPECT_EQ(commit(*begin()), Mark(mark.grants));
  db.mark();
  EXPECT_EQ(commit(*begin()), Mark(mark.grants));
  slow.run("COMMIT");
  EXPECT_EQ(commit(*begin()), Mark());
  EXPECT_EQ(commit(*begin()), Mark()) << "until somebody looks";
  const ChangeMark after = db.mark();
  EXPECT_NE(after.grants, mark.grants);
  EXPECT_EQ(commit(*begin()), Mark(after.grants));
}

// Anything that is read inside the transaction, its last statement included, would be too old.
TEST_F(GrantsAtCommit, ARevocationThatCommitsBeforeThePushDoesIsSeenHoweverLateInItsTransaction) {
  member("m1", "u1");
  PostgresStorageOptions options;
  options.url = db.url;
  options.statement_timeout = options.lock_timeout = std::chrono::minutes(5);
  db.storage = std::move(*open_postgres_storage(options, db.domain, system_random(), Log()));
  commit(*begin());
  const ChangeMark mark = db.mark();
  EXPECT_EQ(commit(*begin()), Mark(mark.grants));
  // At the COMMIT, when everything else has run, the push is made to wait.
  OtherProgram holder(db.url), observer(db.url);
  holder.run("SELECT pg_advisory_lock(42)");
  db.other->run(
      "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS "
      "'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';"
      "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
      "EXECUTE FUNCTION wait_at_commit()");
  auto transaction = begin();
  auto told = std::async(std::launch::async, [&] { return commit(*transaction); });
  const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (std::chrono::steady_clock::now() < until &&
         observer.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted") !=
             "1") {
  }
  db.other->run("DELETE FROM team_members WHERE id = 'm1'");
  holder.run("SELECT pg_advisory_unlock(42)");
  EXPECT_EQ(told.get(), Mark());
}

TEST_F(GrantsAtCommit, AfterTheServerWasLostNothingIsToldUntilTheNextLook) {
  testing::PostgresServer server;
  TestDatabase own(notes::domain(), server);
  auto push = [&, id = 0]() mutable -> Mark {
    auto transaction = own.write();
    EXPECT_TRUE(*transaction->insert(own.domain->table(0), {"n" + std::to_string(++id), "o1", ""}));
    return commit(*transaction);
  };
  push();
  const ChangeMark mark = own.mark();
  EXPECT_EQ(push(), Mark(mark.grants));
  own.other.reset();
  server.kill_hard();
  server.start();
  // The connection that broke is replaced by one that knows nothing of before.
  std::optional<std::unique_ptr<WriteTransaction>> transaction;
  for (int attempt = 0; attempt < 3 && !transaction; ++attempt)
    if (auto begun = own.storage->write(Timestamp{1'000'000})) transaction = *std::move(begun);
  ASSERT_TRUE(transaction);
  EXPECT_EQ(commit(**transaction), Mark());
}

}  // namespace
}  // namespace nizhal::storage
