// For tests only: a database file that goes with the test, the storage on it, and another program beside it.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.hpp"
#include "domain/value_json.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal::storage {

/// A file name that nothing has, in a directory of the test's own; removed at the end.
class TestFile {
 public:
  TestFile() {
    directory_ = std::filesystem::temp_directory_path() / ("nizhal-storage-" + random_uuid(system_random()));
    std::filesystem::create_directories(directory_);
  }
  ~TestFile() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  std::string path() const { return (directory_ / "server.db").string(); }

 private:
  std::filesystem::path directory_;
};

/// Another program on the same file: plain SQLite without anything of ours.
class OtherProgram {
 public:
  explicit OtherProgram(const std::string& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &database_), SQLITE_OK);
    sqlite3_busy_timeout(database_, 5000);
    run("PRAGMA synchronous = OFF");  // tests lose nothing to a power cut
  }
  ~OtherProgram() { sqlite3_close(database_); }
  OtherProgram(const OtherProgram&) = delete;

  /// SQLite's message, or nothing.
  std::string try_run(const std::string& sql) {
    char* message = nullptr;
    sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, &message);
    std::string text = message != nullptr ? message : "";
    sqlite3_free(message);
    return text;
  }
  void run(const std::string& sql) { EXPECT_EQ(try_run(sql), "") << sql; }
  /// All rows, columns joined with "|", null as "-".
  std::vector<std::string> query(const std::string& sql) {
    std::vector<std::string> rows;
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(database_, sql.c_str(), -1, &statement, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database_) << ": " << sql;
    while (sqlite3_step(statement) == SQLITE_ROW) {
      std::string row;
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        if (i > 0) row += '|';
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
        row += text != nullptr ? text : "-";
      }
      rows.push_back(std::move(row));
    }
    sqlite3_finalize(statement);
    return rows;
  }
  std::string value(const std::string& sql) {
    const auto rows = query(sql);
    return rows.empty() ? std::string("nothing") : rows.front();
  }

 private:
  sqlite3* database_ = nullptr;
};

inline std::shared_ptr<const CompiledDomain> compiled(Domain domain) {
  auto result = CompiledDomain::compile(std::move(domain));
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message);
  return *result;
}

inline std::unique_ptr<Storage> open_test_storage(const std::string& path, std::shared_ptr<const CompiledDomain> domain,
                                                  int lock_timeout_ms = 5000) {
  auto storage = open_sqlite_storage({.path = path, .lock_timeout_ms = lock_timeout_ms}, std::move(domain),
                                     system_random(), Log());
  EXPECT_TRUE(storage.has_value()) << (storage ? "" : storage.error().message);
  return *std::move(storage);
}

/// The storage of a domain on a fresh file, with another program beside it.
class TestDatabase {
 public:
  explicit TestDatabase(Domain raw_domain) : domain(compiled(std::move(raw_domain))) {
    storage = open_test_storage(file.path(), domain);
    const auto report = storage->provision();
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message);
    other = std::make_unique<OtherProgram>(file.path());
  }

  std::unique_ptr<Snapshot> snapshot() {
    auto snapshot = storage->snapshot();
    EXPECT_TRUE(snapshot.has_value()) << (snapshot ? "" : snapshot.error().message);
    return *std::move(snapshot);
  }
  std::unique_ptr<WriteTransaction> write(std::int64_t now_us = 1'000'000) {
    auto transaction = storage->write(Timestamp{now_us});
    EXPECT_TRUE(transaction.has_value()) << (transaction ? "" : transaction.error().message);
    return *std::move(transaction);
  }
  Version last() { return snapshot()->position()->last; }
  Bucket bucket(std::string_view key) const {
    auto found = domain->parse_bucket(key);
    EXPECT_TRUE(found.has_value()) << key;
    return found.value_or(Bucket{});
  }
  /// `table/key` of the rows of a bucket changed after a version.
  std::vector<std::string> rows(std::string_view key, Version after = Version{0}) {
    const std::vector<CoveredBucket> covered{{bucket(key), Version{0}}};
    LiveQuery query;
    query.buckets = &covered;
    query.after = after;
    auto rows = snapshot()->live_rows(query);
    EXPECT_TRUE(rows.has_value()) << (rows ? "" : rows.error().message);
    std::vector<std::string> names;
    for (const EncodedRow& row : *rows) names.push_back(domain->table(row.table).name + "/" + row.key);
    return names;
  }
  /// `-table/key` of tombstones and `<table/key` of exits, with `!` behind those still covered.
  std::vector<std::string> removals(std::string_view key, Version after = Version{0}) {
    const std::vector<CoveredBucket> covered{{bucket(key), Version{0}}};
    LiveQuery query;
    query.buckets = &covered;
    query.after = after;
    auto removals = snapshot()->live_removals(query);
    EXPECT_TRUE(removals.has_value()) << (removals ? "" : removals.error().message);
    std::vector<std::string> names;
    for (const Removal& removal : *removals)
      names.push_back((removal.deleted ? "-" : "<") + domain->table(removal.table).name + "/" + removal.key +
                      (removal.covered_at ? "!" : ""));
    return names;
  }
  /// `key@gained` of an actor's buckets.
  std::map<std::string, std::uint64_t> grants(const std::string& user, const std::string& owner = "o") {
    auto grants = snapshot()->grants(Actor{user, owner, ""});
    EXPECT_TRUE(grants.has_value()) << (grants ? "" : grants.error().message);
    std::map<std::string, std::uint64_t> by_key;
    for (const Grant& grant : *grants) by_key[grant.bucket.key] = number(grant.gained);
    return by_key;
  }

  TestFile file;
  std::shared_ptr<const CompiledDomain> domain;
  std::unique_ptr<Storage> storage;
  std::unique_ptr<OtherProgram> other;
};

using Names = std::vector<std::string>;

}  // namespace nizhal::storage
