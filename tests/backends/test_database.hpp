// The storage of a domain on a fresh database of either kind, with another program beside it, and short words for what
// a test wants to see of it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.hpp"
#include "domain/value_json.hpp"
#include "tests/backends/backend.hpp"

namespace nizhal::testing {

using Names = std::vector<std::string>;

/// A query over covered buckets that keeps them alive.
struct Covered {
  std::vector<storage::CoveredBucket> buckets;
  storage::LiveQuery after(Version version = {}) const {
    storage::LiveQuery query;
    query.buckets = &buckets;
    query.after = version;
    return query;
  }
};

class TestDatabase {
 public:
  TestDatabase(BackendKind kind, Domain raw_domain)
      : backend(make_backend(kind)), domain(compiled(std::move(raw_domain))) {
    storage = backend->open(domain);
    const auto report = storage->provision();
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message);
    other = backend->other_program();
  }

  std::unique_ptr<storage::Snapshot> snapshot() {
    auto snapshot = storage->snapshot();
    EXPECT_TRUE(snapshot.has_value()) << (snapshot ? "" : snapshot.error().message);
    return *std::move(snapshot);
  }
  std::unique_ptr<storage::WriteTransaction> write(std::int64_t now_us = 1'000'000,
                                                   storage::WriteMode mode = storage::WriteMode::careful) {
    auto transaction = storage->write(Timestamp{now_us}, {.mode = mode});
    EXPECT_TRUE(transaction.has_value()) << (transaction ? "" : transaction.error().message);
    return *std::move(transaction);
  }
  /// A transaction that may search.
  std::unique_ptr<storage::WriteTransaction> search() { return write(1'000'000, storage::WriteMode::serializable); }
  storage::Position position() { return *snapshot()->position(); }
  Version last() { return position().last; }

  Bucket bucket(std::string_view key) const {
    auto found = domain->parse_bucket(key);
    EXPECT_TRUE(found.has_value()) << key;
    return found.value_or(Bucket{});
  }
  Covered cover(std::string_view key, Version removals_after = {}) const { return {{{bucket(key), removals_after}}}; }
  /// `table/key` of the rows of a bucket changed after a version.
  Names rows(std::string_view key, Version after = {}) {
    const Covered covered = cover(key);
    const auto found = snapshot()->live_rows(covered.after(after));
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    Names names;
    if (found)
      for (const storage::EncodedRow& row : *found) names.push_back(domain->table(row.table).name + "/" + row.key);
    return names;
  }
  /// `table/key` of the rows of a bucket in key order, as a device that newly has it gets them.
  Names filled(std::string_view key) {
    Names names;
    const auto taken = snapshot();
    for (std::size_t table = 0; table < domain->tables().size(); ++table) {
      const auto found = taken->backfill(bucket(key), table, std::nullopt, 1'000);
      EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
      if (found)
        for (const storage::EncodedRow& row : *found) names.push_back(domain->table(table).name + "/" + row.key);
    }
    return names;
  }
  /// `-table/key` of tombstones and `<table/key` of exits, with `!` behind those still covered.
  Names removals(std::string_view key, Version after = {}) {
    const Covered covered = cover(key);
    const auto found = snapshot()->live_removals(covered.after(after));
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    Names names;
    if (found)
      for (const storage::Removal& removal : *found)
        names.push_back((removal.deleted ? "-" : "<") + domain->table(removal.table).name + "/" + removal.key +
                        (removal.covered_at ? "!" : ""));
    return names;
  }
  /// `key@gained` of an actor's buckets.
  std::map<std::string, std::uint64_t> grants(const std::string& user, const std::string& owner = "o") {
    const auto found = snapshot()->grants(Actor{user, owner, ""});
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    std::map<std::string, std::uint64_t> by_key;
    if (found)
      for (const storage::Grant& grant : *found) by_key[grant.bucket.key] = number(grant.gained);
    return by_key;
  }
  /// What a table holds, of all buckets and none.
  std::vector<Row> all_rows(std::size_t table) {
    // A storage of its own: one that has searched a table may want other write modes for it from then on.
    if (!searching_) searching_ = backend->open(domain);
    const auto transaction = searching_->write(Timestamp{1'000'000}, {.mode = storage::WriteMode::serializable});
    EXPECT_TRUE(transaction.has_value()) << (transaction ? "" : transaction.error().message);
    QuerySpec query;
    query.table = &domain->table(table);
    auto found = (*transaction)->find(query, nullptr);
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    return found ? *std::move(found) : std::vector<Row>{};
  }
  std::string engine(std::string_view table) const { return backend->engine_table(table); }

  std::unique_ptr<Backend> backend;
  std::shared_ptr<const CompiledDomain> domain;
  std::unique_ptr<storage::Storage> storage;
  std::unique_ptr<OtherProgram> other;

 private:
  std::unique_ptr<storage::Storage> searching_;
};

/// A test on each kind of database.
class OnEveryBackend : public ::testing::TestWithParam<BackendKind> {};

}  // namespace nizhal::testing
