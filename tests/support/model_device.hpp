// A device reduced to the rules of docs/protocol.md: it keeps pages aside until a pull is complete and then folds
// them into a map of rows. Independent of src/client, so that the two can be held against each other; and able to lose
// replies, to ask for random page sizes and to narrow what it covers.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.hpp"

namespace nizhal::testing {

class ModelDevice {
 public:
  /// Which bucket keys a row is in: the test's own reading of the domain's rules.
  using BucketsOf = std::function<std::set<std::string>(const std::string& table, const json::object& row)>;
  explicit ModelDevice(BucketsOf buckets_of) : buckets_of_(std::move(buckets_of)) {}

  const std::string& cursor() const { return staged_cursor_; }
  void set_cursor(std::string cursor) { staged_cursor_ = std::move(cursor); }

  /// Takes a 200 answer. Returns true when the pull is complete and applied. `problem` is set when the answer breaks a
  /// rule of the protocol by itself.
  bool take(const std::string& body, std::string& problem);

  /// "table|id" → the row as JSON text.
  const std::map<std::string, std::string>& rows() const { return rows_; }
  const std::set<std::string>& buckets() const { return covered_; }
  std::uint64_t pages = 0, completes = 0, resets = 0, removals = 0, buckets_lost = 0;

 private:
  struct Page {
    json::object body;
  };
  void apply();
  bool is_covered(const std::string& table, const json::object& row, const std::set<std::string>& covered) const;

  BucketsOf buckets_of_;
  std::map<std::string, std::string> rows_;
  std::set<std::string> covered_;
  std::vector<Page> staged_;
  std::string staged_cursor_;
};

}  // namespace nizhal::testing
