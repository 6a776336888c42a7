#include <nizhal/crdt.hpp>

#include "crdt/core.hpp"

namespace nizhal::crdt {
namespace {

constexpr std::uint64_t kOfItem = 0, kOfRoot = 1, kOfType = 2;

// The item that stands for the id now, after all undoing, and the unit within it.
std::pair<Item*, std::uint64_t> follow_redone(Core& core, Id id) {
  while (true) {
    Item* item = core.store.find(id);
    const std::uint64_t offset = id.clock - item->id.clock;
    if (!item->is_redone()) return {item, offset};
    id = {item->extra->redone.client, item->extra->redone.clock + offset};
  }
}

std::shared_ptr<TypeNode> shared(const Core& core, const TypeNode& type) {
  if (type.item) return type.item->extra->type;
  const auto* root = core.roots.find(type.root_name);
  return root ? *root : nullptr;
}

}  // namespace

RelativePosition relative_position(const Text& text, std::uint64_t index, Side side) {
  TypeNode& type = *text.node();
  RelativePosition position;
  position.association = side == Side::left ? -1 : 0;
  const bool is_left = side == Side::left;
  if (!is_left ? index < type.length : index > 0 && type.length > 0) {
    if (!type.index) type.index = std::make_unique<PositionIndex>(type.start);
    const std::uint64_t unit = is_left ? std::min(index, type.length) : index + 1;
    const PositionIndex::Found found = type.index->find(unit);
    position.item = {found.item->id.client, found.item->id.clock + found.offset - 1};
  }
  if (type.root_name)
    position.root_name = *type.root_name;
  else if (type.item)
    position.type = type.item->id;
  return position;
}

std::optional<AbsolutePosition> absolute_position(const Document& document, const RelativePosition& position) {
  Core& core = document.core();
  if (position.item.is_set()) {
    if (core.store.end_clock(position.item.client) <= position.item.clock) return std::nullopt;
    const auto [item, offset] = follow_redone(core, position.item);
    if (item->is_gc()) return std::nullopt;
    TypeNode& type = *item->parent;
    std::uint64_t index = 0;
    if (!type.is_deleted() && !item->parent_sub) {
      if (!type.index) type.index = std::make_unique<PositionIndex>(type.start);
      index = type.index->position_of(item);
      if (item->visible() > 0) index += offset + (position.association >= 0 ? 0 : 1);
    }
    return AbsolutePosition{shared(core, type), index};
  }
  std::shared_ptr<TypeNode> type;
  if (position.root_name) {
    const std::string* name = core.interned(*position.root_name);
    const auto* root = name ? core.roots.find(name) : nullptr;
    if (!root) return std::nullopt;
    type = *root;
  } else {
    if (!position.type.is_set() || core.store.end_clock(position.type.client) <= position.type.clock)
      return std::nullopt;
    const Item* item = follow_redone(core, position.type).first;
    if (item->kind != ContentKind::type) return std::nullopt;
    type = item->extra->type;
  }
  return AbsolutePosition{type, position.association >= 0 ? type->length : 0};
}

Bytes encode(const RelativePosition& position) {
  Writer out;
  if (position.item.is_set()) {
    out.var_uint(kOfItem);
    out.id(position.item);
  } else if (position.root_name) {
    out.var_uint(kOfRoot);
    out.var_string(*position.root_name);
  } else {
    out.var_uint(kOfType);
    out.id(position.type);
  }
  const bool is_negative = position.association < 0;
  out.var_int(static_cast<std::uint64_t>(is_negative ? -position.association : position.association), is_negative);
  return out.take();
}

Result<RelativePosition> decode_relative_position(std::span<const std::uint8_t> bytes) {
  Reader in(bytes);
  RelativePosition position;
  switch (in.var_uint()) {
    case kOfItem:
      position.item = in.id();
      break;
    case kOfRoot:
      position.root_name = std::string(in.var_string());
      break;
    case kOfType:
      position.type = in.id();
      break;
    default:
      in.fail();
  }
  if (!in.failed() && !in.at_end()) {  // early versions wrote none
    bool is_negative = false;
    const auto association = static_cast<std::int64_t>(in.var_int(is_negative));
    position.association = is_negative ? -association : association;
  }
  if (in.failed()) return failure(ErrorCode::bad_request, "this is no relative position of Yjs");
  return position;
}

}  // namespace nizhal::crdt
