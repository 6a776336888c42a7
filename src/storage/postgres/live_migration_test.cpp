// Migrations of databases that are being written meanwhile, and of tables that were there long before the engine.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/test_seed.hpp"
#include "storage/postgres/migration_test_support.hpp"

namespace nizhal::storage {
namespace {

/// Another program that writes all the time, one short transaction after the other, and never waits long for a lock.
class Writer {
 public:
  Writer(const std::string& url, int number, std::uint64_t seed)
      : other_(url), number_(number), random_(seed + static_cast<std::uint64_t>(number)) {
    other_.run("SET lock_timeout = '1s'");
    thread_ = std::thread([this] {
      while (!stop_) write();
    });
  }
  ~Writer() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int commits() const { return commits_; }
  /// Transactions that waited for a lock for longer than a second, or met a deadlock.
  int hindered() const { return hindered_; }
  std::string other_errors() const { return other_errors_; }
  std::chrono::milliseconds longest() const { return longest_; }

 private:
  std::string pick(std::initializer_list<const char*> choices) {
    return "'" + std::string(*(choices.begin() + random_.next() % choices.size())) + "'";
  }
  void write() {
    const std::string id = "'w" + std::to_string(number_) + "-" + std::to_string(random_.next() % 200) + "'";
    const std::string shop = pick({"a", "b", "c"}), user = pick({"u1", "u2"});
    std::string sql;
    switch (random_.next() % 6) {
      case 0:
        sql = "INSERT INTO members (id, user_id, shop) VALUES (" + id + ", " + user + ", " + shop +
              ") ON CONFLICT (id) DO UPDATE SET shop = excluded.shop";
        break;
      case 1:
        sql = "UPDATE members SET user_id = " + user + " WHERE id = " + id;
        break;
      case 2:
        sql = "DELETE FROM members WHERE id = " + id;
        break;
      case 3:
        sql = "INSERT INTO items (id, shop, name) VALUES (" + id + ", " + shop + ", 'x') ON CONFLICT (id) DO NOTHING";
        break;
      case 4:
        sql = "BEGIN; UPDATE items SET shop = " + shop + " WHERE id = " + id +
              "; SAVEPOINT s; DELETE FROM members "
              "WHERE id = " +
              id + "; ROLLBACK TO s; COMMIT";
        break;
      default:
        // Old rows, too.
        sql = "UPDATE members SET shop = " + shop + " WHERE id = 'm" + std::to_string(random_.next() % 2000) + "'";
        break;
    }
    const auto began = std::chrono::steady_clock::now();
    const std::string state = other_.try_run(sql);
    longest_ = std::max(
        longest_, std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began));
    if (state.empty())
      ++commits_;
    else if (state == "55P03" || state == "40P01") {
      ++hindered_;
      std::printf("hindered: %s %s\n", state.c_str(), other_.error().c_str());
    } else
      other_errors_ += state + " " + other_.error() + "\n";
  }

  OtherProgram other_;
  const int number_;
  SeededRandom random_;
  std::atomic<bool> stop_{false};
  std::atomic<int> commits_{0}, hindered_{0};
  std::chrono::milliseconds longest_{0};
  std::string other_errors_;
  std::thread thread_;
};

/// What the grants have to be, counted from the rows.
Names counted(MigratedDatabase& db) {
  return db.other.query(
      "SELECT user_id || ':shop:' || shop || '=' || count(*) FROM members WHERE user_id <> '' AND shop <> '' "
      "GROUP BY user_id, shop ORDER BY 1");
}

void fill(MigratedDatabase& db, int items, int members) {
  db.other.run(kOldShop);
  db.other.run("INSERT INTO items SELECT 'i' || n, chr((97 + n % 20)::integer), 'name ' || n FROM generate_series(1, " +
               std::to_string(items) + ") AS n");
  db.other.run(
      "INSERT INTO members SELECT 'm' || n, 'u' || n % 7, chr((97 + n % 5)::integer) FROM generate_series(1, " +
      std::to_string(members) + ") AS n");
  db.other.run("ANALYZE");
}

TEST(LiveMigration, MembershipsOfOldTablesAreCountedExactlyWhileOthersWrite) {
  const std::uint64_t seed = test_seed("LiveMigration");
  MigratedDatabase db;
  fill(db, 2'000, 4'000);
  int commits = 0;
  {
    Writer one(db.url, 1, seed), two(db.url, 2, seed), three(db.url, 3, seed);
    MigrationTuning tuning;
    tuning.batch_rows = 100;
    const auto report = db.migrate(shop_domain(), false, tuning);
    EXPECT_TRUE(report.has_value()) << report.error().message;
    // Further on, and to a definition more, under the same writers.
    EXPECT_TRUE(db.migrate(shop_domain({.items = ShopVersion::Items::with_counted})).has_value());
    EXPECT_TRUE(
        db.migrate(shop_domain({.shares_items_by_name = true, .items = ShopVersion::Items::with_counted})).has_value());
    for (Writer* writer : {&one, &two, &three}) {
      writer->stop();
      commits += writer->commits();
      EXPECT_EQ(writer->hindered(), 0);
      EXPECT_EQ(writer->other_errors(), "");
    }
  }
  std::printf("commits of writers meanwhile: %d\n", commits);
  EXPECT_GT(commits, 100);
  Names grants = db.other.query(
      "SELECT subject || ':' || bucket || '=' || granting_rows FROM nizhal.bucket_grant WHERE bucket LIKE 'shop:%' "
      "ORDER "
      "BY 1");
  EXPECT_EQ(grants, counted(db));
  EXPECT_EQ(db.other.query("SELECT bucket, subject FROM nizhal.bucket_grant AS g WHERE bucket LIKE 'staff:%' AND "
                           "granting_rows <> (SELECT granting_rows FROM nizhal.bucket_grant AS o WHERE o.subject = "
                           "g.subject AND o.bucket = replace(g.bucket, 'staff', 'shop'))"),
            Names{});
  EXPECT_EQ(db.other.value("SELECT count(*) FROM nizhal.bucket_grant WHERE bucket LIKE 'staff:%'"),
            std::to_string(grants.size()));
  EXPECT_EQ(db.other.value("SELECT count(*) FROM members WHERE nizhal_version = 0"), "0");
}

/// NIZHAL_OLD_ROWS=1000000 takes a million.
int old_rows() {
  const char* given = std::getenv("NIZHAL_OLD_ROWS");
  return given != nullptr ? std::atoi(given) : 200'000;
}

TEST(LiveMigration, ALargeOldTableIsTakenOverWithoutALongLock) {
  const int items = old_rows(), members = items / 50;
  MigratedDatabase db;
  fill(db, items, members);
  std::chrono::milliseconds took{0};
  {
    Writer one(db.url, 1, 1), two(db.url, 2, 1);
    const auto began = std::chrono::steady_clock::now();
    const auto report = db.migrate(shop_domain());
    took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
    ASSERT_TRUE(report.has_value()) << report.error().message;
    one.stop();
    two.stop();
    std::printf("%d rows and %d memberships in %lld ms; meanwhile %d commits of others, the longest %lld ms\n", items,
                members, static_cast<long long>(took.count()), one.commits() + two.commits(),
                static_cast<long long>(std::max(one.longest(), two.longest()).count()));
    for (const std::string& line : db.lines) std::printf("  %s\n", line.c_str());
    for (Writer* writer : {&one, &two}) {
      EXPECT_EQ(writer->hindered(), 0) << "nobody waited a second for a lock";
      EXPECT_EQ(writer->other_errors(), "");
      EXPECT_GT(writer->commits(), 20);
    }
  }
  EXPECT_EQ(db.differences(shop_domain()), Names{});
  EXPECT_EQ(db.grants(), counted(db));
  EXPECT_EQ(db.other.value("SELECT count(*) FROM items WHERE nizhal_version = 0 AND id LIKE 'i%'"),
            std::to_string(items))
      << "old rows are not rewritten";
  EXPECT_EQ(db.other.value("SELECT count(DISTINCT nizhal_version) > 10 FROM members"), "t") << "in batches";
}

TEST(LiveMigration, AKilledMigrationIsTakenUpWhereItBroke) {
  MigratedDatabase db;
  fill(db, 3'000, 3'000);
  const auto domain = shop_domain();
  Writer writer(db.url, 1, 2);
  int killed = 0;
  // At each step in turn: the connection goes when the n-th line is told.
  for (std::size_t at = 1; at <= 40; ++at) {
    auto connection = postgres::Connection::connect({.url = db.url, .statement_timeout = std::chrono::milliseconds(0)});
    ASSERT_TRUE(connection.has_value());
    MigrationTuning tuning;
    tuning.batch_rows = 500;
    MigrateOptions options;
    std::size_t told = 0;
    options.progress = [&](std::string_view) {
      if (++told == 1 + at % 3)
        db.other.run("SELECT pg_terminate_backend(" + std::to_string((*connection)->backend_pid()) + ")");
    };
    const auto report = migrate_database(**connection, *domain, system_random(), Log(), options, tuning);
    if (report && report->changes.empty()) break;
    if (!report) ++killed;
  }
  EXPECT_GT(killed, 3);
  writer.stop();
  db.migrated(domain);
  EXPECT_EQ(db.grants(), counted(db));
  EXPECT_EQ(writer.other_errors(), "");
}

TEST(LiveMigration, AnIndexThatWasLeftHalfBuiltIsBuiltAgain) {
  MigratedDatabase db;
  fill(db, 1'000, 10);
  const auto domain = shop_domain();
  OtherProgram old(db.url);
  old.run("BEGIN; SELECT count(*) FROM notes; INSERT INTO notes VALUES ('n', 'o', 'x')");  // an older snapshot
  MigrationTuning tuning;
  tuning.index_lock_timeout = std::chrono::milliseconds(100);
  tuning.lock_attempts = 3;
  tuning.lock_timeout = std::chrono::milliseconds(20);
  auto refused = db.migrate(domain, false, tuning);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::busy) << refused.error().message;
  EXPECT_NE(refused.error().message.find("could not be locked"), std::string::npos) << refused.error().message;
  old.run("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
  refused = db.migrate(domain, false, tuning);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("older transactions"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(has_part(db.differences(domain), "is invalid"));
  old.run("COMMIT");
  db.migrated(domain);
}

TEST(LiveMigration, OfTwoAtOnceOneWaitsAndFindsNothingToDo) {
  MigratedDatabase db;
  fill(db, 20'000, 2'000);
  std::atomic<int> with_changes{0}, waited{0};
  std::vector<std::thread> migrations;
  for (int i = 0; i < 3; ++i)
    migrations.emplace_back([&] {
      MigratedDatabase same(db.url);
      const auto report = same.migrate(shop_domain());
      ASSERT_TRUE(report.has_value()) << report.error().message;
      if (!report->changes.empty()) ++with_changes;
      if (has_part(same.lines, "another migration of this database is under way")) ++waited;
    });
  for (std::thread& migration : migrations) migration.join();
  EXPECT_EQ(with_changes, 1);
  EXPECT_GE(waited, 1);
  EXPECT_EQ(db.differences(shop_domain()), Names{});
}

TEST(LiveMigration, WritersThatAreAtItWhenARuleChangesAreNotMissed) {
  MigratedDatabase db;
  db.migrated(shop_domain());
  // Its row is written by the old triggers, and committed when the new ones are there.
  OtherProgram early(db.url);
  early.run("BEGIN; INSERT INTO members VALUES ('m1', 'u1', 'a')");
  std::thread migration([&] {
    const auto report = db.migrate(shop_domain({.shares_items_by_name = true}));
    EXPECT_TRUE(report.has_value()) << report.error().message;
  });
  OtherProgram observer(db.url);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (observer.value("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'members'::regclass") !=
             "t" &&
         std::chrono::steady_clock::now() < until) {
  }
  early.run("COMMIT");
  migration.join();
  EXPECT_EQ(db.grants(), (Names{"u1:shop:a=1", "u1:staff:a=1"}));
}

}  // namespace
}  // namespace nizhal::storage
