#include "crdt/position_index.hpp"

#include <utility>

namespace nizhal::crdt {

PositionIndex::PositionIndex(Item* start) : root_(std::make_unique<IndexNode>()) {
  Item* left = nullptr;
  for (Item* item = start; item; item = item->right) {
    item->leaf = nullptr;
    inserted(item, left);
    left = item;
  }
}

std::size_t PositionIndex::place_of(const IndexNode* node) {
  std::size_t place = 0;
  while (node->parent->children[place].get() != node) ++place;
  return place;
}

PositionIndex::Found PositionIndex::find(std::uint64_t position) const {
  if (position == 0) return {};
  const IndexNode* node = root_.get();
  while (!node->is_leaf()) {
    std::size_t child = 0;
    while (position > node->children[child]->visible && child + 1 < node->count)
      position -= node->children[child++]->visible;
    node = node->children[child].get();
  }
  Item* item = node->first;
  for (std::size_t i = 0; i < node->count; ++i, item = item->right) {
    const std::uint64_t visible = item->visible();
    if (position <= visible) return {item, position};
    position -= visible;
  }
  return {};
}

std::uint64_t PositionIndex::position_of(const Item* item) const {
  std::uint64_t position = 0;
  for (const Item* before = item->leaf->first; before != item; before = before->right) position += before->visible();
  for (const IndexNode* node = item->leaf; node->parent; node = node->parent)
    for (std::size_t i = 0; node->parent->children[i].get() != node; ++i)
      position += node->parent->children[i]->visible;
  return position;
}

void PositionIndex::formats_before(const Item* last, const std::function<void(const Item&)>& visit) const {
  if (!last) return;
  const auto visit_leaf = [&](const IndexNode* leaf) {
    const Item* item = leaf->first;
    for (std::size_t i = 0; i < leaf->count; ++i, item = item->right) {
      if (item->is_live_format()) visit(*item);
      if (item == last) return;
    }
  };
  // The way down to the leaf, then everything left of it; a handful of levels, so this recursion ends.
  const std::function<void(const IndexNode*)> visit_all = [&](const IndexNode* node) {
    if (node->formats == 0) return;
    if (node->is_leaf()) return visit_leaf(node);
    for (std::size_t i = 0; i < node->count; ++i) visit_all(node->children[i].get());
  };
  const std::function<void(const IndexNode*)> visit_left_of = [&](const IndexNode* node) {
    if (!node->parent) return;
    visit_left_of(node->parent);
    for (std::size_t i = 0; node->parent->children[i].get() != node; ++i) visit_all(node->parent->children[i].get());
  };
  visit_left_of(last->leaf);
  if (last->leaf->formats > 0) visit_leaf(last->leaf);
}

void PositionIndex::inserted(Item* item, Item* left) {
  IndexNode* leaf;
  if (left) {
    leaf = left->leaf;
  } else {
    leaf = root_.get();
    while (!leaf->is_leaf()) leaf = leaf->children[0].get();
    leaf->first = item;
  }
  item->leaf = leaf;
  ++leaf->count;
  changed(item, static_cast<std::int64_t>(item->visible()), item->is_live_format() ? 1 : 0);
  if (leaf->count > IndexNode::kItemsMax) split_leaf(leaf);
}

void PositionIndex::removed(Item* item) {
  IndexNode* leaf = item->leaf;
  changed(item, -static_cast<std::int64_t>(item->visible()), item->is_live_format() ? -1 : 0);
  item->leaf = nullptr;
  if (--leaf->count > 0) {
    if (leaf->first == item) leaf->first = item->right;
    return;
  }
  // Nodes are not joined with their neighbours when they shrink, only taken away when they are empty.
  IndexNode* node = leaf;
  while (node->parent && node->count == 0) {
    IndexNode* parent = node->parent;
    for (std::size_t i = place_of(node); i + 1 < parent->count; ++i)
      parent->children[i] = std::move(parent->children[i + 1]);
    parent->children[--parent->count].reset();
    node = parent;
  }
  if (!root_->is_leaf() || root_->count == 0) root_->first = nullptr;
}

void PositionIndex::split_leaf(IndexNode* leaf) {
  auto upper = std::make_unique<IndexNode>();
  const std::size_t kept = leaf->count / 2;
  Item* item = leaf->first;
  for (std::size_t i = 0; i < kept; ++i) item = item->right;
  upper->first = item;
  for (std::size_t i = kept; i < leaf->count; ++i, item = item->right) {
    item->leaf = upper.get();
    upper->visible += item->visible();
    upper->formats += item->is_live_format() ? 1 : 0;
  }
  upper->count = leaf->count - kept;
  leaf->count = kept;
  leaf->visible -= upper->visible;
  leaf->formats -= upper->formats;
  add_sibling(leaf, std::move(upper));
}

void PositionIndex::add_sibling(IndexNode* node, std::unique_ptr<IndexNode> sibling) {
  if (!node->parent) {
    auto root = std::make_unique<IndexNode>();
    root->visible = node->visible + sibling->visible;
    root->formats = node->formats + sibling->formats;
    root->count = 2;
    node->parent = sibling->parent = root.get();
    root->children[0] = std::move(root_);
    root->children[1] = std::move(sibling);
    root_ = std::move(root);
    return;
  }
  IndexNode* parent = node->parent;
  if (parent->count == IndexNode::kChildrenMax) {
    auto upper = std::make_unique<IndexNode>();
    constexpr std::size_t kKept = IndexNode::kChildrenMax / 2;
    for (std::size_t i = kKept; i < IndexNode::kChildrenMax; ++i) {
      IndexNode& child = *parent->children[i];
      child.parent = upper.get();
      upper->visible += child.visible;
      upper->formats += child.formats;
      upper->children[upper->count++] = std::move(parent->children[i]);
    }
    parent->count = kKept;
    // The sibling's share was the node's, so it has been counted with whichever half the node is in.
    if (node->parent == upper.get()) {
      upper->visible += sibling->visible;
      upper->formats += sibling->formats;
    }
    parent->visible -= upper->visible;
    parent->formats -= upper->formats;
    IndexNode* half = node->parent;
    add_sibling(parent, std::move(upper));
    parent = half;
  }
  std::size_t place = place_of(node) + 1;
  for (std::size_t i = parent->count; i > place; --i) parent->children[i] = std::move(parent->children[i - 1]);
  sibling->parent = parent;
  parent->children[place] = std::move(sibling);
  ++parent->count;
}

}  // namespace nizhal::crdt
