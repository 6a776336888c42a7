#include "server/row_updates.hpp"

#include <optional>
#include <string_view>
#include <utility>

#include "base/bytes.hpp"
#include "base/planted.hpp"
#include "base/reached.hpp"
#include "crdt/updates.hpp"
#include "server/recent_updates.hpp"

namespace nizhal::server {
namespace {

/// Walks over the members of a JSON object's text, which the engine wrote itself. Values are told apart, not looked at.
class Members {
 public:
  explicit Members(std::string_view text) : text_(text) {}

  /// The next member; false at the end, or when the text is no object.
  bool next(std::string_view& name, std::string_view& value) {
    skip_space();
    if (!take(at_start_ ? '{' : ',')) return false;
    at_start_ = false;
    skip_space();
    const std::size_t name_begin = place_ + 1;
    if (!skip_text()) return false;
    name = text_.substr(name_begin, place_ - name_begin - 1);
    skip_space();
    if (!take(':')) return false;
    skip_space();
    const std::size_t value_begin = place_;
    if (!skip_value()) return false;
    value = text_.substr(value_begin, place_ - value_begin);
    return true;
  }
  bool has_ended() const { return place_ + 1 == text_.size() && text_[place_] == '}'; }

 private:
  bool take(char wanted) {
    if (place_ >= text_.size() || text_[place_] != wanted) return false;
    ++place_;
    return true;
  }
  void skip_space() {
    while (place_ < text_.size() && (text_[place_] == ' ' || text_[place_] == '\n')) ++place_;
  }
  bool skip_text() {
    if (!take('"')) return false;
    for (;;) {
      place_ = text_.find_first_of("\"\\", place_);
      if (place_ == std::string_view::npos) {
        place_ = text_.size();
        return false;
      }
      if (text_[place_++] == '"') return true;
      ++place_;  // what a backslash escapes ends no text; of \uXXXX the rest is plain
    }
  }
  bool skip_value() {
    std::size_t depth = 0;
    while (place_ < text_.size()) {
      const char c = text_[place_];
      if (c == '"') {
        if (!skip_text()) return false;
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}')) return true;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++place_;
    }
    return false;
  }

  const std::string_view text_;
  std::size_t place_ = 0;
  bool at_start_ = true;
};

/// Nothing: the state is to be sent.
std::optional<std::string> update_of(const RecentUpdates& recent, std::string_view column, Version position) {
  auto updates = recent.since(column, position);
  if (!updates) return std::nullopt;
  if (is_planted(Planted::lose_a_crdt_update) && !updates->empty()) updates->pop_back();
  const auto merged = updates->empty() ? Result<crdt::Bytes>(crdt::kEmptyUpdate) : crdt::merge_updates(*updates);
  if (!merged) return std::nullopt;
  return "{\"update\":\"" + to_base64(*merged) + "\"}";
}

}  // namespace

std::string row_with_updates(const TableDef& table, const storage::EncodedRow& row, Version position) {
  const RecentUpdates recent(row.recent);
  std::string out;
  std::size_t copied = 0;
  Members members(row.json);
  std::string_view name, value;
  while (members.next(name, value)) {
    const std::size_t column = table.index_of(name);
    if (column == TableDef::npos || !is_crdt(table.columns[column].type)) continue;
    const auto update = update_of(recent, name, position);
    if (!update) reached(Mark::crdt_sent_as_state);
    if (!update || update->size() >= value.size()) continue;
    reached(Mark::crdt_sent_as_update);
    const auto begin = static_cast<std::size_t>(value.data() - row.json.data());
    out.append(row.json, copied, begin - copied);
    out += *update;
    copied = begin + value.size();
  }
  if (copied == 0 || !members.has_ended()) return row.json;
  out.append(row.json, copied, std::string::npos);
  return out;
}

}  // namespace nizhal::server
