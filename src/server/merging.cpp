#include "server/merging.hpp"

#include <algorithm>
#include <span>

#include "base/reached.hpp"
#include "crdt/column.hpp"
#include "domain/field_stamps.hpp"
#include "server/recent_updates.hpp"

namespace nizhal::server {
namespace {

std::span<const std::uint8_t> bytes_of(const Value& value) {
  const Blob* blob = std::get_if<Blob>(&value);
  return blob ? std::span<const std::uint8_t>(blob->bytes) : std::span<const std::uint8_t>();
}

Merged<crdt::MergedColumn> merge_into(const ColumnDef& column, std::span<const std::uint8_t> state, const Value& update,
                                      const MergeRules& rules) {
  auto merged =
      crdt::merge_column(column.type, column.name, state, bytes_of(update),
                         {.update_bytes_max = rules.update_bytes_max, .state_bytes_max = rules.state_bytes_max});
  if (merged) return std::move(*merged);
  return tl::unexpected(MergeRefusal{crdt::refusal_of(merged.error()), std::move(merged.error().message)});
}

Merged<void> merge_crdt(const ColumnDef& column, std::size_t index, const Value& value, const MergeRules& rules,
                        MergedEdit& edit) {
  Value& state = edit.after[index];
  auto merged = merge_into(column, bytes_of(state), value, rules);
  if (!merged) return tl::unexpected(std::move(merged.error()));
  if (!merged->is_changed) return {};
  state = Blob{std::move(merged->state)};
  edit.updates.emplace_back(index, std::move(merged->update));
  return {};
}

/// True where the edit stands.
bool judge(const ColumnDef& column, std::size_t index, const Value& value, const MergeRules& rules, FieldStamps& stamps,
           MergedEdit& edit) {
  const auto lost_before = [&] {
    return std::find_if(edit.lost.begin(), edit.lost.end(), [&](const LostColumn& one) { return one.column == index; });
  };
  const Hlc standing = stamps.of(column.name);
  if (rules.stamp < standing) {
    reached(Mark::edit_lost);
    if (const auto again = lost_before(); again != edit.lost.end())
      again->value = value;
    else
      edit.lost.push_back({index, value, standing});
    return false;
  }
  stamps.set(column.name, rules.stamp);
  return true;
}

}  // namespace

Merged<MergedEdit> merge_edit(const TableDef& table, const storage::MergeRow& before, const Changes& changes,
                              bool whole, const MergeRules& rules) {
  MergedEdit edit;
  edit.after = before.row;
  edit.stamps = before.merge.stamps;
  FieldStamps stamps(before.merge.stamps);
  std::vector<bool> written(table.columns.size(), false);
  for (const auto& [index, value] : changes) {
    const ColumnDef& column = table.columns[index];
    if (is_crdt(column.type)) {
      if (auto merged = merge_crdt(column, index, value, rules, edit); !merged)
        return tl::unexpected(std::move(merged.error()));
      continue;
    }
    if (whole && value == before.row[index]) continue;
    if (table.merge == Merge::Field && !judge(column, index, value, rules, stamps, edit)) continue;
    edit.after[index] = value;
    written[index] = true;
  }
  for (const auto& [index, update] : edit.updates) written[index] = true;
  for (std::size_t index = 0; index < written.size(); ++index)
    if (written[index]) edit.changes.emplace_back(index, edit.after[index]);
  if (table.merge == Merge::Field) edit.stamps = stamps.text();
  return edit;
}

storage::MergeState merge_state(const TableDef& table, const storage::MergeState& before, const MergedEdit& edit,
                                bool enters, Version version, const MergeRules& rules) {
  storage::MergeState state{.stamps = edit.stamps, .recent = {}};
  if (!table.has_crdt()) return state;
  RecentUpdates recent(before.recent);
  std::vector<bool> begun(table.columns.size(), false);
  for (std::size_t index = 0; index < table.columns.size(); ++index) {
    const ColumnDef& column = table.columns[index];
    if (!is_crdt(column.type) || (recent.knows(column.name) && !enters)) continue;
    recent.begin(column.name, version);
    begun[index] = true;
  }
  for (const auto& [index, update] : edit.updates)
    if (!begun[index]) recent.add(table.columns[index].name, version, update);
  recent.shrink(rules.recent_bytes_max);
  state.recent = recent.bytes();
  return state;
}

Merged<storage::MergeRow> merge_new_row(const TableDef& table, const Row& row, Version version,
                                        const MergeRules& rules) {
  storage::MergeRow made{.row = row, .merge = {}};
  RecentUpdates recent;
  for (std::size_t index = 0; index < table.columns.size(); ++index) {
    const ColumnDef& column = table.columns[index];
    if (!is_crdt(column.type)) continue;
    auto merged = merge_into(column, {}, row[index], rules);
    if (!merged) return tl::unexpected(std::move(merged.error()));
    made.row[index] = Blob{std::move(merged->state)};
    recent.begin(column.name, version);
  }
  if (table.merge == Merge::Field) {
    FieldStamps stamps;
    stamps.set_all(rules.stamp);
    made.merge.stamps = stamps.text();
  }
  recent.shrink(rules.recent_bytes_max);
  made.merge.recent = recent.bytes();
  return made;
}

}  // namespace nizhal::server
