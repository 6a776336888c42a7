// A store that syncs with the app's own backend instead of a Nizhal server: the app says how to pull and how to push,
// and everything on the device (outbox, rebase, dead letters, tickets, live queries) works as it does with ours.
//
// What is weaker than with our server, and why, is in docs/brownfield.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nizhal/outcome.hpp>
#include <nizhal/result.hpp>
#include <nizhal/table.hpp>
#include <nizhal/value.hpp>

namespace nizhal {

/// Why a call came to nothing. None of these loses a write, and none of them is final.
struct TargetError {
  enum class Kind {
    unreachable,   // no answer; a push may have been done all the same, and comes again under the same key
    busy,          // answered, but not now
    unauthorized,  // the session is over: every write waits until somebody signs in again
    start_over,    // pull only: this cursor is of no use any more; called again at once with an empty one
  };
  Kind kind = Kind::busy;
  std::string message;                       // for the status and the log
  std::chrono::milliseconds retry_after{0};  // at least so long; rounded up to seconds, at most an hour
};
inline tl::unexpected<TargetError> unreachable(std::string message) {
  return tl::unexpected<TargetError>({TargetError::Kind::unreachable, std::move(message), {}});
}
inline tl::unexpected<TargetError> retry_later(std::string message, std::chrono::milliseconds at_least = {}) {
  return tl::unexpected<TargetError>({TargetError::Kind::busy, std::move(message), at_least});
}
inline tl::unexpected<TargetError> unauthorized(std::string message) {
  return tl::unexpected<TargetError>({TargetError::Kind::unauthorized, std::move(message), {}});
}
inline tl::unexpected<TargetError> start_over(std::string message) {
  return tl::unexpected<TargetError>({TargetError::Kind::start_over, std::move(message), {}});
}
template <class T>
using TargetResult = tl::expected<T, TargetError>;

/// One mutation that the backend is to do.
struct TargetMutation {
  /// The idempotency key: the same for every attempt of this mutation and for no other. A mutation may come again
  /// although it was done, whenever its reply was lost or the app was killed; a backend that remembers the key does it
  /// once.
  std::string client_mutation_id;
  std::string name;
  /// JSON object. Arguments that name a row (`references`) under an id that the backend replaced carry the backend's.
  std::string args;
  int args_version = 1;
  Timestamp made_at;  // when the user did it, by the device's clock
};

struct TargetPull {
  std::string cursor;     // of the last page that is kept; empty: from the start
  std::size_t limit = 0;  // rows that a page should have; a wish
};

/// What changed since the cursor, in any order; a row that comes again replaces what is here.
class TargetPage {
 public:
  /// Where the next pull goes on; any text. It must not skip what was committed before this pull began.
  std::string cursor;
  bool has_more = false;  // asked again at once; what came is kept aside until the last page (S13)
  /// This pull lists every row there is: rows that none of its pages names are removed. Said on its first page.
  bool is_everything = false;
  std::optional<std::uint64_t> total_rows;  // of the whole pull, for the progress in the status

  /// A whole row: a column that is left out gets its default.
  template <class T>
  TargetPage& changed(const Table<T>& table, const T& row) {
    changes_.push_back({table.def().name, table.to_row(row)});
    return *this;
  }
  /// The same as a JSON object by column names, in the forms of docs/protocol.md, "Values".
  TargetPage& changed_json(std::string table, std::string row) {
    changes_.push_back({std::move(table), std::move(row)});
    return *this;
  }
  /// The row is gone, or is no longer this device's to have.
  template <class T, class K>
  TargetPage& removed(const Table<T>& table, const K& key) {
    return removed(table.def().name, to_value(key));
  }
  TargetPage& removed(std::string table, Value key) {
    removals_.push_back({std::move(table), std::move(key)});
    return *this;
  }

  struct Change {
    std::string table;
    std::variant<Row, std::string> row;  // in the table's shape, or JSON
  };
  struct Removal {
    std::string table;
    Value key;
  };
  const std::vector<Change>& changes() const { return changes_; }
  const std::vector<Removal>& removals() const { return removals_; }

 private:
  std::vector<Change> changes_;
  std::vector<Removal> removals_;
};

/// The app's door to its backend; StoreOptions::target.
///
/// Threads: called on a thread of the store's own, one call at a time, never while another is running. The end of the
/// store waits for a call that is running, so calls need timeouts of their own. What a call throws is logged and counts
/// as busy. A call may use the store, except for its end and for what waits for the backend (sync_now, Ticket::wait,
/// a server_authoritative mutation): those are usage errors there.
class SyncTarget {
 public:
  virtual ~SyncTarget() = default;
  /// For the status and messages: "todos.example.com". Any thread.
  virtual std::string name() const { return "the app's backend"; }
  /// The changes since the cursor.
  virtual TargetResult<TargetPage> pull(const TargetPull& request) = 0;
  /// Does one mutation. done(): it is done, now or by an earlier attempt; `.with_server_id(id)` when the backend gave
  /// the new row another id. reject(code, message): refused for good, it becomes a dead letter. Mutations come in their
  /// order; the next one only after this one was answered so.
  virtual TargetResult<Outcome> push(const TargetMutation& mutation) = 0;
};

}  // namespace nizhal
