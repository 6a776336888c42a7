// Recent updates of rows that nobody has changed for long, on both kinds of database.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/backends/merge_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

struct RecentGcTest : OnEveryBackend {
  TestDatabase db{GetParam(), merge_domain()};
  const TableDef& boards = *db.domain->domain().find_table("boards");

  /// As a push does: rows with their updates, and a record of it.
  void push(const std::string& prefix, int rows, std::int64_t now_us) {
    const auto transaction = db.write(now_us, storage::WriteMode::pipelined);
    for (int i = 0; i < rows; ++i) {
      const std::string id = prefix + std::to_string(i);
      const Row row{id, "o1", "name", Blob{{0, 0}}};
      ASSERT_TRUE(transaction->insert_merged(boards, row, {"", "recent of " + id}).value_or(false));
    }
    storage::AuditRow audit;
    audit.user_id = "u1";
    audit.owner_id = "o1";
    audit.client_mutation_id = prefix;
    audit.mutator = "draw";
    audit.outcome = "applied";
    audit.changes = "[]";
    ASSERT_TRUE(transaction->put_audit(audit).has_value());
    ASSERT_TRUE(transaction->commit().has_value());
  }
  std::string full() { return db.other->value("SELECT count(*) FROM boards WHERE length(nizhal_recent) > 0"); }
  std::vector<std::string> versions() {
    return db.other->query("SELECT id, nizhal_version, name FROM boards ORDER BY id");
  }
  std::uint64_t gc(std::int64_t before) {
    const auto report = db.storage->gc(Timestamp{before});
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message);
    return report ? report->recent : 0;
  }
};
INSTANTIATE_TEST_SUITE_P(On, RecentGcTest, every_backend(), kind_name);

TEST_P(RecentGcTest, EmptiesWhatIsOlderAndNothingElseChanges) {
  push("a", 3, 100);
  push("b", 2, 500);
  const auto before = versions();
  const auto mark = *db.storage->change_mark();
  const std::string removals = db.other->value("SELECT count(*) FROM " + db.engine("removal"));
  EXPECT_EQ(gc(300), 3u);
  EXPECT_EQ(full(), "2");
  EXPECT_EQ(versions(), before);
  const auto mark_after = *db.storage->change_mark();
  EXPECT_EQ(mark_after.last, mark.last);
  EXPECT_EQ(mark_after.grants, mark.grants);
  EXPECT_EQ(db.other->value("SELECT count(*) FROM " + db.engine("removal")), removals);
  EXPECT_EQ(db.other->value("SELECT count(*) FROM boards WHERE id LIKE 'a%' AND length(nizhal_recent) > 0"), "0");
  // It goes on from there, and a row that is written again is a young one.
  EXPECT_EQ(gc(300), 0u);
  push("c", 1, 600);
  EXPECT_EQ(gc(550), 2u);
  EXPECT_EQ(full(), "1");
  EXPECT_EQ(db.rows("o1").size(), 6u);
}

TEST_P(RecentGcTest, ManyRowsGoInSeveralBatches) {
  for (int i = 0; i < 4; ++i) push(std::string(1, static_cast<char>('a' + i)), 300, 100 + i);
  push("young", 1, 900);
  EXPECT_EQ(gc(800), 1'200u);
  EXPECT_EQ(full(), "1");
}

TEST_P(RecentGcTest, ATableWhoseRowsAUsersTriggerMightChangeStaysAsItIs) {
  push("a", 2, 100);
  push("b", 1, 500);
  db.other->run(db.backend->refusing_trigger("theirs", "UPDATE", "boards", "old.name = 'name'"));
  const auto before = versions();
  EXPECT_EQ(gc(300), 0u);
  EXPECT_EQ(full(), "3");
  EXPECT_EQ(versions(), before);
}

}  // namespace
}  // namespace nizhal::testing
