// The connection of a migration: short transactions that try again for their locks, and one migration at a time.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/environment.hpp"
#include "postgres/connection.hpp"
#include "storage/migrator.hpp"
#include "storage/postgres/migration.hpp"

namespace nizhal::storage::postgres_schema {

/// One migration of a database at a time. A single-key advisory lock, which the two-key ones of versions never meet.
inline constexpr std::string_view kMigrationLock = "7923450218736547";

class MigrationSession {
 public:
  MigrationSession(postgres::Connection& connection, Random& random, const MigrateOptions& options,
                   const MigrationTuning& tuning)
      : connection_(connection), random_(random), options_(options), tuning_(tuning) {}
  ~MigrationSession();
  MigrationSession(const MigrationSession&) = delete;

  postgres::Connection& connection() const { return connection_; }
  void tell(std::string_view line) const {
    if (options_.progress) options_.progress(line);
  }

  /// Waits until no other migration of this database runs; until this object goes, none begins.
  Result<void> become_the_only_one();

  /// The step in a transaction of its own; again, after a pause, when a lock was not to be had or a deadlock met.
  /// `what`: "table \"notes\"", for messages.
  Result<void> in_transaction(std::string_view what, const std::function<Result<void>()>& step);

  /// One statement outside any transaction, which may wait for older transactions.
  Result<void> concurrently(std::string_view what, const std::string& sql);

  Result<void> run(const std::string& sql);
  Result<postgres::Rows> query(const std::string& sql);
  /// The error with the server's own words: whoever migrates is the operator.
  Error explained(std::string_view what, const Error& error) const;

 private:
  Result<void> pause(int attempt);

  postgres::Connection& connection_;
  Random& random_;
  const MigrateOptions& options_;
  const MigrationTuning& tuning_;
  bool is_the_only_one_ = false;
};

}  // namespace nizhal::storage::postgres_schema
