// A set of ids as ranges per client: what a transaction deleted, what an update deletes, what an undo step inserted.
#pragma once

#include <cstdint>
#include <vector>

#include "crdt/encoding.hpp"
#include "crdt/ordered_map.hpp"

namespace nizhal::crdt {

struct Range {
  std::uint64_t clock = 0, length = 0;
};

class IdSet {
 public:
  void add(std::uint64_t client, std::uint64_t clock, std::uint64_t length) {
    std::vector<Range>& ranges = clients_[client];
    // What follows on the last range joins it: a run of deletions is one range.
    if (!ranges.empty() && ranges.back().clock + ranges.back().length == clock)
      ranges.back().length += length;
    else
      ranges.push_back({clock, length});
  }
  /// Sorts the ranges of each client and joins those that touch.
  void normalize();
  /// Both normalized.
  bool contains(Id id) const;
  void merge(const IdSet& other) {
    append(other);
    normalize();
  }
  /// Not normalized then.
  void append(const IdSet& other);
  bool empty() const { return clients_.empty(); }
  void clear() { clients_.clear(); }
  auto begin() const { return clients_.begin(); }
  auto end() const { return clients_.end(); }

  /// Clients from the highest id to the lowest, as Yjs writes them.
  void write(Writer& out) const;
  /// Fails the reader on ranges that are no ranges.
  static IdSet read(Reader& in);

 private:
  OrderedMap<std::uint64_t, std::vector<Range>> clients_;
};

}  // namespace nizhal::crdt
