// A block of a document: a run of one client's insertion, linked with its neighbours in its parent. Garbage is a block
// too, without a parent.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "crdt/block_codec.hpp"

namespace nizhal::crdt {

struct TypeNode;
struct IndexNode;

/// JSON text of an attribute's value. Shared, because Yjs tells objects apart by identity: two equal objects from two
/// updates are not the same value.
using SharedJson = std::shared_ptr<const std::string>;

/// What few items have.
struct ItemExtra {
  std::shared_ptr<TypeNode> type;           // of a type
  const std::string* format_key = nullptr;  // of a format; interned
  SharedJson format_value;
  Id redone;  // the item that undoing put in this one's place
};

struct Item {
  Id id;
  std::uint64_t length = 0;
  Item* left = nullptr;
  Item* right = nullptr;
  TypeNode* parent = nullptr;               // none: garbage
  const std::string* parent_sub = nullptr;  // the key, where the parent is a map; interned
  Id origin, right_origin;
  IndexNode* leaf = nullptr;  // of the parent's position index, if it has one
  std::string content;        // as Block::content, except of formats and types
  std::unique_ptr<ItemExtra> extra;
  // Of the last integration that looked at this item: is it before the new one, is it in conflict with it.
  std::uint32_t before_mark = 0, conflict_mark = 0;
  ContentKind kind = ContentKind::gc;
  bool deleted = false;
  bool keep = false;  // an undo step needs it: no garbage yet

  std::uint64_t end_clock() const { return id.clock + length; }
  Id last_id() const { return {id.client, id.clock + length - 1}; }
  bool is_gc() const { return kind == ContentKind::gc; }
  bool is_countable() const { return kind != ContentKind::deleted && kind != ContentKind::format; }
  std::uint64_t visible() const { return !deleted && is_countable() ? length : 0; }
  bool is_live_format() const { return !deleted && kind == ContentKind::format; }
  bool is_redone() const { return extra && extra->redone.is_set(); }
  ItemExtra& more() {
    if (!extra) extra = std::make_unique<ItemExtra>();
    return *extra;
  }
};

}  // namespace nizhal::crdt
