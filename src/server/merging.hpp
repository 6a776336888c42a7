// What an edit of a row comes to where edits merge (S22): per column by the stamp under Merge::Field, structurally in
// CRDT columns. Pure: nothing is read or written here. Place in the loop: inside mutation_runner.
//
// The facts that must not break: the outcome follows from the row, what is kept beside it and the edit, and from
// nothing else; and a column's stamp never goes down, so that the order in which edits arrive does not matter.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

#include "base/ids.hpp"
#include "crdt/encoding.hpp"
#include "domain/hlc.hpp"
#include "server/limits.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

inline bool merges(const TableDef& table) { return table.merge == Merge::Field || table.has_crdt(); }

/// What edits are merged by.
struct MergeRules {
  Hlc stamp;  // of the mutation
  std::size_t update_bytes_max = 0, state_bytes_max = 0, recent_bytes_max = 0;

  MergeRules(Hlc of_mutation, const Limits& limits)
      : stamp(std::move(of_mutation)),
        update_bytes_max(limits.crdt_update_bytes_max),
        state_bytes_max(limits.crdt_state_bytes_max),
        recent_bytes_max(limits.crdt_recent_bytes_max) {}
};

/// A refusal of the mutation: `invalid_update`, `too_large`, or `internal` when what is stored is damaged; then the
/// message is for the log only.
struct MergeRefusal {
  std::string code, message;
};
template <class T>
using Merged = tl::expected<T, MergeRefusal>;

/// An edit of one column that lost.
struct LostColumn {
  std::size_t column = 0;
  Value value;
  Hlc winner;
};

/// What is to be written. `changes` and `lost` have each column once.
struct MergedEdit {
  Row after;
  std::vector<std::pair<std::size_t, Value>> changes;  // empty: nothing is written
  std::vector<LostColumn> lost;
  std::string stamps;
  std::vector<std::pair<std::size_t, crdt::Bytes>> updates;  // of CRDT columns: what whoever has `before` lacks
};

using Changes = std::vector<std::pair<std::size_t, Value>>;

/// Of `whole` objects, only the columns that differ from the row count as edited.
Merged<MergedEdit> merge_edit(const TableDef& table, const storage::MergeRow& before, const Changes& changes,
                              bool whole, const MergeRules& rules);
/// What is kept beside the row after it. `enters`: the row is in a bucket now that it was not in before.
storage::MergeState merge_state(const TableDef& table, const storage::MergeState& before, const MergedEdit& edit,
                                bool enters, Version version, const MergeRules& rules);
/// A new row, as it is stored.
Merged<storage::MergeRow> merge_new_row(const TableDef& table, const Row& row, Version version,
                                        const MergeRules& rules);

}  // namespace nizhal::server
