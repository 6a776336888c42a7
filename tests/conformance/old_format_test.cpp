// A database that an older version has made, on both kinds.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "tests/backends/office_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

struct OldFormatTest : OnEveryBackend {
  TestDatabase db{GetParam(), office_domain()};

  /// Takes away what format 3 brought.
  void make_format_2() {
    for (const auto& [table, column] : {std::pair{"mutation", "conflicts"}, {"state", "recent_pruned_through"}})
      db.other->run("ALTER TABLE " + db.engine(table) + " DROP COLUMN " + column);
    db.other->run("UPDATE " + db.engine("state") + " SET format = 2");
  }

  /// And what format 2 brought.
  void make_format_1() {
    make_format_2();
    if (db.backend->is_sqlite()) {
      for (const std::string& index :
           db.other->query("SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'nizhal_version:%'"))
        db.other->run("DROP INDEX \"" + index + "\"");
      db.other->run(
          "DROP INDEX nizhal_removal_version; DROP TRIGGER nizhal_grant_gained; DROP TRIGGER nizhal_grant_lost;"
          "DROP TABLE nizhal_grant_change; ALTER TABLE nizhal_state DROP COLUMN changes_pruned_through;"
          "CREATE TRIGGER nizhal_grant_gained AFTER INSERT ON nizhal_grant BEGIN\n"
          "  UPDATE nizhal_state SET grants_version = version;\nEND;"
          "CREATE TRIGGER nizhal_grant_lost AFTER DELETE ON nizhal_grant BEGIN\n"
          "  UPDATE nizhal_state SET grants_version = version;\nEND;"
          "UPDATE nizhal_state SET format = 1");
      return;
    }
    for (const std::string& index :
         db.other->query("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'nizhal_version:%'"))
      db.other->run("DROP INDEX \"" + index + "\"");
    db.other->run(
        "DROP INDEX nizhal.removal_version; ALTER TABLE nizhal.state DROP COLUMN changes_pruned_through;"
        "ALTER TABLE nizhal.grant_change DROP CONSTRAINT grant_change_pkey, DROP COLUMN definition, "
        "DROP COLUMN subject, ADD PRIMARY KEY (version);"
        "DO $$ DECLARE f regproc; BEGIN FOREACH f IN ARRAY ARRAY['nizhal.gain_grant', 'nizhal.lose_grant']::regproc[] "
        "LOOP EXECUTE replace(pg_get_functiondef(f), 'VALUES ($4, $1, $2)', 'VALUES ($4)'); END LOOP; END $$;"
        "UPDATE nizhal.state SET format = 1");
  }
};
INSTANTIATE_TEST_SUITE_P(On, OldFormatTest, every_backend(), kind_name);

TEST_P(OldFormatTest, Format1IsBroughtForwardWithoutANewEpoch) {
  make_format_1();
  db.other->run("INSERT INTO clerks (id, user_id, shop, region) VALUES ('k1', 'u1', 1, 'n')");
  db.other->run("INSERT INTO orders (id, shop, region, state) VALUES (1, 1, 'n', 'a')");
  if (!db.backend->is_sqlite()) {
    const auto refused = db.backend->open(db.domain)->provision();
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find("has format 1, and this program's is 3"), std::string::npos)
        << refused.error().message;
  }
  const std::string epoch = db.other->value("SELECT epoch FROM " + db.engine("state"));
  const auto changes = db.backend->fit(db.domain);
  ASSERT_TRUE(changes.has_value()) << changes.error().message;
  EXPECT_EQ(std::count(changes->begin(), changes->end(), "the engine's tables have format 3 now"), 1);
  const auto again = db.backend->fit(db.domain);
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(*again, Names{});
  EXPECT_EQ(db.other->value("SELECT epoch FROM " + db.engine("state")), epoch);

  const auto storage = db.backend->open(db.domain);
  ASSERT_TRUE(storage->provision().has_value());
  const auto before = storage->position();
  ASSERT_TRUE(before.has_value()) << before.error().message;
  EXPECT_EQ(db.rows("r/1/n"), Names{"orders/1"});
  EXPECT_EQ(db.grants("u1").count("r/1/n"), 1u);
  db.other->run("UPDATE orders SET state = 'b' WHERE id = 1");
  db.other->run("DELETE FROM clerks WHERE id = 'k1'");
  const auto told = storage->changes_since(*storage->position(),
                                           {.after = before->horizon, .rows_max = 10, .actors = {}, .client_ids = {}});
  ASSERT_TRUE(told.has_value() && told->has_value()) << (told ? "" : told.error().message);
  ASSERT_EQ((*told)->rows.size(), 1u);
  EXPECT_EQ((*told)->rows.front().row.key, "1");
  ASSERT_EQ((*told)->grant_changes.size(), 1u);
  EXPECT_EQ((*told)->grant_changes.front().subject, "u1");
}

TEST_P(OldFormatTest, Format2KeepsItsRecordsAndIsBroughtForwardWithoutANewEpoch) {
  const Actor actor{"u1", "o1", ""};
  {
    const auto transaction = db.write();
    storage::MutationRecord record;
    record.client_mutation_id = "m1";
    record.user_id = "u1";
    record.owner_id = "o1";
    record.applied = true;
    ASSERT_TRUE(transaction->put_mutation(record).has_value());
    ASSERT_TRUE(transaction->commit().has_value());
  }
  make_format_2();
  const std::string epoch = db.other->value("SELECT epoch FROM " + db.engine("state"));
  const auto changes = db.backend->fit(db.domain);
  ASSERT_TRUE(changes.has_value()) << changes.error().message;
  EXPECT_EQ(*changes, Names{"the engine's tables have format 3 now"});
  EXPECT_EQ(db.other->value("SELECT epoch FROM " + db.engine("state")), epoch);
  const auto record = db.backend->open(db.domain)->write(Timestamp{1}).value()->mutation(actor, "m1");
  ASSERT_TRUE(record.has_value() && record->has_value());
  EXPECT_EQ((*record)->conflicts, "");
}

}  // namespace
}  // namespace nizhal::testing
