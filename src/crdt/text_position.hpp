// A place between two items of a text, and the attributes that hold there.
#pragma once

#include <cstdint>

#include "crdt/attributes.hpp"
#include "crdt/core.hpp"

namespace nizhal::crdt {

struct TextPosition {
  Item* left = nullptr;
  Item* right = nullptr;
  AttributeMap attributes;

  void forward() {
    if (right->is_live_format()) attributes.pass(*right);
    left = right;
    right = right->right;
  }
};

/// Deletes the formats in the gap that begins at `start` that change nothing, because others of the gap overrule them
/// or because what they say held already. `attributes` are those at `current`, and are put right.
void cleanup_gap(Core& core, Item* start, const Item* current, const AttributeMap& start_attributes,
                 AttributeMap& attributes);

}  // namespace nizhal::crdt
