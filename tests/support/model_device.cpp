#include "tests/support/model_device.hpp"

#include <fmt/format.h>

namespace nizhal::testing {

namespace {

std::string row_key(std::string_view table, const json::value& id) { return fmt::format("{}|{}", table, to_text(id)); }

const json::array& array_member(const json::object& object, std::string_view name) {
  static const json::array kNone;
  const json::value* value = object.if_contains(name);
  return value && value->if_array() ? *value->if_array() : kNone;
}

std::set<std::string> text_set(const json::array& array) {
  std::set<std::string> texts;
  for (const json::value& item : array)
    if (const auto* text = item.if_string()) texts.emplace(text->c_str());
  return texts;
}

}  // namespace

bool ModelDevice::take(const std::string& body, std::string& problem) {
  const auto parsed = parse_json(body);
  if (!parsed || !parsed->if_object()) {
    problem = "the page is not a JSON object";
    return false;
  }
  const json::object& page = *parsed->if_object();
  for (const char* field : {"changed", "tombstoned", "removed", "removedBuckets", "cursor", "hasMore"})
    if (!page.contains(field)) problem = fmt::format("the page lacks {}", field);

  // An id never appears both as changed and as removed in one page, nor twice as changed.
  std::set<std::string> changed;
  for (const json::value& entry : array_member(page, "changed")) {
    const auto table = string_member(entry, "table");
    const json::value* rows = member(entry, "rows");
    if (!table || !rows || !rows->if_array()) {
      problem = "an entry of changed has no table or rows";
      return false;
    }
    for (const json::value& row : *rows->if_array())
      if (!changed.insert(row_key(*table, *member(row, "id"))).second)
        problem = fmt::format("{} comes twice in one page", row_key(*table, *member(row, "id")));
  }
  for (const char* kind : {"tombstoned", "removed"})
    for (const json::value& entry : array_member(page, kind))
      if (changed.count(row_key(*string_member(entry, "table"), *member(entry, "id"))))
        problem = "an id is both changed and removed in one page";

  ++pages;
  if (const json::value* reset = page.if_contains("cursorReset"); reset && reset->is_bool() && reset->get_bool()) {
    staged_.clear();
    ++resets;
  }
  staged_.push_back({page});
  staged_cursor_ = std::string(*string_member(*parsed, "cursor"));
  const json::value* more = page.if_contains("hasMore");
  if (more && more->is_bool() && more->get_bool()) return false;
  apply();
  ++completes;
  return true;
}

bool ModelDevice::is_covered(const std::string& table, const json::object& row,
                             const std::set<std::string>& covered) const {
  for (const std::string& key : buckets_of_(table, row))
    if (covered.count(key)) return true;
  return false;
}

void ModelDevice::apply() {
  const auto evict = [this](const std::set<std::string>& lost, const std::set<std::string>& retained) {
    for (auto it = rows_.begin(); it != rows_.end();) {
      const std::string table = it->first.substr(0, it->first.find('|'));
      const auto row = parse_json(it->second);
      const bool was_there = is_covered(table, *row->if_object(), lost);
      const bool stays = is_covered(table, *row->if_object(), retained);
      it = was_there && !stays ? rows_.erase(it) : std::next(it);
    }
  };
  for (const Page& page : staged_) {
    const json::value* reset = page.body.if_contains("cursorReset");
    if (reset && reset->is_bool() && reset->get_bool()) {
      rows_.clear();
      covered_.clear();
    }
    const auto lost = text_set(array_member(page.body, "removedBuckets"));
    buckets_lost += lost.size();
    for (const std::string& key : lost) covered_.erase(key);
    evict(lost, covered_);
    if (const json::value* now = page.body.if_contains("buckets"); now && now->if_array()) {
      std::set<std::string> gained, retained;
      const auto covered = text_set(*now->if_array());
      for (const std::string& key : covered) (covered_.count(key) ? retained : gained).insert(key);
      for (const std::string& key : covered_)
        if (!covered.count(key)) gained.insert(key);  // no longer covered: evicted like a loss
      evict(gained, retained);
      covered_ = covered;
    }
    for (const char* kind : {"tombstoned", "removed"})
      for (const json::value& entry : array_member(page.body, kind)) {
        rows_.erase(row_key(*string_member(entry, "table"), *member(entry, "id")));
        ++removals;
      }
    for (const json::value& entry : array_member(page.body, "changed"))
      for (const json::value& row : *member(entry, "rows")->if_array())
        rows_[row_key(*string_member(entry, "table"), *member(row, "id"))] = to_text(row);
  }
  staged_.clear();
}

}  // namespace nizhal::testing
