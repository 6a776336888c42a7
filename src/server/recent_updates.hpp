// The updates of late of one row's CRDT columns, kept in the row itself, so that a pull tells a device what it lacks
// instead of the whole state. Place in the loop: mutation_runner ▶ (recent_updates) ▶ pull_handler.
//
// The fact that must not break: whoever has the row as of a settled position at or above a column's floor lacks nothing
// but the entries above that position. What is not sure of that is not told: since() answers nothing, and the device
// gets the whole state.
//
// A write of version v sees everything that was written before it, and a position at or above v is settled only when
// that transaction has ended. So a column may begin at v whatever happened to it before, versions out of order
// included.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.hpp"
#include "crdt/encoding.hpp"

namespace nizhal::server {

class RecentUpdates {
 public:
  RecentUpdates() = default;
  /// Bytes that this class did not write hold nothing.
  explicit RecentUpdates(std::string_view bytes);

  bool knows(std::string_view column) const { return columns_.contains(column); }
  /// From here on; what was known of the column is forgotten.
  void begin(std::string_view column, Version floor);
  /// Of a column that is known.
  void add(std::string_view column, Version version, crdt::Bytes update);
  /// Forgets the oldest entries until bytes() is no longer; floors rise.
  void shrink(std::size_t bytes_max);
  /// The updates above `position`, in the order in which they were made. Nothing: what lies above it is not all known.
  std::optional<std::vector<crdt::Bytes>> since(std::string_view column, Version position) const;

  /// Empty: nothing is known.
  std::string bytes() const;

 private:
  struct Entry {
    Version version{};
    crdt::Bytes update;
  };
  struct Column {
    Version floor{};
    std::vector<Entry> entries;
  };
  bool read(std::string_view bytes);
  std::size_t size_in_bytes() const;  // of bytes(), without writing them

  std::map<std::string, Column, std::less<>> columns_;
};

}  // namespace nizhal::server
