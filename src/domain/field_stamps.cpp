#include "domain/field_stamps.hpp"

#include <algorithm>
#include <utility>

namespace nizhal {
namespace {

constexpr std::string_view kEveryColumn = "*";

}  // namespace

std::string_view foreign_node() { return "00000000000000000000000000000000"; }

FieldStamps::FieldStamps(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(';'), text.size());
    const std::string_view entry = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = entry.find('=');
    if (equals == std::string_view::npos) continue;
    auto stamp = parse_hlc(entry.substr(equals + 1));
    if (!stamp) continue;
    const std::string_view column = entry.substr(0, equals);
    if (column == kEveryColumn) {
      if (!all_ || *all_ < *stamp) all_ = std::move(stamp);
      continue;
    }
    const auto known = columns_.find(column);
    if (known == columns_.end())
      columns_.emplace(column, std::move(*stamp));
    else if (known->second < *stamp)
      known->second = std::move(*stamp);
  }
}

Hlc FieldStamps::of(std::string_view column) const {
  const Hlc all = all_.value_or(Hlc{});
  const auto known = columns_.find(column);
  return known == columns_.end() ? all : std::max(known->second, all);
}

void FieldStamps::set_all(Hlc stamp) {
  all_ = std::move(stamp);
  columns_.clear();
}

void FieldStamps::set(std::string_view column, Hlc stamp) {
  columns_.insert_or_assign(std::string(column), std::move(stamp));
}

Hlc FieldStamps::highest() const {
  Hlc highest = all_.value_or(Hlc{});
  for (const auto& [column, stamp] : columns_) highest = std::max(highest, stamp);
  return highest;
}

std::string FieldStamps::text() const {
  std::string text;
  const auto append = [&](std::string_view column, const Hlc& stamp) {
    if (!text.empty()) text += ';';
    text.append(column) += '=';
    text += stamp.text();
  };
  if (all_) append(kEveryColumn, *all_);
  for (const auto& [column, stamp] : columns_) append(column, stamp);
  return text;
}

}  // namespace nizhal
