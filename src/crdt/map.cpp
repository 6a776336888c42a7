#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "crdt/any.hpp"
#include "crdt/core.hpp"

namespace nizhal::crdt {
namespace {

Item* live_item(const Core& core, const TypeNode& node, std::string_view key) {
  const std::string* name = core.interned(key);
  Item* const* newest = name ? node.map.find(name) : nullptr;
  return newest && !(*newest)->deleted ? *newest : nullptr;
}

Result<void> check(const TypeNode& node, std::string_view key) {
  if (node.is_gone) return failure(ErrorCode::usage, "this map was deleted");
  if (!is_utf8(key)) return failure(ErrorCode::usage, "a key must be UTF-8");
  return {};
}

Item* newest_of(const TypeNode& node, const std::string* key) {
  Item* const* newest = node.map.find(key);
  return newest ? *newest : nullptr;
}

std::shared_ptr<TypeNode> set_type(Core& core, TypeNode& node, std::string_view key, TypeKind kind) {
  auto type = std::make_shared<TypeNode>();
  type->kind = kind;
  core.transact({}, true, [&] {
    const std::string* name = core.intern(key);
    Item* item = core.new_item(node, newest_of(node, name), nullptr, name, ContentKind::type);
    item->more().type = type;
    core.integrate(item);
  });
  return type;
}

}  // namespace

Any value_of(const Item& item) {
  Reader in(as_bytes(item.content));
  Any value;
  switch (item.kind) {
    case ContentKind::any:
      for (std::uint64_t i = 0; i < item.length; ++i) value = read_any(in);
      return value;
    case ContentKind::json: {
      std::string_view json;
      for (std::uint64_t i = 0; i < item.length; ++i) json = in.var_bytes();
      return any_from_json(json).value_or(Any{});
    }
    case ContentKind::embed:
      return any_from_json(item.content).value_or(Any{});
    case ContentKind::binary:
      return Any(Bytes(item.content.begin(), item.content.end()));
    case ContentKind::string:
      return Any(item.content);
    default:
      return Any{};
  }
}

std::vector<std::string> Map::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, item] : node_->map)
    if (!item->deleted) keys.push_back(*key);
  return keys;
}

bool Map::has(std::string_view key) const { return live_item(*core_, *node_, key) != nullptr; }

std::optional<Any> Map::get(std::string_view key) const {
  const Item* item = live_item(*core_, *node_, key);
  if (!item) return std::nullopt;
  return value_of(*item);
}

std::optional<Text> Map::text(std::string_view key) const {
  const Item* item = live_item(*core_, *node_, key);
  if (!item || item->kind != ContentKind::type || !item->extra->type->is_text()) return std::nullopt;
  return Text(*core_, item->extra->type);
}

std::optional<Map> Map::map(std::string_view key) const {
  const Item* item = live_item(*core_, *node_, key);
  if (!item || item->kind != ContentKind::type || item->extra->type->kind != TypeKind::map) return std::nullopt;
  return Map(*core_, item->extra->type);
}

std::string Map::to_json() const { return crdt::to_json(*node_); }

Result<void> Map::set(std::string_view key, const Any& value) {
  if (auto checked = check(*node_, key); !checked) return checked;
  Writer out;
  const auto* bytes = std::get_if<Bytes>(&value.value);
  if (bytes)
    out.raw(*bytes);
  else if (!write_any(out, value))
    return failure(ErrorCode::usage, "the value has a string that is no UTF-8, or is nested too deeply");
  const Bytes content = out.take();
  core_->transact({}, true, [&] {
    const std::string* name = core_->intern(key);
    Item* item =
        core_->new_item(*node_, newest_of(*node_, name), nullptr, name, bytes ? ContentKind::binary : ContentKind::any);
    item->content.assign(content.begin(), content.end());
    core_->integrate(item);
  });
  return {};
}

Result<Text> Map::set_text(std::string_view key) {
  if (auto checked = check(*node_, key); !checked) return tl::unexpected(checked.error());
  return Text(*core_, set_type(*core_, *node_, key, TypeKind::text));
}

Result<Map> Map::set_map(std::string_view key) {
  if (auto checked = check(*node_, key); !checked) return tl::unexpected(checked.error());
  return Map(*core_, set_type(*core_, *node_, key, TypeKind::map));
}

void Map::remove(std::string_view key) {
  core_->transact({}, true, [&] {
    if (Item* item = live_item(*core_, *node_, key)) core_->delete_item(item);
  });
}

std::uint64_t Map::observe(std::function<void(const MapEvent&)> observer) {
  node_->map_observers.emplace_back(++node_->observer_count, std::move(observer));
  return node_->observer_count;
}

void Map::stop_observing(std::uint64_t number) {
  std::erase_if(node_->map_observers, [&](const auto& observer) { return observer.first == number; });
}

}  // namespace nizhal::crdt
