// What one committed transaction of the device's file did, for those who follow it: live queries, tickets, the status.
//
// The fact that must not break: a listener hears of the commits in their order, of none that was rolled back, and of
// every one; what another process committed is told as "anything may have changed".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nizhal/conflict.hpp>
#include <nizhal/outcome.hpp>
#include <nizhal/table.hpp>

namespace nizhal::client {

/// One row of a watched table, before and after the transaction; never the same on both sides.
struct RowChange {
  const TableDef* table = nullptr;
  std::optional<Row> before, after;  // nothing: there was, or is, no such row
};

struct ChangeSet {
  std::vector<RowChange> rows;              // of watched tables, one entry a row
  std::set<std::string, std::less<>> bulk;  // watched tables of which too much changed to list it
  bool is_unknown = false;                  // another process wrote too: any table may have changed
};

/// What became of a mutation.
struct Settlement {
  enum class Kind {
    applied,    // the server did it
    refused,    // it is a dead letter
    confirmed,  // a pull covers it and its outcome is known: it left the outbox
    dropped,    // it was taken out of the outbox without ever being sent
  };
  Kind kind = Kind::applied;
  std::string client_mutation_id;
  Outcome outcome;
};

struct Commit {
  std::uint64_t number = 0;  // 1, 2, 3 … of this handle's commits; what others wrote is noticed with the next
  ChangeSet changes;
  std::vector<Settlement> settlements;
  std::vector<LostEdit> lost_edits;
};

class CommitListener {
 public:
  virtual ~CommitListener() = default;
  /// Under the store's lock, on whatever thread committed: only takes it down and returns.
  virtual void committed(std::shared_ptr<const Commit> commit) = 0;
  /// What the file says when it is written is another than before (FileFacts::storage). As `committed`.
  virtual void storage_changed() {}
};

}  // namespace nizhal::client
