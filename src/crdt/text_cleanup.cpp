// Formats that have become needless are deleted, at the places and in the moments in which Yjs does so: documents that
// are edited in both stay equal only if both clean up alike.
#include <algorithm>

#include "crdt/text_position.hpp"

namespace nizhal::crdt {
namespace {

const SharedJson& null_json() {
  static const SharedJson kNull = std::make_shared<const std::string>("null");
  return kNull;
}

const SharedJson& value_or_null(const AttributeMap& attributes, const std::string* key) {
  const SharedJson* found = attributes.find(key);
  return found ? *found : null_json();
}

bool is_gap(const Item& item) { return item.deleted || !item.is_countable(); }

// Without looking at the whole text: of several formats of one key in a gap only the last means something.
void cleanup_gap_alone(Core& core, Item* item) {
  while (item->right && is_gap(*item->right) && core.spend(1)) item = item->right;
  std::vector<const std::string*> keys;
  for (; item && is_gap(*item) && core.spend(1); item = item->left) {
    if (!item->is_live_format()) continue;
    core.spend(keys.size());
    const std::string* key = item->extra->format_key;
    if (std::find(keys.begin(), keys.end(), key) != keys.end())
      core.delete_item(item);
    else
      keys.push_back(key);
  }
}

void cleanup_text(Core& core, TypeNode& type) {
  Item* start = type.start;
  AttributeMap start_attributes, attributes;
  for (Item* end = type.start; end && core.spend(1 + attributes.size()); end = end->right) {
    if (end->deleted) continue;
    if (end->kind == ContentKind::format) {
      attributes.pass(*end);
    } else {
      cleanup_gap(core, start, end, start_attributes, attributes);
      start_attributes = attributes;
      start = end;
    }
  }
}

}  // namespace

void cleanup_gap(Core& core, Item* start, const Item* current, const AttributeMap& start_attributes,
                 AttributeMap& attributes) {
  std::vector<std::pair<const std::string*, const Item*>> last_formats;
  Item* end = start;
  for (; end && is_gap(*end) && core.spend(1 + last_formats.size()); end = end->right) {
    if (!end->is_live_format()) continue;
    const std::string* key = end->extra->format_key;
    std::erase_if(last_formats, [&](const auto& entry) { return entry.first == key; });
    last_formats.emplace_back(key, end);
  }
  bool reached_current = false;
  for (; start != end; start = start->right) {
    if (start == current) reached_current = true;
    if (!core.spend(1 + last_formats.size() + attributes.size())) return;
    if (!start->is_live_format()) continue;
    const std::string* key = start->extra->format_key;
    const SharedJson value = start->extra->format_value;
    const SharedJson at_start = value_or_null(start_attributes, key);
    const bool is_last = std::find(last_formats.begin(), last_formats.end(),
                                   std::pair<const std::string*, const Item*>(key, start)) != last_formats.end();
    if (!is_last || is_identical(at_start, value)) {
      core.delete_item(start);
      if (!reached_current && is_identical(value_or_null(attributes, key), value) && !is_identical(at_start, value)) {
        if (is_null(at_start))
          attributes.erase(key);
        else
          attributes.set(key, at_start);
      }
    }
    if (!reached_current && !start->deleted) attributes.pass(*start);
  }
}

void Core::cleanup_formatting(Transaction& transaction) {
  std::vector<TypeNode*> whole;
  const auto is_whole = [&](TypeNode* type) { return std::find(whole.begin(), whole.end(), type) != whole.end(); };
  transact({}, true, [&] {
    for (const auto& [client, after] : transaction.after) {
      const std::uint64_t before = *transaction.before.find(client);
      if (before == after) continue;
      visit_range(*store.list(client), before, after, [&](Item* item) {
        if (item->is_live_format() && !is_whole(item->parent)) whole.push_back(item->parent);
      });
    }
    visit_deleted(transaction.deletes, [&](Item* item) {
      if (item->is_gc() || !item->parent->has_formatting || is_whole(item->parent)) return;
      if (item->kind == ContentKind::format)
        whole.push_back(item->parent);
      else
        cleanup_gap_alone(*this, item);
    });
    for (TypeNode* type : whole) cleanup_text(*this, *type);
  });
}

}  // namespace nizhal::crdt
