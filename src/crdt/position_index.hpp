// From a position to an item and back in O(log n): a B+ tree over the items of one sequence, whose nodes count visible
// units and live formats. It is built when a position is first asked for; a document that only merges updates has none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "crdt/item.hpp"

namespace nizhal::crdt {

struct IndexNode {
  static constexpr std::size_t kChildrenMax = 16;
  static constexpr std::size_t kItemsMax = 48;
  IndexNode* parent = nullptr;
  std::uint64_t visible = 0;
  std::uint64_t formats = 0;
  std::size_t count = 0;  // children, or the items of a leaf
  Item* first = nullptr;  // of a leaf; its others follow it in the sequence
  std::unique_ptr<IndexNode> children[kChildrenMax];
  bool is_leaf() const { return !children[0]; }
};

class PositionIndex {
 public:
  explicit PositionIndex(Item* start);
  PositionIndex(const PositionIndex&) = delete;
  PositionIndex& operator=(const PositionIndex&) = delete;

  struct Found {
    Item* item = nullptr;
    std::uint64_t offset = 0;  // units of the item before the position; 1 or more
  };
  /// The item that ends at or spans the position; nothing for 0. The position is not beyond the sequence.
  Found find(std::uint64_t position) const;
  /// Visible units before the item.
  std::uint64_t position_of(const Item* item) const;
  /// The live formats up to and with `last`, in order; nullptr: none.
  void formats_before(const Item* last, const std::function<void(const Item&)>& visit) const;

  /// The item was linked behind `left` (null: at the front).
  void inserted(Item* item, Item* left);
  /// The item is about to be unlinked.
  void removed(Item* item);
  void changed(const Item* item, std::int64_t visible, std::int64_t formats) {
    for (IndexNode* node = item->leaf; node; node = node->parent) {
      node->visible += static_cast<std::uint64_t>(visible);
      node->formats += static_cast<std::uint64_t>(formats);
    }
  }

 private:
  void split_leaf(IndexNode* leaf);
  void add_sibling(IndexNode* node, std::unique_ptr<IndexNode> sibling);
  static std::size_t place_of(const IndexNode* node);
  std::unique_ptr<IndexNode> root_;
};

}  // namespace nizhal::crdt
