#include "crdt/attributes.hpp"

#include <optional>

#include "crdt/any.hpp"

namespace nizhal::crdt {
namespace {

bool is_object(std::string_view json) { return !json.empty() && (json[0] == '{' || json[0] == '['); }

bool is_nested(const Any& any) {
  return std::holds_alternative<AnyObject>(any.value) || std::holds_alternative<AnyList>(any.value);
}

bool is_flat_equal(const AnyObject& left, const AnyObject& right) {
  if (left.size() != right.size()) return false;
  for (const auto& [key, member] : left) {
    bool found = false;
    for (const auto& [other_key, other] : right)
      // Two objects that were read from two texts are two objects, so a nested one equals nothing.
      if (other_key == key) found = !is_nested(member) && member == other;
    if (!found) return false;
  }
  return true;
}

}  // namespace

void AttributeMap::pass(const Item& format) {
  if (is_null(format.extra->format_value))
    erase(format.extra->format_key);
  else
    set(format.extra->format_key, format.extra->format_value);
}

Attributes AttributeMap::plain() const {
  Attributes plain;
  for (const auto& [key, value] : entries_) plain.emplace_back(*key, *value);
  return plain;
}

bool is_null(const SharedJson& value) { return *value == "null"; }

bool is_identical(const SharedJson& left, const SharedJson& right) {
  return left == right || (!is_object(*left) && *left == *right);
}

bool is_equal_attribute(const SharedJson& left, const SharedJson& right) {
  if (is_identical(left, right)) return true;
  if (!is_object(*left) || !is_object(*right)) return false;
  const auto a = any_from_json(*left), b = any_from_json(*right);
  if (!a || !b) return false;
  if (const auto* object = std::get_if<AnyObject>(&a->value)) {
    const auto* other = std::get_if<AnyObject>(&b->value);
    return other && is_flat_equal(*object, *other);
  }
  const auto* list = std::get_if<AnyList>(&a->value);
  const auto* other = std::get_if<AnyList>(&b->value);
  if (!list || !other || list->size() != other->size()) return false;
  for (std::size_t i = 0; i < list->size(); ++i)
    if (is_nested((*list)[i]) || !((*list)[i] == (*other)[i])) return false;
  return true;
}

}  // namespace nizhal::crdt
