#include "crdt/core.hpp"

namespace nizhal::crdt {

void Transaction::clear() {
  origin = {};
  is_local = true;
  deletes.clear();
  before.clear();
  after.clear();
  changed.clear();
  splits.clear();
  wants_cleanup = false;
}

const std::string* Core::intern(std::string_view text) { return &*names_.emplace(text).first; }

const std::string* Core::interned(std::string_view text) const {
  const auto found = names_.find(std::string(text));
  return found == names_.end() ? nullptr : &*found;
}

TypeNode* Core::root(std::string_view name) {
  const std::string* key = intern(name);
  std::shared_ptr<TypeNode>& node = roots[key];
  if (!node) {
    node = std::make_shared<TypeNode>();
    node->root_name = key;
  }
  return node.get();
}

std::uint64_t Core::state_before(const Transaction& transaction, std::uint64_t client) {
  const std::uint64_t* before = transaction.before.find(client);
  return before ? *before : store.end_clock(client);
}

bool Core::adds(const Transaction& transaction, const Item& item) {
  return item.id.clock >= state_before(transaction, item.id.client);
}

void Core::mark_changed(TypeNode& type, const std::string* key) {
  if (type.item && (type.item->deleted || adds(*current, *type.item))) return;
  ChangedType& changed = current->changed[&type];
  changed.is_present = true;
  if (!type.text_observers.empty() || !type.map_observers.empty()) changed.keys[key] = true;
}

void Core::add_block(Item* item) {
  BlockList& list = store.list_for(item->id.client);
  if (!current->before.find(item->id.client)) current->before[item->id.client] = list.end_clock();
  list.push_back(item);
}

Item* Core::split(BlockList& list, BlockList::Position position, std::uint64_t offset) {
  Item* left = list.at(position);
  spend(1 + left->content.size() / 64);  // the content is searched for the place, and what is behind it is moved
  Item* right = store.allocate();
  right->id = {left->id.client, left->id.clock + offset};
  right->origin = {left->id.client, right->id.clock - 1};
  right->right_origin = left->right_origin;
  right->length = left->length - offset;
  right->parent = left->parent;
  right->parent_sub = left->parent_sub;
  right->kind = left->kind;
  right->deleted = left->deleted;
  right->keep = left->keep;
  if (left->is_redone()) right->more().redone = {left->extra->redone.client, left->extra->redone.clock + offset};
  if (left->kind == ContentKind::string) {
    std::string& text = left->content;
    if (text.size() == left->length) {  // ASCII
      right->content.assign(text, offset);
      text.resize(offset);
    } else {
      bool in_pair = false;
      const std::size_t at = utf16_to_byte(text, offset, in_pair);
      if (in_pair) {
        right->content = std::string(kReplacement) + text.substr(at + 4);
        text.replace(at, std::string::npos, kReplacement);
      } else {
        right->content.assign(text, at);
        text.resize(at);
      }
    }
  } else if (left->kind == ContentKind::any || left->kind == ContentKind::json) {
    const std::string_view rest = skip_elements(left->kind, left->content, offset);
    right->content = rest;
    left->content.resize(left->content.size() - rest.size());
  }
  const auto visible = static_cast<std::int64_t>(right->visible());
  left->length = offset;
  right->left = left;
  right->right = left->right;
  left->right = right;
  if (right->right)
    right->right->left = right;
  else if (right->parent_sub)
    right->parent->map[right->parent_sub] = right;
  if (left->leaf) {
    right->parent->index->changed(left, -visible, 0);
    right->parent->index->inserted(right, left);
  }
  list.insert_after(position, right);
  current->splits.push_back(right->id);
  return right;
}

Item* Core::clean_start(Id id) {
  BlockList& list = *store.list(id.client);
  const BlockList::Position position = list.find(id.clock);
  Item* item = list.at(position);
  if (item->id.clock < id.clock && !item->is_gc()) return split(list, position, id.clock - item->id.clock);
  return item;
}

Item* Core::clean_end(Id id) {
  BlockList& list = *store.list(id.client);
  const BlockList::Position position = list.find(id.clock);
  Item* item = list.at(position);
  if (id.clock != item->end_clock() - 1 && !item->is_gc()) split(list, position, id.clock - item->id.clock + 1);
  return item;
}

void Core::visit_range(BlockList& list, std::uint64_t clock, std::uint64_t length,
                       const std::function<void(Item*)>& visit) {
  if (length == 0) return;
  const std::uint64_t end = clock + length;
  const std::uint64_t client = list.at({})->id.client;
  Item* item = clean_start({client, clock});
  while (true) {
    if (end < item->end_clock()) clean_start({client, end});
    const std::uint64_t next = item->end_clock();
    visit(item);
    if (next >= end || next >= list.end_clock()) return;
    item = list.at(list.find(next));
  }
}

void Core::visit_deleted(const IdSet& set, const std::function<void(Item*)>& visit) {
  for (const auto& [client, ranges] : set) {
    BlockList* list = store.list(client);
    if (!list) continue;
    const std::uint64_t state = list->end_clock();
    for (const Range& range : ranges) {
      if (range.clock >= state) break;
      visit_range(*list, range.clock, range.length, visit);
    }
  }
}

}  // namespace nizhal::crdt
