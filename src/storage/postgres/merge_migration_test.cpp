// What merging needs in a live database: told when it is missing, mended, unknown to introspection, gone after a reset.
#include <gtest/gtest.h>

#include "storage/postgres/introspection.hpp"
#include "storage/postgres/migration_test_support.hpp"
#include "tests/backends/merge_domain.hpp"

namespace nizhal::storage {
namespace {

struct PostgresMerging : ::testing::Test {
  std::shared_ptr<const CompiledDomain> domain = *CompiledDomain::compile(nizhal::testing::merge_domain());
  MigratedDatabase db;
};

TEST_F(PostgresMerging, ThePlanIsWhatADatabaseIsGiven) {
  PostgresStorageOptions options;
  options.url = db.url;
  const auto migrator = postgres_migrator(options, domain, system_random(), Log());
  db.other.run(migrator->plan());
  EXPECT_EQ(db.differences(domain), Names{});
  EXPECT_EQ(db.migrated(domain), Names{});
  EXPECT_EQ(db.other.query("SELECT c.relname || '.' || a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = "
                           "a.attrelid WHERE a.attname IN ('nizhal_stamps', 'nizhal_recent') AND c.relkind = 'r' ORDER "
                           "BY c.relname, a.attname"),
            (Names{"boards.nizhal_recent", "papers.nizhal_recent", "papers.nizhal_stamps", "settings.nizhal_stamps",
                   "tasks.nizhal_stamps"}));
  EXPECT_EQ(
      db.other.value("SELECT p.proname FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE t.tgname = "
                     "'nizhal_stamp' AND t.tgrelid = 'remarks'::regclass"),
      "stamp");
}

TEST_F(PostgresMerging, AMissingColumnIsToldAndMadeAnew) {
  db.migrated(domain);
  const std::string epoch = db.epoch();
  db.other.run(
      "INSERT INTO settings (id, value) VALUES ('s1', 'v'); ALTER TABLE papers DROP COLUMN nizhal_recent;"
      "ALTER TABLE settings DROP COLUMN nizhal_stamps");
  EXPECT_EQ(db.differences(domain), (Names{"+table \"papers\", column \"nizhal_recent\" is missing",
                                           "+table \"settings\", column \"nizhal_stamps\" is missing"}));
  EXPECT_EQ(db.migrated(domain), (Names{"table \"papers\" has the engine's column \"nizhal_recent\" from now on",
                                        "table \"settings\" has the engine's column \"nizhal_stamps\" from now on"}));
  EXPECT_EQ(db.epoch(), epoch);
  EXPECT_EQ(db.other.value("SELECT value || nizhal_stamps FROM settings"), "v");
}

TEST_F(PostgresMerging, ADisabledTriggerIsToldAndStampsOfBeforeStay) {
  db.migrated(domain);
  db.other.run(
      "INSERT INTO settings (id, value) VALUES ('s1', 'v'); ALTER TABLE settings DISABLE TRIGGER nizhal_stamp");
  const std::string stamps = db.other.value("SELECT nizhal_stamps FROM settings");
  EXPECT_TRUE(has_part(db.differences(domain), "table \"settings\", trigger \"nizhal_stamp\" is disabled"));
  db.migrated(domain);
  EXPECT_EQ(db.other.value("SELECT nizhal_stamps FROM settings"), stamps);
  db.other.run("UPDATE settings SET value = 'w'");
  EXPECT_NE(db.other.value("SELECT nizhal_stamps FROM settings"), stamps);
}

TEST_F(PostgresMerging, TheEnginesColumnsAreNoneOfTheUsers) {
  db.migrated(domain);
  auto schema = introspect_postgres({.url = db.url}, {"papers"});
  ASSERT_TRUE(schema.has_value()) << schema.error().message;
  Names columns;
  for (const IntrospectedColumn& column : schema->tables.front().columns) columns.push_back(column.name);
  EXPECT_EQ(columns, (Names{"id", "owner_id", "title", "text"}));
  EXPECT_EQ(schema->tables.front().columns[3].type, ColumnType::blob);

  PostgresStorageOptions options;
  options.url = db.url;
  ASSERT_TRUE(postgres_migrator(options, domain, system_random(), Log())->reset().has_value());
  EXPECT_EQ(db.other.value("SELECT count(*) FROM pg_attribute WHERE attname LIKE 'nizhal%' AND NOT attisdropped"), "0");
  EXPECT_EQ(db.other.value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'nizhal%'"), "0");
}

}  // namespace
}  // namespace nizhal::storage
