// Where an item goes (YATA), and how it is deleted.
#include "crdt/core.hpp"

namespace nizhal::crdt {

Item* Core::new_item(TypeNode& parent, Item* left, Item* right, const std::string* key, ContentKind kind) {
  Item* item = store.allocate();
  item->id = next_id();
  item->length = 1;
  item->kind = kind;
  item->parent = &parent;
  item->parent_sub = key;
  item->left = left;
  item->right = right;
  if (left) item->origin = left->last_id();
  if (right) item->right_origin = right->id;
  return item;
}

// Items between the left neighbour and the right one were inserted at the same place by others. Which come before this
// one is decided so that every client decides alike: by origin, then by client id, and never so that insertions of two
// clients cross.
void Core::resolve_conflicts(Item* item) {
  Item* left = item->left;
  Item* other;
  if (left) {
    other = left->right;
  } else if (item->parent_sub) {
    Item** newest = item->parent->map.find(item->parent_sub);
    other = newest ? *newest : nullptr;
    while (other && other->left && spend(1)) other = other->left;
  } else {
    other = item->parent->start;
  }
  // Marks stand for two sets: a mark of this walk means "before this one's place", and "in conflict" is emptied by
  // beginning a new mark.
  if (mark > 0xF0000000u) {
    for (const auto& [client, list] : store.clients()) {
      if (list->empty()) continue;
      for (BlockList::Position at{};; at = list->next(at)) {
        list->at(at)->before_mark = list->at(at)->conflict_mark = 0;
        if (list->is_last(at)) break;
      }
    }
    mark = 0;
  }
  const std::uint32_t walk = ++mark;
  std::uint32_t conflicts = walk;
  for (; other && other != item->right && spend(1); other = other->right) {
    other->before_mark = walk;
    other->conflict_mark = conflicts;
    if (item->origin == other->origin) {
      if (other->id.client < item->id.client) {
        left = other;
        conflicts = ++mark;
      } else if (item->right_origin == other->right_origin) {
        break;
      }
    } else if (other->origin.is_set()) {
      const Item* origin = store.find(other->origin);
      if (origin->before_mark < walk || origin->is_gc()) break;
      if (origin->conflict_mark != conflicts) {
        left = other;
        conflicts = ++mark;
      }
    } else {
      break;
    }
  }
  item->left = left;
}

void Core::integrate(Item* item) {
  if (!item->parent) {
    const Id id = item->id;
    const std::uint64_t length = item->length;
    *item = Item{};
    item->id = id;
    item->length = length;
    item->deleted = true;
    add_block(item);
    return;
  }
  TypeNode& parent = *item->parent;
  if (item->left ? item->left->right != item->right : !item->right || item->right->left) resolve_conflicts(item);
  if (item->left) {
    item->right = item->left->right;
    item->left->right = item;
  } else if (item->parent_sub) {
    Item** newest = parent.map.find(item->parent_sub);
    Item* first = newest ? *newest : nullptr;
    for (; first && first->left; first = first->left) ++steps;
    item->right = first;
  } else {
    item->right = parent.start;
    parent.start = item;
  }
  if (item->right) {
    item->right->left = item;
  } else if (item->parent_sub) {
    parent.map[item->parent_sub] = item;
    if (item->left) delete_item(item->left);  // the key has a new value
  }
  if (!item->parent_sub) {
    parent.length += item->visible();
    if (parent.index) parent.index->inserted(item, item->left);
  }
  add_block(item);
  if (item->kind == ContentKind::deleted) {
    current->deletes.add(item->id.client, item->id.clock, item->length);
    item->deleted = true;
  } else if (item->kind == ContentKind::type) {
    item->extra->type->item = item;
  } else if (item->kind == ContentKind::format) {
    parent.has_formatting = true;
    parent.ever_formatted = true;
  } else if (item->kind == ContentKind::string && item->content.size() != item->length) {
    parent.has_wide_text = true;
  }
  mark_changed(parent, item->parent_sub);
  if ((parent.item && parent.item->deleted) || (item->parent_sub && item->right)) delete_item(item);
}

// With a type, all that is in it is deleted. Types may be nested as deep as an update's author likes, so what is still
// to be done is kept here and not on the call stack.
void Core::delete_item(Item* item) {
  struct Level {
    TypeNode* type;
    Item* next;
    std::size_t key = 0;
  };
  std::vector<Level> levels;
  const auto delete_one = [&](Item* one) {
    TypeNode& parent = *one->parent;
    if (!one->parent_sub) parent.length -= one->visible();
    if (one->leaf)
      parent.index->changed(one, -static_cast<std::int64_t>(one->visible()), one->is_live_format() ? -1 : 0);
    one->deleted = true;
    current->deletes.add(one->id.client, one->id.clock, one->length);
    mark_changed(parent, one->parent_sub);
    if (one->kind == ContentKind::type) levels.push_back({one->extra->type.get(), one->extra->type->start});
  };
  // What was deleted earlier becomes garbage now and may be joined with its neighbours.
  const auto delete_or_note = [&](Item* one) {
    if (!one->deleted)
      delete_one(one);
    else if (one->id.clock < state_before(*current, one->id.client))
      current->splits.push_back(one->id);
  };
  if (item->deleted) return;
  delete_one(item);
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.next) {
      Item* one = level.next;
      level.next = one->right;
      delete_or_note(one);
    } else if (level.key < level.type->map.size()) {
      Item* one = (level.type->map.begin() + static_cast<std::ptrdiff_t>(level.key++))->second;
      delete_or_note(one);
    } else {
      if (ChangedType* changed = current->changed.find(level.type)) changed->is_present = false;
      levels.pop_back();
    }
  }
}

}  // namespace nizhal::crdt
