// A write transaction on PostgreSQL, in as few round trips as its mode allows. Place in the loop: push_handler ▶
// mutators ▶ (commit).
//
// One round trip begins it: BEGIN, the version, and what PushIntent says will be asked. Writes wait in the program
// until something has to be read or the end has come, and then travel together; a savepoint is made only where a write
// inside it has to travel before its end. The engine's own records are kept aside until the commit and go as one
// statement per table, whatever number of mutations there are. Behind the COMMIT, on the same way, changes of grants
// are read: their snapshot is newer than the commit, and whoever pokes need not ask again.
//
// The facts that must not break: row locks, the version and the grants are taken before anything is judged by them; and
// a failure that another attempt may survive is never told as a constraint's.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "postgres/pool.hpp"
#include "storage/postgres/grants_standing.hpp"
#include "storage/postgres/own_writers.hpp"
#include "storage/postgres/reads.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

/// Tables of the domain that some mutator searches. PostgreSQL keeps what a search has read from changing only among
/// serializable transactions, so whoever writes to such a table has to be one, too.
///
/// Threads: thread-safe.
class SearchedTables {
 public:
  explicit SearchedTables(std::size_t tables) : searched_(tables) {}
  void add(std::size_t table) {
    if (table < searched_.size()) searched_[table].store(true, std::memory_order_relaxed);
  }
  bool contains(std::size_t table) const {
    return table < searched_.size() && searched_[table].load(std::memory_order_relaxed);
  }

 private:
  std::vector<std::atomic<bool>> searched_;
};

/// What the write transactions of a storage share.
struct WriteOutside {
  std::shared_ptr<const Catalog> catalog;
  std::shared_ptr<SearchedTables> searched;
  std::shared_ptr<const GrantsStanding> grants;
};

/// Begins a transaction on the lent connection. `entry` has begun before the connection was lent.
Result<std::unique_ptr<WriteTransaction>> begin_write(WriteOutside outside, OwnWriters::Entry entry,
                                                      postgres::Pool::Lease lease, Timestamp now,
                                                      const WriteOptions& options);

}  // namespace nizhal::storage::pg
