// Which rows of watched tables a transaction touches, and what they were before it.
//
// The fact that must not break: a row is taken down before its first write in the transaction, so its image is that of
// the last commit, whatever is undone and run again in between. Savepoints that are rolled back need no care: a row
// that ends as it began is no change.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <nizhal/result.hpp>

#include "client/commit.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::client {

class ChangeRecorder {
 public:
  /// Counted: a table is watched until each watch was ended.
  void watch(std::string_view table);
  void unwatch(std::string_view table);
  bool is_watched(std::string_view table) const { return watched_.find(table) != watched_.end(); }

  /// Before a write of that row. `before` is its image if the caller has it at hand.
  [[nodiscard]] Result<void> touch(sqlite::Connection& connection, const TableDef& table, const Value& key,
                                   const std::optional<Row>* before = nullptr);
  /// Before a write of many rows that cannot be named.
  void touch_all(const TableDef& table);
  /// Another process wrote since the last transaction.
  void note_others() { changes_.is_unknown = true; }
  bool has_noted_others() const { return changes_.is_unknown; }

  /// At the end of the transaction, before its commit: what it comes to.
  [[nodiscard]] Result<ChangeSet> finish(sqlite::Connection& connection);
  /// What others wrote stays noted for the next transaction.
  void roll_back();

 private:
  struct Touched {
    const TableDef* table = nullptr;
    Value key;
    std::optional<Row> before;
  };
  std::map<std::string, std::size_t, std::less<>> watched_;
  std::map<std::pair<std::string, std::string>, Touched> touched_;  // by table and key text
  ChangeSet changes_;
};

}  // namespace nizhal::client
