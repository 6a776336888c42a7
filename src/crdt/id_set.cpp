#include "crdt/id_set.hpp"

#include <algorithm>

namespace nizhal::crdt {

void IdSet::normalize() {
  for (auto& [client, ranges] : clients_) {
    if (ranges.size() < 2) continue;
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.clock < b.clock; });
    std::size_t last = 0;
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      Range& left = ranges[last];
      const Range right = ranges[i];
      if (left.clock + left.length >= right.clock)
        left.length = std::max(left.length, right.clock + right.length - left.clock);
      else
        ranges[++last] = right;
    }
    ranges.resize(last + 1);
  }
}

bool IdSet::contains(Id id) const {
  const std::vector<Range>* ranges = clients_.find(id.client);
  if (!ranges) return false;
  const auto after = std::upper_bound(ranges->begin(), ranges->end(), id.clock,
                                      [](std::uint64_t clock, const Range& range) { return clock < range.clock; });
  return after != ranges->begin() && id.clock < std::prev(after)->clock + std::prev(after)->length;
}

void IdSet::append(const IdSet& other) {
  for (const auto& [client, ranges] : other.clients_) {
    std::vector<Range>& mine = clients_[client];
    mine.insert(mine.end(), ranges.begin(), ranges.end());
  }
}

void IdSet::write(Writer& out) const {
  out.var_uint(clients_.size());
  std::vector<const std::pair<std::uint64_t, std::vector<Range>>*> sorted;
  sorted.reserve(clients_.size());
  for (const auto& entry : clients_) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->first > b->first; });
  for (const auto* entry : sorted) {
    out.var_uint(entry->first);
    out.var_uint(entry->second.size());
    for (const Range& range : entry->second) {
      out.var_uint(range.clock);
      out.var_uint(range.length);
    }
  }
}

IdSet IdSet::read(Reader& in) {
  IdSet read;
  const std::uint64_t clients = in.var_uint();
  for (std::uint64_t i = 0; i < clients && !in.failed(); ++i) {
    const std::uint64_t client = in.var_uint();
    const std::uint64_t count = in.var_uint();
    for (std::uint64_t k = 0; k < count && !in.failed(); ++k) {
      const std::uint64_t clock = in.var_uint();
      const std::uint64_t length = in.var_uint();
      if (in.failed()) break;
      if (length > kNumberMax - clock) {
        in.fail();
        break;
      }
      read.clients_[client].push_back({clock, length});
    }
  }
  return read;
}

}  // namespace nizhal::crdt
