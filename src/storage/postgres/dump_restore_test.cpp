// A database that is dumped and restored into another cluster: trap 12.
#include <gtest/gtest.h>

#include "storage/postgres/migration_test_support.hpp"
#include "tests/backends/merge_domain.hpp"

namespace nizhal::storage {
namespace {

std::unique_ptr<Storage> opened(const std::string& url, std::shared_ptr<const CompiledDomain> domain) {
  PostgresStorageOptions options;
  options.url = url;
  auto storage = open_postgres_storage(options, std::move(domain), system_random(), Log());
  EXPECT_TRUE(storage.has_value()) << (storage ? "" : storage.error().message);
  const auto provisioned = (*storage)->provision();
  EXPECT_TRUE(provisioned.has_value()) << (provisioned ? "" : provisioned.error().message);
  return *std::move(storage);
}

/// Keys of a bucket's rows changed after a version, as a pull sees them.
Names rows_of(Storage& storage, const CompiledDomain& domain, const std::string& key, Version after = {}) {
  Names keys;
  const auto bucket = domain.parse_bucket(key);
  EXPECT_TRUE(bucket.has_value()) << key;
  auto snapshot = storage.snapshot();
  EXPECT_TRUE(snapshot.has_value());
  const std::vector<CoveredBucket> covered{{*bucket, Version{}}};
  LiveQuery query;
  query.buckets = &covered;
  query.after = after;
  const auto rows = (*snapshot)->live_rows(query);
  EXPECT_TRUE(rows.has_value()) << (rows ? "" : rows.error().message);
  if (rows)
    for (const EncodedRow& row : *rows) keys.push_back(row.key);
  return keys;
}

void dump_and_restore(const Names& dump, const Names& restore) {
  const auto domain = shop_domain();
  MigratedDatabase db;
  db.migrated(domain);
  const auto before = opened(db.url, domain);
  db.other.run("INSERT INTO members VALUES ('m1', 'u1', 'a'); INSERT INTO items VALUES ('i1', 'a', 'x')");
  for (int i = 0; i < 20; ++i) db.other.run("UPDATE items SET name = name || 'y'");
  db.other.run(
      "INSERT INTO items VALUES ('i2', 'a', 'x'); INSERT INTO notes VALUES ('n1', 'o1', 'x'); DELETE FROM notes");
  const auto position = before->position();
  ASSERT_TRUE(position.has_value()) << position.error().message;

  testing::PostgresServer& old_cluster = testing::shared_server();
  const std::string file = old_cluster.folder() + "/" + dump.front() + restore.front() + ".dump";
  Names arguments{"pg_dump", "-d", db.url, "-f", file};
  arguments.insert(arguments.end(), dump.begin() + 1, dump.end());
  old_cluster.run(arguments);

  testing::PostgresServer cluster;
  const std::string url = cluster.create_database();
  arguments = restore;
  arguments.insert(arguments.end(), {"-d", url});
  arguments.push_back(restore.front() == "psql" ? "-f" + file : file);
  cluster.run(arguments);

  MigratedDatabase restored(url);
  EXPECT_EQ(restored.differences(domain), Names{});
  EXPECT_EQ(restored.grants(), Names{"u1:shop:a=1"});
  const auto after = opened(url, domain);
  const auto there = after->position();
  ASSERT_TRUE(there.has_value()) << there.error().message;
  EXPECT_EQ(there->last, position->last);
  EXPECT_EQ(there->horizon, there->last) << "no row is above the horizon";
  EXPECT_NE(there->epoch, position->epoch) << "devices start afresh";
  EXPECT_EQ(rows_of(*after, *domain, "shop:a"), (Names{"i1", "i2"}));
  restored.other.run("UPDATE items SET name = 'z' WHERE id = 'i1'; DELETE FROM items WHERE id = 'i2'");
  EXPECT_EQ(rows_of(*after, *domain, "shop:a", there->last), Names{"i1"}) << "versions go on";
  EXPECT_EQ(restored.other.value("SELECT version > " + std::to_string(number(there->last)) +
                                 " FROM nizhal.removal WHERE key = 'i2'"),
            "t");
  EXPECT_EQ(after->position()->horizon, after->position()->last);
}

TEST(DumpAndRestore, InTheCustomFormatEverythingIsThereAndTheEpochIsAnother) {
  dump_and_restore({"pg_dump", "-Fc"}, {"pg_restore", "--exit-on-error", "--no-owner"});
}

TEST(DumpAndRestore, AsAScriptEverythingIsThereAndTheEpochIsAnother) {
  dump_and_restore({"pg_dump", "--no-comments", "--inserts"}, {"psql", "-q", "-v", "ON_ERROR_STOP=1"});
}

TEST(DumpAndRestore, WhatMergingNeedsIsAsItWas) {
  const auto domain = *CompiledDomain::compile(nizhal::testing::merge_domain());
  MigratedDatabase db;
  db.migrated(domain);
  const auto before = opened(db.url, domain);
  {
    const auto transaction = *before->write(Timestamp{1});
    const Row row{"p1", "o1", "title", Blob{{0, 0}}};
    ASSERT_TRUE(
        transaction->insert_merged(*domain->domain().find_table("papers"), row, {"*=a", std::string("\0\xFF", 2)})
            .value_or(false));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  const char* kept = "SELECT nizhal_version || nizhal_stamps || encode(nizhal_recent, 'hex') FROM papers";
  const std::string was = db.other.value(kept);
  testing::PostgresServer& cluster = testing::shared_server();
  const std::string file = cluster.folder() + "/merging.dump", url = cluster.create_database();
  cluster.run({"pg_dump", "-d", db.url, "-f", file, "-Fc"});
  cluster.run({"pg_restore", "--exit-on-error", "--no-owner", "-d", url, file});
  MigratedDatabase restored(url);
  EXPECT_EQ(restored.differences(domain), Names{});
  EXPECT_EQ(restored.other.value(kept), was);
}

TEST(DumpAndRestore, RowsRestoredOverAFreshSequenceAreFoundOut) {
  const auto domain = shop_domain();
  MigratedDatabase db;
  db.migrated(domain);
  const std::string epoch = db.epoch();
  db.other.run("INSERT INTO members VALUES ('m1', 'u1', 'a')");
  db.other.run("SELECT setval('nizhal.version_seq', 1)");  // as a dump of the rows alone leaves it
  EXPECT_TRUE(has_part(db.differences(domain), "sequence \"nizhal.version_seq\" is at 1, but version 2 was given out"));
  db.migrated(domain);
  EXPECT_NE(db.epoch(), epoch);
  EXPECT_EQ(db.other.value("SELECT nizhal.begin_version() > 2"), "t");
}

}  // namespace
}  // namespace nizhal::storage
