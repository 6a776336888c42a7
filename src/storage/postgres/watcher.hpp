// Looks for commits of anybody (S23): one cheap read, some times a second, on a connection of its own.
//
// The fact that must not break: what a look does not see yet, because its writer is still open, a later look sees. So
// writers are remembered until they have ended, and changes of grants are read again until they are settled.
//
// Threads: thread-safe; looks at once take turns.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "postgres/connection.hpp"
#include "storage/postgres/grants_standing.hpp"
#include "storage/postgres/own_writers.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

class Watcher {
 public:
  /// `grants` is told where they stand after each look.
  Watcher(postgres::ConnectOptions connect, std::shared_ptr<OwnWriters> own_writers,
          std::shared_ptr<GrantsStanding> grants)
      : connect_(std::move(connect)), own_writers_(std::move(own_writers)), grants_(std::move(grants)) {}

  Result<ChangeMark> look();
  /// Ends the look under way, which then fails with `busy`.
  void cancel();

 private:
  Result<void> connect();
  Result<ChangeMark> look_once();
  void note_missed();

  const postgres::ConnectOptions connect_;
  const std::shared_ptr<OwnWriters> own_writers_;
  const std::shared_ptr<GrantsStanding> grants_;

  std::mutex connection_mutex_;
  std::shared_ptr<postgres::Connection> connection_;

  std::mutex mutex_;
  ChangeMark mark_;
  bool has_looked_ = false;
  bool has_missed_ = false;  // a look failed: anything may have happened since the last good one
  std::string epoch_;
  Version grants_settled_{};             // all changes of grants up to here have been seen
  std::set<std::uint64_t> grants_seen_;  // above it
};

}  // namespace nizhal::storage::pg
