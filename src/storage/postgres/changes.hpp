// Everything that was committed above a version, of all buckets at once (Storage::changes_since): one statement, one
// snapshot, whatever the number of buckets and devices.
//
// The fact that must not break: the statement's snapshot is taken when it has its locks. A table that is emptied or
// rewritten would otherwise look empty while the removals that tell of it are not seen yet. In READ COMMITTED a
// statement that is sent through the extended protocol takes its snapshot so.
//
// Threads: thread-safe; reads at once take turns on a connection of their own.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/log.hpp"
#include "postgres/connection.hpp"
#include "storage/postgres/reads.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

/// Of one catalog. Columns of the answer: what a line is (`table` ≥ 0: a row of that table), a version, and texts.
/// $1: above which version; $2: how many lines each part may have; $3, $4, $5: whose grants are asked, as definitions,
/// subjects and the asking actors' places; $6: client ids that are asked.
std::string changes_sql(const Catalog& catalog);
Parameters changes_parameters(const Catalog& catalog, const ChangesQuery& query);
/// Settings under which every part is a walk along an index, for a session or (`local`) a transaction.
std::string walk_settings(bool local);

class ChangesReader {
 public:
  ChangesReader(postgres::ConnectOptions connect, std::shared_ptr<const Catalog> catalog);

  Result<RecentChanges> read(const Position& settled, const ChangesQuery& query);
  /// Ends the read under way, which then fails with `busy`.
  void cancel();

 private:
  Result<void> connect();
  Result<postgres::Rows> ask(const Parameters& parameters);
  Result<postgres::Rows> ask_once(const Parameters& parameters);

  const postgres::ConnectOptions connect_;
  const std::shared_ptr<const Catalog> catalog_;
  const std::string sql_;

  std::mutex connection_mutex_;
  std::shared_ptr<postgres::Connection> connection_;
  std::mutex mutex_;  // of the one who reads
};

}  // namespace nizhal::storage::pg
