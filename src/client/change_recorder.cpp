#include "client/change_recorder.hpp"

#include "client/tuning.hpp"
#include "domain/value_json.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client {

void ChangeRecorder::watch(std::string_view table) { ++watched_[std::string(table)]; }

void ChangeRecorder::unwatch(std::string_view table) {
  const auto it = watched_.find(table);
  if (it != watched_.end() && --it->second == 0) watched_.erase(it);
}

Result<void> ChangeRecorder::touch(sqlite::Connection& connection, const TableDef& table, const Value& key,
                                   const std::optional<Row>* before) {
  if (!is_watched(table.name) || changes_.bulk.contains(table.name)) return {};
  const auto [it, is_new] = touched_.try_emplace({table.name, key_text(key)});
  if (!is_new) return {};
  if (touched_.size() > kListedRowChangesMax) {
    touch_all(table);
    return {};
  }
  it->second.table = &table;
  it->second.key = key;
  if (before) {
    it->second.before = *before;
    return {};
  }
  auto row = sqlite::select_row(connection, table, key);
  if (!row) return tl::unexpected(row.error());
  it->second.before = std::move(*row);
  return {};
}

void ChangeRecorder::touch_all(const TableDef& table) {
  if (!is_watched(table.name)) return;
  changes_.bulk.insert(table.name);
  std::erase_if(touched_, [&](const auto& entry) { return entry.first.first == table.name; });
}

Result<ChangeSet> ChangeRecorder::finish(sqlite::Connection& connection) {
  for (auto& [name, touched] : touched_) {
    auto after = sqlite::select_row(connection, *touched.table, touched.key);
    if (!after) return tl::unexpected(after.error());
    if (touched.before == *after) continue;
    changes_.rows.push_back({touched.table, std::move(touched.before), std::move(*after)});
  }
  touched_.clear();
  return std::exchange(changes_, ChangeSet{});
}

void ChangeRecorder::roll_back() {
  touched_.clear();
  ChangeSet kept;
  kept.is_unknown = changes_.is_unknown;
  changes_ = std::move(kept);
}

}  // namespace nizhal::client
