// Writes into tables that merge (S22), authoritatively: what lost is noted, what is left is judged and written. Place
// in the loop: part of mutation_runner.
//
// The facts that must not break: the bucket check judges the row as it is and as it becomes, not what lost; and a lost
// edit changes nothing, its row's version included.
#include <algorithm>
#include <utility>

#include "base/json.hpp"
#include "base/planted.hpp"
#include "domain/value_json.hpp"
#include "server/mutation_runner.hpp"

namespace nizhal::server {

void MutationRunner::refuse_merge(const TableDef& table, MergeRefusal refusal) {
  if (stopped()) return;
  if (refusal.code == "internal") {
    log_.error("push", "mutator \"" + mutator_ + "\": table \"" + table.name +
                           "\" holds a CRDT column that cannot be merged into: " + refusal.message);
    return refuse("internal", "the mutation failed; the server's log says why");
  }
  refuse(std::move(refusal.code), "table \"" + table.name + "\", " + refusal.message);
}

std::optional<storage::MergeRow> MutationRunner::read_to_merge(const TableDef& table, const Value& key) {
  auto row = transaction_.get_to_merge(table, key);
  if (!row) {
    fail(std::move(row.error()));
    return std::nullopt;
  }
  return std::move(*row);
}

bool MutationRunner::merge_insert(std::size_t index, const TableDef& table, const Row& row) {
  auto made = merge_new_row(table, row, transaction_.version(), rules_);
  if (!made) {
    refuse_merge(table, std::move(made.error()));
    return false;
  }
  const auto inserted = transaction_.insert_merged(table, made->row, made->merge);
  if (!inserted) {
    fail_write(table, inserted.error());
    return false;
  }
  if (!*inserted) return false;
  const Value& key = row[table.key_index()];
  forget_conflicts(table, key);
  note_change(index, table, key, "insert", nullptr, &made->row);
  return true;
}

std::optional<bool> MutationRunner::merge_update(std::size_t index, const TableDef& table, const Value& key,
                                                 const Changes& changes, bool whole, Scope scope) {
  const auto before = read_to_merge(table, key);
  if (!before) return std::nullopt;
  if (!in_reach(index, before->row, scope)) {
    if (is_planted(Planted::leak_in_a_refusal)) refuse("not_authorized", key_text(before->row.back()), 403);
    refuse_scope(table);
    return false;
  }
  if (refuse_append_only(table)) return false;
  Changes given;
  if (!check_changes(table, key, changes, given)) return false;
  for (const auto& [column, value] : given) {
    // Also of what loses: whether a value is one must not hang on the order of arrival.
    std::string why;
    if (check_value(table.columns[column], value, &why)) continue;
    refuse("invalid_row", "table \"" + table.name + "\", column \"" + table.columns[column].name + "\": " + why);
    return false;
  }
  auto edit = merge_edit(table, *before, given, whole, rules_);
  if (!edit) {
    refuse_merge(table, std::move(edit.error()));
    return false;
  }
  if (!in_reach(index, edit->after, scope)) {
    refuse_scope(table);
    return false;
  }
  if (stopped()) return false;
  const std::string lost = note_lost(index, table, key, *edit);
  if (stopped()) return false;
  if (edit->changes.empty()) {
    if (!lost.empty()) note_change(index, table, key, "update", nullptr, nullptr, lost);
    return true;
  }
  const auto was_in = domain_.buckets_of(index, before->row);
  const auto is_in = domain_.buckets_of(index, edit->after);
  const bool enters = std::any_of(is_in.begin(), is_in.end(), [&](const Bucket& bucket) {
    return std::none_of(was_in.begin(), was_in.end(), [&](const Bucket& one) { return one.key == bucket.key; });
  });
  const auto state = merge_state(table, before->merge, *edit, enters, transaction_.version(), rules_);
  const auto updated = transaction_.update_merged(table, key, edit->changes, state);
  if (!updated) {
    fail_write(table, updated.error());
    return false;
  }
  note_change(index, table, key, "update", &before->row, &edit->after, lost);
  return true;
}

/// The audit's words for it; empty: nothing lost.
std::string MutationRunner::note_lost(std::size_t index, const TableDef& table, const Value& key,
                                      const MergedEdit& edit) {
  std::string told;
  if (edit.lost.empty()) return told;
  for (const Bucket& bucket : domain_.buckets_of(index, edit.after)) effects_.lost_buckets.insert(bucket.key);
  const bool is_in_reach = in_reach(index, edit.after, Scope::actor);
  for (const LostColumn& one : edit.lost) {
    const ColumnDef& column = table.columns[one.column];
    Conflict conflict{.table = table.name,
                      .key = key_text(key),
                      .column = column.name,
                      .lost = {},
                      .at = rules_.stamp.time(),
                      .winner_at = one.winner.time(),
                      .mutator = {},
                      .client_mutation_id = {}};
    append_value_json(conflict.lost, column.type, one.value);
    auto& all = effects_.conflicts;
    const auto known = std::find_if(all.begin(), all.end(), [&](const MutationEffects::Lost& other) {
      return other.conflict.table == conflict.table && other.conflict.key == conflict.key &&
             other.conflict.column == conflict.column;
    });
    if (known == all.end())
      all.push_back({std::move(conflict), is_in_reach});
    else
      *known = {std::move(conflict), is_in_reach};
    told += told.empty() ? R"([{"column":)" : R"(,{"column":)";
    append_json_string(told, column.name);
    told += R"(,"stamp":)";
    append_json_string(told, rules_.stamp.text());
    told += R"(,"winner":)";
    append_json_string(told, one.winner.text());
    told += '}';
  }
  told += ']';
  return told;
}

void MutationRunner::forget_conflicts(const TableDef& table, const Value& key) {
  if (effects_.conflicts.empty()) return;
  const std::string text = key_text(key);
  std::erase_if(effects_.conflicts, [&](const MutationEffects::Lost& one) {
    return one.conflict.table == table.name && one.conflict.key == text;
  });
}

}  // namespace nizhal::server
