// A map that remembers in which order its keys came, as JavaScript's Map does: the order of keys decides over the order
// of operations, which decides over bytes. Small ones are searched linearly, larger ones through an index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nizhal::crdt {

template <class Key, class Value>
class OrderedMap {
 public:
  using Entry = std::pair<Key, Value>;
  Value* find(const Key& key) {
    if (index_.empty()) {
      for (Entry& entry : entries_)
        if (entry.first == key) return &entry.second;
      return nullptr;
    }
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &entries_[found->second].second;
  }
  const Value* find(const Key& key) const { return const_cast<OrderedMap*>(this)->find(key); }
  Value& operator[](const Key& key) {
    if (Value* found = find(key)) return *found;
    entries_.emplace_back(key, Value{});
    if (!index_.empty()) {
      index_.emplace(key, entries_.size() - 1);
    } else if (entries_.size() > kLinearMax) {
      for (std::size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].first, i);
    }
    return entries_.back().second;
  }
  void clear() {
    entries_.clear();
    index_.clear();
  }
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  auto begin() { return entries_.begin(); }
  auto end() { return entries_.end(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

 private:
  static constexpr std::size_t kLinearMax = 12;  // comparisons in one cache line or two beat a hash
  // Client ids come from strangers, who could choose them so that all fall into one bucket if they knew which: where
  // the program was loaded is mixed in. No order depends on it.
  struct Hash {
    std::size_t operator()(const Key& key) const {
      static const char kHere = 0;
      std::uint64_t mixed = std::hash<Key>{}(key) ^ reinterpret_cast<std::uintptr_t>(&kHere);
      mixed = (mixed ^ mixed >> 33) * 0xFF51AFD7ED558CCDULL;  // the finalizer of MurmurHash3
      mixed = (mixed ^ mixed >> 33) * 0xC4CEB9FE1A85EC53ULL;
      return static_cast<std::size_t>(mixed ^ mixed >> 33);
    }
  };
  std::vector<Entry> entries_;
  std::unordered_map<Key, std::size_t, Hash> index_;
};

}  // namespace nizhal::crdt
