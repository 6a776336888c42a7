// A shared type: a sequence of items, a map of keys to items, or both (as XML elements have). Roots have a name, nested
// types are the content of an item.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crdt/item.hpp"
#include "crdt/ordered_map.hpp"
#include "crdt/position_index.hpp"

namespace nizhal::crdt {

struct TypeNode {
  TypeKind kind = TypeKind::untyped;
  const std::string* root_name = nullptr;  // of a root; interned
  std::string node_name;                   // of an XML element or hook
  Item* item = nullptr;                    // whose content a nested type is
  Item* start = nullptr;
  OrderedMap<const std::string*, Item*> map;  // the newest item of each key; older ones are to its left
  std::uint64_t length = 0;                   // visible units of the sequence
  bool has_formatting = false;                // some format was integrated since the type was opened
  bool ever_formatted = false;
  bool has_wide_text = false;  // some text in it is not ASCII, so there may be surrogate pairs
  bool is_gone = false;        // garbage; only handles keep it
  std::unique_ptr<PositionIndex> index;

  std::uint64_t observer_count = 0;  // ever; the next one's number
  std::vector<std::pair<std::uint64_t, std::function<void(const TextEvent&)>>> text_observers;
  std::vector<std::pair<std::uint64_t, std::function<void(const MapEvent&)>>> map_observers;

  bool is_text() const { return kind == TypeKind::text || kind == TypeKind::xml_text; }
  bool is_deleted() const { return is_gone || (item && item->deleted); }
};

}  // namespace nizhal::crdt
