// What a transaction leaves behind is made small: deleted content is forgotten, and neighbours that one insertion could
// have made become one block. Both are tried exactly where Yjs tries them, so that both have the same blocks.
#include <algorithm>

#include "crdt/core.hpp"

namespace nizhal::crdt {

void Core::make_garbage(Item* top, bool parent_is_gone) {
  std::vector<std::pair<Item*, bool>> rest{{top, parent_is_gone}};
  while (!rest.empty()) {
    const auto [item, becomes_gc] = rest.back();
    rest.pop_back();
    if (item->kind == ContentKind::type) {
      const std::shared_ptr<TypeNode> type = item->extra->type;
      for (Item* child = type->start; child; child = child->right) rest.emplace_back(child, true);
      for (const auto& [key, newest] : type->map)
        for (Item* child = newest; child; child = child->left) rest.emplace_back(child, true);
      type->start = nullptr;
      type->map.clear();
      type->index.reset();
      type->item = nullptr;
      type->length = 0;
      type->is_gone = true;
      gone.push_back(type);
    }
    item->content = std::string();
    if (item->extra) {
      const Id redone = item->extra->redone;
      item->extra.reset();
      if (redone.is_set() && !becomes_gc) item->more().redone = redone;
    }
    item->deleted = true;
    item->kind = ContentKind::deleted;
    if (becomes_gc) {
      item->kind = ContentKind::gc;
      item->parent = nullptr;
      item->parent_sub = nullptr;
      item->left = item->right = nullptr;
      item->leaf = nullptr;
      item->origin = item->right_origin = {};
    }
  }
}

void Core::collect_garbage(const IdSet& deletes) {
  for (const auto& [client, ranges] : deletes) {
    BlockList& list = *store.list(client);
    for (std::size_t i = ranges.size(); i-- > 0;) {
      const std::uint64_t end = ranges[i].clock + ranges[i].length;
      for (BlockList::Position at = list.find(ranges[i].clock);; at = list.next(at)) {
        Item* item = list.at(at);
        if (item->id.clock >= end) break;
        if (!item->is_gc() && item->deleted && !item->keep) make_garbage(item, false);
        if (list.is_last(at)) break;
      }
    }
  }
}

namespace {

bool is_joinable(ContentKind kind) {
  return kind == ContentKind::string || kind == ContentKind::any || kind == ContentKind::json ||
         kind == ContentKind::deleted;
}

bool can_join(const Item& left, const Item& right) {
  if (left.is_gc() || right.is_gc()) return left.is_gc() && right.is_gc();
  return left.right == &right && left.kind == right.kind && is_joinable(left.kind) && left.deleted == right.deleted &&
         right.origin == left.last_id() && left.right_origin == right.right_origin && !left.is_redone() &&
         !right.is_redone();
}

}  // namespace

void Core::join(BlockList& list, BlockList::Position first, std::size_t count) {
  Item* left = list.at(first);
  const BlockList::Position begin = list.next(first);
  BlockList::Position at = begin;
  for (std::size_t i = 0; i < count; ++i) {
    Item* right = list.at(at);
    if (i + 1 < count) at = list.next(at);
    if (right->leaf) {
      const auto visible = static_cast<std::int64_t>(right->visible());
      right->parent->index->removed(right);
      right->parent->index->changed(left, visible, 0);
    }
    if (!left->is_gc()) {
      left->right = right->right;
      if (left->right) left->right->left = left;
      // Joined with what follows it, it is still what the key has.
      else if (right->parent_sub)
        left->parent->map[left->parent_sub] = left;
    }
    left->content += right->content;
    left->length += right->length;
    left->keep = left->keep || right->keep;
    store.release(right);
  }
  list.erase(begin, count);
}

std::size_t Core::join_with_lefts(BlockList& list, BlockList::Position position) {
  std::size_t count = 0;
  BlockList::Position first = position;
  while (!list.is_first(first)) {
    const BlockList::Position before = list.previous(first);
    if (!can_join(*list.at(before), *list.at(first))) break;
    first = before;
    ++count;
  }
  // From the left to the right, so that a long run costs its length and not its square.
  if (count > 0) join(list, first, count);
  return count;
}

void Core::join_deleted(const IdSet& deletes) {
  for (const auto& [client, ranges] : deletes) {
    BlockList& list = *store.list(client);
    for (std::size_t i = ranges.size(); i-- > 0;) {
      BlockList::Position at = list.find(ranges[i].clock + ranges[i].length - 1);
      if (!list.is_last(at)) at = list.next(at);
      while (!list.is_first(at) && list.at(at)->id.clock >= ranges[i].clock) {
        const BlockList::Position before = list.previous(at);
        const std::uint64_t clock = list.at(before)->id.clock;
        if (join_with_lefts(list, at) == 0) {
          at = before;
          continue;
        }
        // The joined block is the leftmost of the run; what comes next is the one before it.
        at = list.find(clock);
        if (list.is_first(at)) break;
        at = list.previous(at);
      }
    }
  }
}

void Core::join_new(const Transaction& transaction) {
  for (const auto& [client, before] : transaction.before) {
    BlockList& list = *store.list(client);
    const std::uint64_t* after = transaction.after.find(client);
    if (!after || *after == before) continue;
    BlockList::Position first = list.find(before);
    if (list.is_first(first)) {
      if (list.is_last(first)) continue;
      first = list.next(first);
    }
    const std::uint64_t first_clock = list.at(first)->id.clock;
    BlockList::Position at = list.last();
    while (!list.is_first(at) && list.at(at)->id.clock >= first_clock) {
      const BlockList::Position before_it = list.previous(at);
      const std::uint64_t clock = list.at(before_it)->id.clock;
      if (join_with_lefts(list, at) == 0) {
        at = before_it;
        continue;
      }
      at = list.find(clock);
      if (list.is_first(at)) break;
      at = list.previous(at);
    }
  }
}

void Core::join_splits(const Transaction& transaction) {
  for (std::size_t i = transaction.splits.size(); i-- > 0;) {
    const Id id = transaction.splits[i];
    BlockList& list = *store.list(id.client);
    BlockList::Position at = list.find(id.clock);
    if (!list.is_last(at)) {
      if (join_with_lefts(list, list.next(at)) > 1) continue;
      at = list.find(id.clock);
    }
    if (!list.is_first(at)) join_with_lefts(list, at);
  }
}

}  // namespace nizhal::crdt
