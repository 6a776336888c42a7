// Attributes of formatted text, with JavaScript's notion of which values are the same.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/item.hpp"

namespace nizhal::crdt {

/// The attributes at a place in a text, in the order in which they came. Keys are interned.
class AttributeMap {
 public:
  /// nullptr: not there.
  const SharedJson* find(const std::string* key) const {
    for (const auto& entry : entries_)
      if (entry.first == key) return &entry.second;
    return nullptr;
  }
  void set(const std::string* key, SharedJson value) {
    for (auto& entry : entries_) {
      if (entry.first != key) continue;
      entry.second = std::move(value);
      return;
    }
    entries_.emplace_back(key, std::move(value));
  }
  void erase(const std::string* key) {
    std::erase_if(entries_, [&](const auto& entry) { return entry.first == key; });
  }
  /// What passing a format does.
  void pass(const Item& format);
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  Attributes plain() const;

 private:
  std::vector<std::pair<const std::string*, SharedJson>> entries_;
};

bool is_null(const SharedJson& value);
/// JavaScript's ===: the same object, or the same primitive.
bool is_identical(const SharedJson& left, const SharedJson& right);
/// Identical, or objects whose members are identical.
bool is_equal_attribute(const SharedJson& left, const SharedJson& right);

}  // namespace nizhal::crdt
