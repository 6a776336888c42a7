// Backfills from a streaming replica (S12): snapshots of a standby, as good as the primary's own.
//
// The facts that must not break: a snapshot is given only when the standby has replayed all that the primary had
// written when it was asked, so nobody who has seen more than the standby shows is ever served by it; and only when it
// replays the same database on the same timeline. Whatever stands in the way, the primary serves.
//
// Threads: thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/log.hpp"
#include "postgres/pool.hpp"
#include "storage/postgres/reads.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

struct ReplicaOptions {
  postgres::PoolOptions pool;
  /// How long a pull may wait for the standby to catch up.
  std::chrono::milliseconds wait_max{500};
  /// For so long a standby that was behind, or failed, is left alone.
  std::chrono::milliseconds rest{2'000};
};

/// Whether the URL leads to a standby of the database that `primary` is connected to; usage, saying why, when it does
/// not. One that cannot be reached may be one: it is only told in the log.
Result<void> check_replica(const postgres::ConnectOptions& connect, postgres::Connection& primary, const Log& log);

class Replica : public std::enable_shared_from_this<Replica> {
 public:
  Replica(ReplicaOptions options, std::shared_ptr<const Catalog> catalog, std::shared_ptr<postgres::Pool> primary,
          Log log);

  /// A snapshot of the standby that has everything that `settled`, and whoever asks now, may have seen. Null: the
  /// primary has to serve.
  std::unique_ptr<Snapshot> open_snapshot(const Position& settled);
  void cancel() { pool_->cancel_all(); }

 private:
  using Steady = std::chrono::steady_clock;
  Result<std::unique_ptr<Snapshot>> try_open(const Position& settled);
  Result<std::string> ask_primary(const char* sql);
  void rest(std::string_view why);

  const ReplicaOptions options_;
  const std::shared_ptr<const Catalog> catalog_;
  const std::shared_ptr<postgres::Pool> primary_, pool_;
  const Log log_;
  std::atomic<Steady::rep> rests_until_{0};
  std::atomic<bool> is_reported_{false};
};

}  // namespace nizhal::storage::pg
