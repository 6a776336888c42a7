// For tests only: the tables of a domain in a database in memory, and what an actor sees of it, worked out row by row.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sqlite/connection.hpp"
#include "sqlite/table_sql.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload::testing {

struct Database {
  explicit Database(Domain declared) {
    auto compiled = CompiledDomain::compile(std::move(declared));
    EXPECT_TRUE(compiled);
    domain = *std::move(compiled);
    connection = *sqlite::Connection::open(":memory:", {});
    for (const auto& table : domain->tables()) EXPECT_TRUE(connection->execute(sqlite::table_ddl(*table)));
  }
  void run(const std::vector<std::string>& statements) const {
    for (const std::string& statement : statements) {
      const auto ran = connection->execute(statement);
      EXPECT_TRUE(ran) << statement << ": " << (ran ? "" : ran.error().message);
    }
  }
  std::vector<Row> rows(std::size_t table) const {
    QuerySpec all;
    all.table = &domain->table(table);
    return *sqlite::select_rows(*connection, all);
  }

  std::shared_ptr<const CompiledDomain> domain;
  std::unique_ptr<sqlite::Connection> connection;
};

/// The filters of the tests' domains are claims and texts.
class DatabaseView : public View {
 public:
  DatabaseView(const Database& database, Actor actor) : database_(database), actor_(std::move(actor)) {}

  const Actor& actor() const override { return actor_; }
  std::set<std::string> buckets() const {
    const CompiledDomain& domain = *database_.domain;
    std::set<std::string> keys;
    for (std::size_t d = 0; d < domain.definitions().size(); ++d) {
      const BucketDefinition& definition = domain.definitions()[d];
      if (const auto bucket = domain.static_bucket(d, actor_)) keys.insert(bucket->key);
      if (definition.is_static()) continue;
      const std::size_t t = *domain.table_index(definition.membership_table);
      for (const Row& row : database_.rows(t)) {
        bool is_mine = true;
        for (const MembershipFilter& filter : definition.membership_filters) {
          const Value& value = row[domain.table(t).index_of(filter.column)];
          is_mine &= filter.claim.empty() ? value == filter.constant : bucket_text(value) == actor_.claim(filter.claim);
        }
        std::vector<std::string> values;
        for (const ParameterDef& parameter : definition.parameters)
          values.push_back(*bucket_text(row[domain.table(t).index_of(parameter.membership_column)]));
        if (const auto bucket = domain.make_bucket(d, values); bucket && is_mine) keys.insert(bucket->key);
      }
    }
    return keys;
  }
  Result<std::vector<Row>> sample(std::size_t table, std::size_t rows_max) override {
    const std::set<std::string> mine = buckets();
    std::vector<Row> visible;
    for (const Row& row : database_.rows(table))
      for (const Bucket& bucket : database_.domain->buckets_of(table, row))
        if (mine.contains(bucket.key) && visible.size() < rows_max) {
          visible.push_back(row);
          break;
        }
    return visible;
  }

 private:
  const Database& database_;
  Actor actor_;
};

}  // namespace nizhal::workload::testing
