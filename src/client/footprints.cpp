#include "client/footprints.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <unordered_set>

namespace nizhal::client {
namespace {

std::uint64_t mix(std::uint64_t left, std::uint64_t right) {
  // SplitMix64's finaliser over both.
  std::uint64_t z = left + 0x9e3779b97f4a7c15ULL + right * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::uint64_t hash(std::string_view text) { return std::hash<std::string_view>{}(text); }

template <class List, class Before>
auto first_not_before(List& list, std::int64_t ordinal, Before before) {
  return std::lower_bound(list.begin(), list.end(), ordinal, before);
}

bool use_before(const auto& use, std::int64_t ordinal) { return use.ordinal < ordinal; }
bool before(std::int64_t left, std::int64_t right) { return left < right; }

void add_ordinal(std::vector<std::int64_t>& list, std::int64_t ordinal) {
  const auto at = first_not_before(list, ordinal, before);
  if (at == list.end() || *at != ordinal) list.insert(at, ordinal);
}

template <class Map, class Key>
void take_ordinal(Map& map, Key key, std::int64_t ordinal) {
  const auto found = map.find(key);
  if (found == map.end()) return;
  const auto at = first_not_before(found->second, ordinal, before);
  if (at != found->second.end() && *at == ordinal) found->second.erase(at);
  if (found->second.empty()) map.erase(found);
}

void sort_unique(std::vector<TableId>& tables) {
  std::sort(tables.begin(), tables.end());
  tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
}

}  // namespace

TableId table_id(std::string_view table) { return TableId{hash(table)}; }

RowId row_id(TableId table, const Value& key) {
  const auto seed = static_cast<std::uint64_t>(table);
  if (const auto* text = std::get_if<std::string>(&key)) return RowId{mix(seed, hash(*text))};
  if (const auto* number = std::get_if<std::int64_t>(&key))
    return RowId{mix(seed + 1, static_cast<std::uint64_t>(*number))};
  // No other type is a key today; one id for all of them would still be right.
  return RowId{mix(seed + 2, key.index())};
}

RowId mapped_id(std::string_view table, std::string_view client_key) {
  return RowId{mix(hash(table) + 3, hash(client_key))};
}

void Footprint::tidy(Effects effects) {
  if (effects == Effects::rolled_back) {
    for (Touch& touch : rows) touch.wrote = false;
    written.clear();
  }
  // The write of a row comes before its reads, and stands for them.
  std::sort(rows.begin(), rows.end(), [](const Touch& left, const Touch& right) {
    return left.row != right.row ? left.row < right.row : left.wrote > right.wrote;
  });
  rows.erase(std::unique(rows.begin(), rows.end(),
                         [](const Touch& left, const Touch& right) { return left.row == right.row; }),
             rows.end());
  sort_unique(searched);
  sort_unique(written);
}

void Footprints::forget() {
  clear();
  is_complete_ = false;
}

void Footprints::clear() {
  is_changed_ = true;
  entries_.clear();
  rows_.clear();
  searchers_.clear();
  writers_.clear();
}

void Footprints::put(std::int64_t ordinal, Footprint footprint) {
  drop(ordinal);
  is_changed_ = true;
  for (const Footprint::Touch& touch : footprint.rows) {
    std::vector<Use>& uses = rows_[touch.row];
    uses.insert(first_not_before(uses, ordinal, use_before<Use>), Use{ordinal, touch.wrote});
  }
  for (const TableId table : footprint.searched) add_ordinal(searchers_[table], ordinal);
  for (const TableId table : footprint.written) add_ordinal(writers_[table], ordinal);
  entries_.emplace(ordinal, std::move(footprint));
}

void Footprints::take_out(std::int64_t ordinal, const Footprint& footprint) {
  for (const Footprint::Touch& touch : footprint.rows) {
    const auto found = rows_.find(touch.row);
    if (found == rows_.end()) continue;
    const auto at = first_not_before(found->second, ordinal, use_before<Use>);
    if (at != found->second.end() && at->ordinal == ordinal) found->second.erase(at);
    if (found->second.empty()) rows_.erase(found);
  }
  for (const TableId table : footprint.searched) take_ordinal(searchers_, table, ordinal);
  for (const TableId table : footprint.written) take_ordinal(writers_, table, ordinal);
}

void Footprints::drop(std::int64_t ordinal) {
  const auto found = entries_.find(ordinal);
  if (found == entries_.end()) return;
  is_changed_ = true;
  take_out(ordinal, found->second);
  entries_.erase(found);
}

void Footprints::drop_up_to(std::int64_t ordinal) {
  while (!entries_.empty() && entries_.begin()->first <= ordinal) drop(entries_.begin()->first);
}

bool Footprints::meets(TableId table, RowId row) const {
  return rows_.contains(row) || (!searchers_.empty() && searchers_.contains(table));
}

std::vector<std::int64_t> Footprints::writers_after(RowId row, std::int64_t ordinal) const {
  std::vector<std::int64_t> writers;
  const auto found = rows_.find(row);
  if (found == rows_.end()) return writers;
  for (const Use& use : found->second) {
    if (use.wrote && use.ordinal > ordinal) writers.push_back(use.ordinal);
  }
  return writers;
}

void Footprints::add_dependents(RowId row, std::set<std::int64_t>& ordinals) const {
  const auto found = rows_.find(row);
  if (found == rows_.end()) return;
  for (const Use& use : found->second) ordinals.insert(use.ordinal);
}

void Footprints::add_dependents(TableId table, RowId row, std::set<std::int64_t>& ordinals) const {
  add_dependents(row, ordinals);
  if (const auto found = searchers_.find(table); found != searchers_.end())
    ordinals.insert(found->second.begin(), found->second.end());
}

/// Walks from mutations to later ones, each row and table once per direction: the first that comes by, being the
/// earliest, reaches all that the others could.
class Footprints::Walk {
 public:
  Walk(const Footprints& index, std::set<std::int64_t>& reached) : index_(index), reached_(reached) {}

  void go_on_from(std::int64_t ordinal, const Footprint& footprint, bool runs_again) {
    for (const Footprint::Touch& touch : footprint.rows) {
      if (!touch.wrote && !runs_again) continue;
      if (!(touch.wrote ? all_of_ : writers_of_).insert(touch.row).second) continue;
      const auto found = index_.rows_.find(touch.row);
      if (found == index_.rows_.end()) continue;
      for (auto use = first_not_before(found->second, ordinal + 1, use_before<Use>); use != found->second.end(); ++use)
        if (touch.wrote || use->wrote) reached_.insert(use->ordinal);
    }
    for (const TableId table : footprint.written) {
      if (searchers_of_.insert(table).second) add(index_.searchers_, table, ordinal);
    }
    if (!runs_again) return;
    for (const TableId table : footprint.searched) {
      if (table_writers_of_.insert(table).second) add(index_.writers_, table, ordinal);
    }
  }

 private:
  void add(const std::unordered_map<TableId, std::vector<std::int64_t>>& lists, TableId table, std::int64_t ordinal) {
    const auto found = lists.find(table);
    if (found == lists.end()) return;
    reached_.insert(first_not_before(found->second, ordinal + 1, before), found->second.end());
  }

  const Footprints& index_;
  std::set<std::int64_t>& reached_;
  std::unordered_set<RowId> all_of_, writers_of_;
  std::unordered_set<TableId> searchers_of_, table_writers_of_;
};

std::set<std::int64_t> Footprints::closure(const Seeds& seeds) const {
  std::set<std::int64_t> reached = seeds.leaving;
  reached.insert(seeds.running_again.begin(), seeds.running_again.end());
  Walk walk(*this, reached);
  // What is reached is always later, so one pass in order sees everything.
  for (auto it = reached.begin(); it != reached.end(); ++it) {
    const auto found = entries_.find(*it);
    if (found == entries_.end()) continue;
    const bool only_leaves = seeds.leaving.contains(*it);
    walk.go_on_from(*it, found->second, !only_leaves);
  }
  return reached;
}

std::set<std::int64_t> Footprints::later_connected(std::int64_t ordinal) const {
  std::set<std::int64_t> reached;
  const auto found = entries_.find(ordinal);
  if (found != entries_.end()) Walk(*this, reached).go_on_from(ordinal, found->second, true);
  return reached;
}

}  // namespace nizhal::client
