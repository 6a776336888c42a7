// For tests only: the storage of a domain on a fresh database of the shared server or of one of the test's own, with
// another program beside it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "storage/postgres/other_program.hpp"
#include "storage/postgres/postgres_storage.hpp"
#include "storage/storage.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::storage {

/// Collects what is logged at warning and above.
class Warnings {
 public:
  Log log() {
    return Log([this](LogLevel level, std::string_view, std::string_view message) {
      const std::lock_guard lock(mutex_);
      if (level >= LogLevel::warning) messages_.emplace_back(message);
    });
  }
  std::vector<std::string> messages() const {
    const std::lock_guard lock(mutex_);
    return messages_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> messages_;
};

inline std::shared_ptr<const CompiledDomain> compiled(Domain domain) {
  auto result = CompiledDomain::compile(std::move(domain));
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message);
  return *result;
}

/// The storage of a domain on a database, provisioned.
class TestDatabase {
 public:
  explicit TestDatabase(Domain raw_domain) : TestDatabase(std::move(raw_domain), testing::shared_server()) {}
  TestDatabase(Domain raw_domain, testing::PostgresServer& on_server)
      : server(on_server), url(server.create_database()), domain(compiled(std::move(raw_domain))) {
    storage = open();
    const auto report = storage->provision();
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message);
    other = std::make_unique<OtherProgram>(url);
  }

  std::unique_ptr<Storage> open(Log log = {}) const {
    PostgresStorageOptions options;
    options.url = url;
    auto opened = open_postgres_storage(options, domain, system_random(), std::move(log));
    EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().message);
    return *std::move(opened);
  }
  std::string name() const { return url.substr(url.find_last_of('/') + 1, url.find('?') - url.find_last_of('/') - 1); }

  Position position() {
    const auto position = storage->position();
    EXPECT_TRUE(position.has_value()) << (position ? "" : position.error().message);
    return position.value_or(Position{});
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
  ChangeMark mark() {
    const auto mark = storage->change_mark();
    EXPECT_TRUE(mark.has_value()) << (mark ? "" : mark.error().message);
    return mark.value_or(ChangeMark{});
  }
  Bucket bucket(std::string_view key) const {
    auto found = domain->parse_bucket(key);
    EXPECT_TRUE(found.has_value()) << key;
    return found.value_or(Bucket{});
  }
  /// Keys of the rows of buckets that changed after a version, in the page's order.
  std::vector<std::string> rows(const std::vector<std::string>& keys, Version after = {},
                                std::optional<std::size_t> limit = std::nullopt) {
    std::vector<CoveredBucket> covered;
    for (const std::string& key : keys) covered.push_back({bucket(key), Version{0}});
    LiveQuery query;
    query.buckets = &covered;
    query.after = after;
    query.limit = limit;
    const auto found = snapshot()->live_rows(query);
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    std::vector<std::string> names;
    if (found)
      for (const EncodedRow& row : *found) names.push_back(row.key);
    return names;
  }

  testing::PostgresServer& server;
  std::string url;
  std::shared_ptr<const CompiledDomain> domain;
  std::unique_ptr<Storage> storage;
  std::unique_ptr<OtherProgram> other;
};

using Names = std::vector<std::string>;

}  // namespace nizhal::storage
