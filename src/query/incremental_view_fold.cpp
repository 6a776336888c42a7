#include "query/incremental_view_fold.hpp"

#include <utility>

namespace nizhal {

FoldedRows::Groups::iterator FoldedRows::group_at(const Row& joined_row) {
  return groups_.try_emplace(group_of(query_, joined_row), Group{FoldGroup(query_), {}}).first;
}

void FoldedRows::clear() {
  groups_.clear();
  touched_.clear();
  if (query_.group_by.empty()) groups_.try_emplace(Row(), Group{FoldGroup(query_), {}});
}

void FoldedRows::add(const Row& joined_row) { group_at(joined_row)->second.folds.add(query_, joined_row); }

Result<std::vector<Row>> FoldedRows::results() {
  std::vector<Row> rows;
  rows.reserve(groups_.size());
  for (auto& [values, group] : groups_) {
    auto row = group.folds.result(query_, values);
    if (!row) return tl::unexpected(row.error());
    group.result = *row;
    rows.push_back(std::move(*row));
  }
  return rows;
}

void FoldedRows::change(const Row* before, const Row* after) {
  if (before) {
    const auto group = group_at(*before);
    group->second.folds.remove(query_, *before);
    touched_.try_emplace(group->first, group);
  }
  if (after) {
    const auto group = group_at(*after);
    group->second.folds.add(query_, *after);
    touched_.try_emplace(group->first, group);
  }
}

Result<std::vector<FoldedRows::Change>> FoldedRows::finish() {
  std::vector<Change> changes;
  for (const auto& [values, it] : touched_) {
    Group& group = it->second;
    std::optional<Row> now;
    if (is_there(group)) {
      auto row = group.folds.result(query_, values);
      if (!row) return tl::unexpected(row.error());
      now = std::move(*row);
    }
    std::optional<Row> before = std::exchange(group.result, now);
    if (!now) groups_.erase(it);
    if (before != now) changes.push_back({std::move(before), std::move(now)});
  }
  touched_.clear();
  return changes;
}

}  // namespace nizhal
