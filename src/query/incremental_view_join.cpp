#include "query/incremental_view_join.hpp"

#include <utility>

namespace nizhal {

JoinedRows::JoinedRows(const CompiledQuery& query, CompiledPredicate own_filter)
    : query_(query), own_filter_(std::move(own_filter)), partners_(query.sources.size() - 1) {}

/// What the joined row has in the join's column; the column's table is one before it.
Value JoinedRows::reference(const Entry& entry, std::size_t join) const {
  const std::size_t column = source_of(join).join_column;
  std::size_t table = join;
  while (query_.sources[table].first_column > column) --table;
  if (table == 0) return entry.row[column];
  const auto* partner = entry.partners[table - 1];
  if (!partner || !partner->second.row) return {};
  return (*partner->second.row)[column - query_.sources[table].first_column];
}

std::optional<Row> JoinedRows::joined(const Entry& entry) const {
  Row row;
  row.reserve(query_.joined_columns.size());
  row.insert(row.end(), entry.row.begin(), entry.row.end());
  for (std::size_t join = 0; join < joins(); ++join) {
    const auto* partner = entry.partners[join];
    if (partner && partner->second.row) {
      row.insert(row.end(), partner->second.row->begin(), partner->second.row->end());
    } else if (source_of(join).keeps_unmatched) {
      row.resize(row.size() + source_of(join).table->columns.size());
    } else {
      return std::nullopt;
    }
  }
  if (!passes(query_, row)) return std::nullopt;
  return row;
}

void JoinedRows::refer(Entry& entry, std::size_t join, Partners::value_type* partner) {
  auto*& now = entry.partners[join];
  if (now == partner) return;
  if (partner) partner->second.users.insert(&entry);
  if (now) {
    now->second.users.erase(&entry);
    if (now->second.users.empty()) partners_[join].erase(partners_[join].find(now->first));
  }
  now = partner;
}

std::vector<Row> JoinedRows::load(std::vector<Row> rows) {
  entries_.clear();
  for (Partners& partners : partners_) partners.clear();
  const std::size_t key = query_.key_column();
  std::vector<Row> result;
  for (Row& row : rows) {
    const auto own_end = row.begin() + static_cast<std::ptrdiff_t>(query_.sources[1].first_column);
    const auto [it, is_new] = entries_.try_emplace(row[key]);
    if (!is_new) continue;
    Entry& entry = it->second;
    entry.partners.resize(joins());
    entry.row.assign(row.begin(), own_end);
    for (std::size_t join = 0; join < joins(); ++join) {
      const CompiledSource& source = source_of(join);
      Value value = reference(entry, join);
      if (is_null(value)) continue;
      auto [place, is_first] = partners_[join].try_emplace(std::move(value));
      if (is_first && !is_null(row[source.key_column()])) {
        const auto begin = row.begin() + static_cast<std::ptrdiff_t>(source.first_column);
        place->second.row.emplace(begin, begin + static_cast<std::ptrdiff_t>(source.table->columns.size()));
      }
      refer(entry, join, &*place);
    }
    if (auto made = joined(entry)) result.push_back(std::move(*made));
  }
  return result;
}

void JoinedRows::touch(const Value& key, const Entry& entry, Touched& touched) const {
  const auto [it, is_new] = touched.try_emplace(key);
  if (is_new) it->second = joined(entry);
}

void JoinedRows::change_partner(const TableChange& change, Touched& touched) {
  const std::size_t own_key = query_.sources.front().table->key_index();
  for (std::size_t join = 0; join < joins(); ++join) {
    const CompiledSource& source = source_of(join);
    if (source.table != change.table) continue;
    const Row& image = change.after ? *change.after : *change.before;
    const auto it = partners_[join].find(image[source.table->key_index()]);
    if (it == partners_[join].end()) continue;
    for (const Entry* user : it->second.users) touch(user->row[own_key], *user, touched);
  }
}

void JoinedRows::change_own(const TableChange& change, Touched& touched) {
  const TableDef& table = *query_.sources.front().table;
  if (change.table != &table) return;
  const Row& image = change.after ? *change.after : *change.before;
  const Value& key = image[table.key_index()];
  const bool stays = change.after && judge(own_filter_, *change.after) == Truth::yes;
  auto it = entries_.find(key);
  if (it != entries_.end()) {
    touch(key, it->second, touched);
    if (!stays) {
      for (std::size_t join = 0; join < joins(); ++join) refer(it->second, join, nullptr);
      entries_.erase(it);
      return;
    }
  } else {
    if (!stays) return;
    touched.try_emplace(key);
    it = entries_.try_emplace(key).first;
    it->second.partners.resize(joins());
  }
  it->second.row = *change.after;
}

Result<RowLookup::Found> JoinedRows::find(const CompiledSource& source, const Value& key,
                                          const std::vector<TableChange>& changes, RowLookup& lookup, Row& row) const {
  const std::size_t key_index = source.table->key_index();
  for (const TableChange& change : changes) {
    if (change.table != source.table) continue;
    if (((change.after ? *change.after : *change.before))[key_index] != key) continue;
    if (!change.after) return RowLookup::Found::no;
    row = *change.after;
    return RowLookup::Found::yes;
  }
  return lookup.find(*source.table, key, row);
}

Result<bool> JoinedRows::resolve(Entry& entry, const std::vector<TableChange>& changes, RowLookup& lookup) {
  for (std::size_t join = 0; join < joins(); ++join) {
    Value value = reference(entry, join);
    if (is_null(value)) {
      refer(entry, join, nullptr);
      continue;
    }
    auto it = partners_[join].find(value);
    if (it == partners_[join].end()) {
      Partner partner;
      Row row;
      const auto found = find(source_of(join), value, changes, lookup, row);
      if (!found) return tl::unexpected(found.error());
      if (*found == RowLookup::Found::unknown) return false;
      if (*found == RowLookup::Found::yes) partner.row = std::move(row);
      it = partners_[join].emplace(std::move(value), std::move(partner)).first;
    }
    refer(entry, join, &*it);
  }
  return true;
}

Result<std::optional<std::vector<JoinedRows::Change>>> JoinedRows::apply(const std::vector<TableChange>& changes,
                                                                         RowLookup& lookup) {
  // What the joined rows were is taken down before anything they are made of changes.
  Touched touched;
  for (const TableChange& change : changes) change_partner(change, touched);
  for (const TableChange& change : changes) change_own(change, touched);
  for (const TableChange& change : changes) {
    for (std::size_t join = 0; join < joins(); ++join) {
      if (source_of(join).table != change.table) continue;
      const Row& image = change.after ? *change.after : *change.before;
      const auto it = partners_[join].find(image[change.table->key_index()]);
      if (it == partners_[join].end()) continue;
      it->second.row = change.after ? std::optional<Row>(*change.after) : std::nullopt;
    }
  }
  std::vector<Change> result;
  for (auto& [key, before] : touched) {
    const auto it = entries_.find(key);
    std::optional<Row> after;
    if (it != entries_.end()) {
      const auto resolved = resolve(it->second, changes, lookup);
      if (!resolved) return tl::unexpected(resolved.error());
      if (!*resolved) return std::optional<std::vector<Change>>();
      after = joined(it->second);
    }
    if (before != after) result.push_back({std::move(before), std::move(after)});
  }
  return std::optional<std::vector<Change>>(std::move(result));
}

}  // namespace nizhal
