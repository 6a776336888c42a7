// Migrations of databases that nobody uses meanwhile: what is created, what counts as a difference, what mends it.
#include "storage/postgres/migration.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <future>

#include "storage/postgres/migration_test_support.hpp"
#include "storage/postgres/table_ddl.hpp"
#include "tests/backends/office_domain.hpp"

namespace nizhal::storage {
namespace {

using Items = ShopVersion::Items;
using testing::office_domain;

void run_plan(MigratedDatabase& db, const CompiledDomain& domain, const std::string& name) {
  const std::string path = testing::shared_server().folder() + "/" + name;
  std::ofstream(path) << postgres_schema::plan_text(domain);
  testing::shared_server().run({"psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", db.url, "-f", path});
}

TEST(PostgresPlan, RunByPsqlItGivesWhatApplyGives) {
  MigratedDatabase db;
  auto office = CompiledDomain::compile(office_domain());
  ASSERT_TRUE(office.has_value());
  run_plan(db, **office, "plan.sql");
  EXPECT_EQ(db.differences(*office), Names{});
  const auto report = db.migrate(*office);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_TRUE(report->changes.empty());
  EXPECT_FALSE(report->created);
  db.other.run("INSERT INTO docs (id, owner_id) VALUES ('d', 'o'); DELETE FROM docs");
  EXPECT_EQ(db.other.value("SELECT count(*) FROM nizhal.removal"), "1");
}

TEST(PostgresPlan, IsTheSameForTheSameDomainAndSaysWhatEachTableIsFor) {
  const std::string plan = postgres_schema::plan_text(*shop_domain());
  EXPECT_EQ(plan, postgres_schema::plan_text(*shop_domain()));
  EXPECT_NE(plan.find("-- Table \"members\": grants buckets, not delivered"), std::string::npos);
  EXPECT_NE(plan.find("-- Table \"items\": delivered to devices"), std::string::npos);
  EXPECT_EQ(plan.find("public"), std::string::npos);
}

TEST(PostgresMigration, AnEmptyDatabaseIsCreatedAndASecondRunChangesNothing) {
  MigratedDatabase db;
  const auto domain = shop_domain();
  EXPECT_TRUE(has_part(db.differences(domain), "+database has nothing of the engine yet"));
  const auto report = db.migrate(domain);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_TRUE(report->created);
  EXPECT_EQ(db.differences(domain), Names{});
  const std::string epoch = db.epoch();
  EXPECT_EQ(db.migrated(domain), Names{});
  EXPECT_EQ(db.epoch(), epoch);
}

TEST(PostgresMigration, TablesGoWhereTheSearchPathBegins) {
  MigratedDatabase db;
  const auto domain = shop_domain();
  db.other.run("CREATE SCHEMA \"App's \"\"own\"; CREATE SCHEMA late; CREATE TABLE late.notes (x integer)");
  const std::string name = db.other.value("SELECT current_database()");
  db.other.run("ALTER DATABASE \"" + name + "\" SET search_path = \"App's \"\"own\", late, public");
  MigratedDatabase again(db.url);
  again.migrated(domain);
  again.other.run("INSERT INTO notes VALUES ('n', 'o', 'x'); TRUNCATE notes");
  EXPECT_EQ(again.other.value("SELECT count(*) FROM nizhal.removal"), "1");
  again.other.run("SET search_path = late");
  EXPECT_TRUE(has_part(again.differences(domain), "search path begins with \"late\", but synced tables are elsewhere"));
}

/// Something that somebody did to a migrated database, and what check() has to say of it.
struct Damage {
  std::string sql;
  std::string difference;  // a part of one, with its mark; empty: none at all
  bool is_new_epoch = false;
};

TEST(PostgresMigration, EveryDamageIsNamedAndMendedOrLeftToAPerson) {
  MigratedDatabase db;
  const auto domain = shop_domain();
  db.migrated(domain);
  db.other.run("INSERT INTO members VALUES ('m1', 'u1', 'a')");
  const std::vector<Damage> damages = {
      // Not the engine's business.
      {"CREATE INDEX mine ON notes (body)", ""},
      {"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
       "CREATE TRIGGER mine BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION f()",
       ""},
      {"ALTER TABLE notes ADD COLUMN extra text, ADD COLUMN counted integer NOT NULL DEFAULT 7, "
       "ADD COLUMN doubled integer GENERATED ALWAYS AS (length(body) * 2) STORED",
       ""},
      {"CREATE TABLE other (id integer)", ""},
      {"ALTER TABLE notes ADD CHECK (length(body) < 1000)", ""},
      {"ALTER TABLE items ALTER COLUMN name TYPE varchar(2000)", ""},
      {"ALTER TABLE notes ALTER COLUMN body SET DEFAULT 'x'", ""},
      // Synced columns.
      {"ALTER TABLE notes DROP COLUMN body CASCADE", "+table \"notes\", column \"body\" is missing", true},
      {"ALTER TABLE items DROP COLUMN nizhal_version", "+table \"items\", column \"nizhal_version\" is missing"},
      {"DROP TABLE items", "+table \"items\" is missing", true},
      // Triggers and functions.
      {"ALTER TABLE notes DISABLE TRIGGER nizhal_delete",
       "+table \"notes\", trigger \"nizhal_delete\" is disabled, so writes may have gone unseen", true},
      {"ALTER TABLE notes DISABLE TRIGGER ALL", "+table \"notes\", trigger \"nizhal_stamp\" is disabled", true},
      {"ALTER TABLE notes ENABLE REPLICA TRIGGER nizhal_stamp",
       "+table \"notes\", trigger \"nizhal_stamp\" is disabled", true},
      {"DROP TRIGGER nizhal_truncate ON items", "+table \"items\", trigger \"nizhal_truncate\" is missing", true},
      {"CREATE OR REPLACE TRIGGER nizhal_update AFTER UPDATE ON items FOR EACH ROW WHEN (NEW.name = 'x') EXECUTE "
       "FUNCTION nizhal.update_items()",
       "+table \"items\", trigger \"nizhal_update\" is not as the plan has it", true},
      {"CREATE TRIGGER nizhal_more AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION nizhal.insert_members()",
       "+table \"items\", trigger \"nizhal_more\" is not in the plan", true},
      {"CREATE OR REPLACE FUNCTION nizhal.delete_items() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET "
       "search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'",
       "+function nizhal.\"delete_items\"() is not as the plan has it", true},
      {"ALTER FUNCTION nizhal.delete_items() SECURITY INVOKER",
       "+function nizhal.\"delete_items\"() is not as the plan has it", true},
      {"ALTER FUNCTION nizhal.delete_items() RESET search_path",
       "+function nizhal.\"delete_items\"() is not as the plan has it", true},
      {"DROP FUNCTION nizhal.delete_items() CASCADE", "+function nizhal.\"delete_items\"() is missing", true},
      {"CREATE OR REPLACE FUNCTION nizhal.begin_version() RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint'",
       "+function nizhal.begin_version() is not as the plan has it", true},
      {"DROP FUNCTION nizhal.now_us()", "+function nizhal.now_us() is missing", true},
      // Indexes.
      {"DROP INDEX \"nizhal_live:items:shop\"", "+table \"items\", index \"nizhal_live:items:shop\" is missing"},
      {"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"nizhal_live:items:shop\"'::regclass",
       "+table \"items\", index \"nizhal_live:items:shop\" is invalid"},
      {"DROP INDEX \"nizhal_live:items:shop\"; CREATE INDEX \"nizhal_live:items:shop\" ON items (shop, id)",
       "+table \"items\", index \"nizhal_live:items:shop\" is another index"},
      {"DROP INDEX \"nizhal_backfill:items:shop\"; "
       "CREATE INDEX \"nizhal_backfill:items:shop\" ON items (shop, id COLLATE \"und-x-icu\")",
       "+table \"items\", index \"nizhal_backfill:items:shop\" is another index"},
      {"CREATE INDEX \"nizhal_live:items:name\" ON items (name)",
       "+table \"items\", index \"nizhal_live:items:name\" is not in the plan"},
      {"DROP INDEX nizhal.removal_bucket", "+index \"nizhal.removal_bucket\" is missing"},
      // The sequence.
      {"ALTER SEQUENCE nizhal.version_seq CACHE 20", "+sequence \"nizhal.version_seq\" has other settings"},
      {"ALTER SEQUENCE nizhal.version_seq CYCLE", "+sequence \"nizhal.version_seq\" has other settings"},
      {"ALTER SEQUENCE nizhal.version_seq INCREMENT 2", "+sequence \"nizhal.version_seq\" has other settings"},
      {"SELECT setval('nizhal.version_seq', 1)", "+sequence \"nizhal.version_seq\" is at 1, but version", true},
      // What the engine notes.
      {"UPDATE nizhal.synced_table SET ready = false WHERE table_name = 'items'",
       "+table \"items\" has a migration under way or broken off"},
      {"DELETE FROM nizhal.synced_table WHERE table_name = 'items'", "+table \"items\" is not known to the engine yet",
       true},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.sql);
    const std::string epoch = db.epoch();
    db.other.run(damage.sql);
    const Names found = db.differences(domain);
    if (damage.difference.empty()) {
      EXPECT_EQ(found, Names{});
      continue;
    }
    EXPECT_TRUE(has_part(found, damage.difference)) << ::testing::PrintToString(found);
    EXPECT_FALSE(db.migrated(domain).empty());
    EXPECT_EQ(db.epoch() != epoch, damage.is_new_epoch);
  }
  EXPECT_EQ(db.grants(), Names{"u1:shop:a=1"});
  EXPECT_EQ(db.other.value("SELECT count(*) FROM pg_trigger WHERE tgname = 'mine'"), "1");
}

TEST(PostgresMigration, WhatAPersonHasToDecideIsRefusedWithItsFixAndNothingChanges) {
  const std::vector<Damage> damages = {
      {"DROP TABLE items; CREATE VIEW items AS SELECT 1", " table \"items\" is no plain table"},
      {"DROP TABLE items; CREATE TABLE items (id text, shop text, name text) PARTITION BY LIST (shop)",
       " table \"items\" is partitioned"},
      {"DROP TABLE items; CREATE UNLOGGED TABLE items (id text PRIMARY KEY, shop text NOT NULL, name text NOT NULL)",
       " table \"items\" is not kept over a crash"},
      {"CREATE TABLE child () INHERITS (items)", " table \"items\" has parents or children"},
      {"ALTER TABLE items ALTER COLUMN name TYPE integer USING 0",
       " table \"items\", column \"name\" is text in the domain but integer in the database"},
      {"ALTER TABLE items ALTER COLUMN name TYPE char(5)", "but character(5) in the database"},
      {"ALTER TABLE items ALTER COLUMN name DROP NOT NULL", " table \"items\", column \"name\" is never null in"},
      {"ALTER TABLE items ADD COLUMN must text NOT NULL",
       " table \"items\", column \"must\" is NOT NULL without a default in the database and not declared"},
      {"ALTER TABLE items DROP CONSTRAINT items_pkey",
       " table \"items\", column \"id\" is the key in the domain, but not"},
      {"ALTER TABLE items DROP CONSTRAINT items_pkey; CREATE UNIQUE INDEX ON items (id) WHERE shop = 'a'",
       " table \"items\", column \"id\" is the key in the domain, but not"},
      {"ALTER TABLE items DROP COLUMN id", " table \"items\", column \"id\" is the key in the domain and missing"},
      {"CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false); "
       "ALTER TABLE items ALTER COLUMN shop TYPE text COLLATE blind",
       " table \"items\", column \"shop\" has a nondeterministic collation"},
      {"ALTER TABLE items ALTER COLUMN nizhal_version TYPE integer",
       " table \"items\", column \"nizhal_version\" is not"},
      {"DROP TABLE nizhal.removal", " table \"nizhal.removal\" is missing"},
      {"ALTER TABLE nizhal.audit DROP COLUMN buckets", " table \"nizhal.audit\", column \"buckets\" is missing"},
      {"ALTER TABLE nizhal.bucket_grant DROP CONSTRAINT bucket_grant_pkey",
       " table \"nizhal.bucket_grant\" has no unique"},
      {"DROP SEQUENCE nizhal.version_seq", " sequence \"nizhal.version_seq\" is missing"},
      {"UPDATE nizhal.state SET domain = 'office'", " database belongs to the domain \"office\", not to \"shop\""},
      {"UPDATE nizhal.state SET format = 99",
       " schema \"nizhal\" was made by a newer Nizhal (format 99, this one knows"},
      {"DROP TABLE nizhal.state", " schema \"nizhal\" is there without the engine's tables"},
  };
  const auto domain = shop_domain();
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.sql);
    MigratedDatabase db;
    db.migrated(domain);
    db.other.run(damage.sql);
    const Names found = db.differences(domain);
    EXPECT_TRUE(has_part(found, damage.difference)) << ::testing::PrintToString(found);
    for (const bool allow_breaking : {false, true}) {
      const auto report = db.migrate(domain, allow_breaking);
      ASSERT_FALSE(report.has_value());
      EXPECT_EQ(report.error().code, ErrorCode::schema_mismatch);
      EXPECT_NE(report.error().message.find(damage.difference.substr(1)), std::string::npos) << report.error().message;
    }
    EXPECT_EQ(db.differences(domain), found);
  }
}

TEST(PostgresMigration, ServersCreateAnEmptyDatabaseAndRefuseOneThatDoesNotFit) {
  MigratedDatabase db;
  const auto domain = shop_domain();
  std::vector<std::future<bool>> servers;
  for (int i = 0; i < 4; ++i)
    servers.push_back(std::async(std::launch::async, [&db, &domain] {
      OtherProgram server(db.url);
      const auto report = provision_database(server.connection(), *domain, system_random(), Log());
      EXPECT_TRUE(report.has_value()) << report.error().message;
      return report && report->created;
    }));
  int created = 0;
  for (auto& server : servers) created += server.get() ? 1 : 0;
  EXPECT_EQ(created, 1) << "one creates, the others find it done";
  db.other.run("ALTER TABLE notes DROP COLUMN body");
  const auto refused = provision_database(db.other.connection(), *domain, system_random(), Log());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::schema_mismatch);
  EXPECT_NE(refused.error().message.find("table \"notes\", column \"body\" is missing"), std::string::npos);
  EXPECT_TRUE(refused.error().message.ends_with("nizhal migrate --domain … --db …")) << refused.error().message;

  MigratedDatabase old;
  old.other.run(kOldShop);
  EXPECT_FALSE(provision_database(old.other.connection(), *domain, system_random(), Log()).has_value())
      << "tables that are there are a migration's business";
  EXPECT_EQ(old.other.value("SELECT to_regnamespace('nizhal') IS NULL"), "t");
}

TEST(PostgresMigration, AdditiveChangesOfTheDomainAreMadeInPlace) {
  MigratedDatabase db;
  db.migrated(shop_domain());
  db.other.run("INSERT INTO items VALUES ('i1', 'a', 'x'); INSERT INTO members VALUES ('m1', 'u1', 'a')");
  const std::string epoch = db.epoch();
  const Names noted = db.migrated(shop_domain({.items = Items::with_note}));
  EXPECT_EQ(noted, Names{"added column \"note\" to table \"items\""});
  db.migrated(shop_domain({.version = "2.0.0", .items = Items::with_note}));
  EXPECT_EQ(db.other.value("SELECT note IS NULL FROM items"), "t");
  EXPECT_EQ(db.epoch(), epoch);
  EXPECT_EQ(db.other.value("SELECT min_client_version FROM nizhal.state"), "");

  MigratedDatabase counted;
  counted.migrated(shop_domain());
  counted.other.run("INSERT INTO items VALUES ('i1', 'a', 'x')");
  counted.migrated(shop_domain({.items = Items::with_counted}));
  EXPECT_EQ(counted.other.value("SELECT counted FROM items"), "0");
}

TEST(PostgresMigration, ATableThatIsDeliveredFromNowOnStartsToBeTracked) {
  MigratedDatabase db;
  db.migrated(shop_domain());
  db.other.run("INSERT INTO members VALUES ('m1', 'u1', 'a')");
  const std::string epoch = db.epoch();
  db.migrated(shop_domain({.delivers_members = true}));
  EXPECT_EQ(db.epoch(), epoch) << "no device ever had the table";
  EXPECT_EQ(db.grants(), Names{"u1:shop:a=1"});
  db.other.run("DELETE FROM members");
  EXPECT_EQ(db.other.query("SELECT bucket FROM nizhal.removal"), Names{"me:u1"});
  db.migrated(shop_domain());
  EXPECT_EQ(db.epoch(), epoch);
  db.migrated(shop_domain({.delivers_members = true}));
  EXPECT_NE(db.epoch(), epoch) << "a device may have slept over what went unrecorded";
}

TEST(PostgresMigration, ANewDefinitionOnACountedMembershipTableIsCountedAtOnceAndAnOldOneIsLost) {
  MigratedDatabase db;
  db.migrated(shop_domain());
  db.other.run("INSERT INTO members VALUES ('m1', 'u1', 'a'), ('m2', 'u1', 'a'), ('m3', 'u2', 'b')");
  const std::string before = db.other.value("SELECT last_value FROM nizhal.version_seq");
  db.migrated(shop_domain({.shares_items_by_name = true}));
  EXPECT_EQ(db.grants(), (Names{"u1:shop:a=2", "u1:staff:a=2", "u2:shop:b=1", "u2:staff:b=1"}));
  EXPECT_EQ(db.other.value("SELECT count(*) FROM nizhal.grant_change WHERE version > " + before), "1");
  EXPECT_EQ(
      db.other.value("SELECT bool_and((gained > " + before + ") = (bucket LIKE 'staff:%')) FROM nizhal.bucket_grant"),
      "t");
  db.other.run("DELETE FROM members WHERE id = 'm1'");
  const Names changes = db.migrated(shop_domain());
  EXPECT_TRUE(has_part(changes, "no longer declared are lost"));
  EXPECT_EQ(db.grants(), (Names{"u1:shop:a=1", "u2:shop:b=1"}));
}

struct Breaking {
  ShopVersion to;
  std::string difference;
  std::string sentence;
  std::string check;  // true afterwards
};

TEST(PostgresMigration, BreakingChangesNeedToBeAllowedAndEndTheWritingOfOldClients) {
  const std::vector<Breaking> cases = {
      {{.version = "2.0.0", .items = Items::without_name},
       "!table \"items\", column \"name\" was declared at the last migration and is not any more",
       "column \"name\" of table \"items\" is no longer synced; it stays in the database",
       "SELECT (SELECT name FROM items) = '12' AND (SELECT NOT attnotnull FROM pg_attribute WHERE attrelid = "
       "'items'::regclass AND attname = 'name')"},
      {{.version = "2.0.0", .items = Items::name_is_number},
       "!table \"items\", column \"name\" is integer in the domain but text in the database",
       "column \"name\" of table \"items\" is integer now",
       "SELECT name = 12 FROM items"},
      {{.version = "2.0.0", .items = Items::with_required},
       "!table \"items\", column \"counted\" is missing, and the rows that are there would have no value in it",
       "added column \"counted\" to table \"items\"; rows that were there have 0 in it",
       "SELECT counted = 0 AND NOT EXISTS (SELECT FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = "
       "d.adrelid "
       "AND a.attnum = d.adnum WHERE a.attname = 'counted') FROM items"},
      {{.version = "2.0.0", .items = Items::name_may_be_null},
       "!table \"items\", column \"name\" may be null now",
       "column \"name\" of table \"items\" may be null now",
       "SELECT NOT attnotnull FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'name'"},
      {{.version = "2.0.0", .has_notes = false},
       "!table \"notes\" was declared at the last migration and is not any more",
       "table \"notes\" is no longer declared: it stays, without triggers and indexes of the engine",
       "SELECT NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'notes'::regclass) AND NOT EXISTS (SELECT FROM "
       "pg_proc WHERE proname LIKE '%_notes') AND (SELECT count(*) FROM pg_index WHERE indrelid = 'notes'::regclass) = "
       "1 "
       "AND (SELECT count(*) FROM notes) = 1"},
  };
  for (const Breaking& one : cases) {
    SCOPED_TRACE(one.difference);
    MigratedDatabase db;
    db.migrated(shop_domain());
    db.other.run("INSERT INTO items VALUES ('i1', 'a', '12'); INSERT INTO notes VALUES ('n1', 'o', 'x')");
    const auto domain = shop_domain(one.to);
    EXPECT_TRUE(has_part(db.differences(domain), one.difference)) << ::testing::PrintToString(db.differences(domain));
    const auto refused = db.migrate(domain);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::schema_mismatch);
    EXPECT_NE(refused.error().message.find("--allow-breaking"), std::string::npos) << refused.error().message;
    EXPECT_EQ(db.differences(shop_domain()), Names{}) << "nothing was changed";

    const auto report = db.migrate(domain, true);
    ASSERT_TRUE(report.has_value()) << report.error().message;
    EXPECT_EQ(report->min_client_version, "2.0.0");
    EXPECT_TRUE(has_part(report->changes, "clients older than 2.0.0"));
    EXPECT_TRUE(has_part(report->changes, one.sentence)) << ::testing::PrintToString(report->changes);
    EXPECT_EQ(db.other.value("SELECT min_client_version FROM nizhal.state"), "2.0.0");
    EXPECT_EQ(db.other.value(one.check), "t");
    EXPECT_EQ(db.differences(domain), Names{});
    EXPECT_EQ(db.migrated(domain), Names{});
  }
}

TEST(PostgresMigration, ATableThatComesBackMakesDevicesStartAfresh) {
  MigratedDatabase db;
  db.migrated(shop_domain());
  db.migrated(shop_domain({.version = "2.0.0", .has_notes = false}), true);
  const std::string epoch = db.epoch();
  const Names changes = db.migrated(shop_domain({.version = "3.0.0"}));
  EXPECT_TRUE(has_part(changes, "was synced before, and not since"));
  EXPECT_NE(db.epoch(), epoch);
}

TEST(PostgresMigration, AnOlderFormatIsBroughtForwardStepByStep) {
  MigratedDatabase db;
  const auto domain = shop_domain();
  db.migrated(domain);
  MigrationTuning tuning;
  tuning.format = postgres_schema::kFormat + 2;
  auto refused = db.migrate(domain, false, tuning);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("knows no way"), std::string::npos) << refused.error().message;
  tuning.formats = {{postgres_schema::kFormat, {"COMMENT ON SCHEMA nizhal IS 'one step'"}},
                    {postgres_schema::kFormat + 1, {"SELECT 1 / 0"}}};
  refused = db.migrate(domain, false, tuning);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(db.other.value("SELECT format FROM nizhal.state"), std::to_string(postgres_schema::kFormat + 1))
      << "the first step stays, the second left nothing";
  tuning.formats[1].statements = {"COMMENT ON SCHEMA nizhal IS 'two steps'"};
  const auto report = db.migrate(domain, false, tuning);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->changes.size(), 1U);
  EXPECT_EQ(db.other.value("SELECT obj_description('nizhal'::regnamespace)"), "two steps");
  EXPECT_TRUE(has_part(db.differences(domain), "was made by a newer Nizhal")) << "for a program that knows less";
}

TEST(PostgresMigration, AResetTakesEverythingOfTheEngineOutAndLeavesTheRows) {
  MigratedDatabase db;
  const auto domain = shop_domain();
  db.migrated(domain);
  db.migrated(shop_domain({.version = "2.0.0", .has_notes = false}), true);
  db.other.run("INSERT INTO items VALUES ('i1', 'a', 'x'); CREATE INDEX mine ON items (name)");
  OtherProgram session(db.url);
  EXPECT_EQ(reset_database(session.connection(), *shop_domain({.version = "3"}), system_random()).has_value(), true);
  EXPECT_EQ(db.other.value("SELECT to_regnamespace('nizhal') IS NULL"), "t");
  EXPECT_EQ(db.other.query("SELECT attname FROM pg_attribute WHERE attname = 'nizhal_version' AND NOT attisdropped"),
            Names{});
  EXPECT_EQ(db.other.query("SELECT relname FROM pg_class WHERE relname LIKE 'nizhal%' OR relname = 'mine'"),
            Names{"mine"});
  EXPECT_EQ(db.other.query("SELECT * FROM items"), Names{"i1|a|x"});
  EXPECT_TRUE(reset_database(session.connection(), *domain, system_random()).has_value()) << "nothing is there";
  db.migrated(domain);
  db.other.run("UPDATE nizhal.state SET domain = 'office'");
  const auto refused = reset_database(session.connection(), *domain, system_random());
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("belongs to the domain \"office\""), std::string::npos);
}

TEST(PostgresMigration, FunctionsThatOthersLaidOutAreNeverTakenForPostgres) {
  MigratedDatabase db;
  const auto domain = shop_domain();
  // Each fits its call better than what is meant, and stands in the schema that the search path begins with.
  db.other.run(
      "CREATE FUNCTION trap() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';"
      "CREATE FUNCTION setval(text, integer, boolean) RETURNS bigint LANGUAGE sql AS 'SELECT trap()::bigint';"
      "CREATE FUNCTION format(text, name, name) RETURNS text LANGUAGE sql AS 'SELECT trap()::text';"
      "CREATE FUNCTION concat_ws(text, text, bigint, bigint, bigint, bigint, boolean) RETURNS text LANGUAGE sql AS "
      "'SELECT trap()::text';"
      "CREATE FUNCTION pg_sleep(numeric) RETURNS void LANGUAGE sql AS 'SELECT trap()';"
      "CREATE FUNCTION times(numeric, integer) RETURNS numeric LANGUAGE sql AS 'SELECT trap()::numeric';"
      "CREATE OPERATOR * (FUNCTION = times, LEFTARG = numeric, RIGHTARG = integer);"
      "CREATE FUNCTION concat(integer, text, text) RETURNS text LANGUAGE sql AS 'SELECT trap()::text'");
  ASSERT_EQ(db.other.try_run("SELECT 1.5 * 2"), "P0001") << "the trap works";
  db.migrated(domain);
  db.other.run("INSERT INTO notes VALUES ('n', 'o', 'x'); DELETE FROM notes; SELECT nizhal.now_us()");
  db.other.run("BEGIN; INSERT INTO notes VALUES ('n', 'o', 'x'); SELECT * FROM nizhal.horizon(); COMMIT");
  OtherProgram session(db.url);
  EXPECT_TRUE(reset_database(session.connection(), *domain, system_random()).has_value());
  db.other.run("DROP TABLE members, notes, items");
  EXPECT_TRUE(provision_database(db.other.connection(), *domain, system_random(), Log()).has_value());
}

struct Long {
  std::string id, owner_with_a_name_that_fills_all_of_the_sixty_three_bytes_of_it;
};

TEST(PostgresMigration, NamesBeyondPostgresLengthAreShortenedAndStayApart) {
  Domain d("long", {.version = "1.0.0"});
  const std::string stem = "a_table_name_that_is_as_long_as_postgres_lets_any_name_ever_be";
  ASSERT_EQ(stem.size(), 62U);
  for (const char* end : {"1", "2"}) {
    const auto longs = table<Long>(stem + end)
                           .key("id", &Long::id)
                           .column("owner_with_a_name_that_fills_all_of_the_sixty_three_bytes_of_it",
                                   &Long::owner_with_a_name_that_fills_all_of_the_sixty_three_bytes_of_it);
    d.add(longs);
    d.rule(std::string("own") + end)
        .prefix(end)
        .parameter("owner", actor::owner_id)
        .data(longs, eq("owner_with_a_name_that_fills_all_of_the_sixty_three_bytes_of_it", "owner"));
  }
  auto domain = CompiledDomain::compile(std::move(d));
  ASSERT_TRUE(domain.has_value()) << domain.error().message;
  MigratedDatabase db;
  db.migrated(*domain);
  for (const char* end : {"1", "2"})
    db.other.run("INSERT INTO " + stem + end + " VALUES ('x', 'o'); DELETE FROM " + stem + end);
  EXPECT_EQ(db.other.query("SELECT bucket FROM nizhal.removal ORDER BY 1"), (Names{"1o", "2o"}));
  EXPECT_EQ(
      db.other.value("SELECT max(length(proname)) <= 63 FROM pg_proc WHERE pronamespace = 'nizhal'::regnamespace"),
      "t");
}

TEST(PostgresMigration, TheMigratorNeedsADirectConnection) {
  const auto domain = shop_domain();
  const std::string url = testing::shared_server().create_database();
  PostgresStorageOptions options;
  options.url = url;
  options.transaction_pooler = true;
  auto pooled = postgres_migrator(options, domain, system_random(), Log());
  EXPECT_FALSE(pooled->plan().empty());
  ASSERT_FALSE(pooled->apply({}).has_value());
  EXPECT_NE(pooled->apply({}).error().message.find("--listen-db"), std::string::npos);
  options.url = "postgresql://nobody@127.0.0.1:1/x";
  options.listen_url = url;
  auto direct = postgres_migrator(options, domain, system_random(), Log());
  EXPECT_TRUE(direct->apply({}).has_value());
  EXPECT_EQ(direct->check().value(), std::vector<Difference>{});
  EXPECT_TRUE(direct->reset().has_value());
}

}  // namespace
}  // namespace nizhal::storage
