// What a write into a CRDT column does: the update is merged into the state. The same on the device and on the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <nizhal/result.hpp>
#include <nizhal/value.hpp>

#include "crdt/encoding.hpp"

namespace nizhal::crdt {

/// A step is a block that merging compares or walks over; it takes some 10 ns, so a merge ends within a fraction of a
/// second, whoever made the update. What people write needs a few for each of a document's blocks, and a state of 4 MB
/// has less than a million of them.
inline constexpr std::uint64_t kMergeStepsMax = 20'000'000;

struct MergeLimits {
  std::size_t update_bytes_max = 0;  // 0: no limit
  std::size_t state_bytes_max = 0;   // of the state before and after
  /// Of both, opening the state and applying the update; blocks that all claim one place are compared pairwise.
  std::uint64_t steps_max = kMergeStepsMax;
};

struct MergedColumn {
  Bytes state;              // with the update
  Bytes update;             // what whoever has the state before lacks now; the empty update: nothing
  bool is_changed = false;  // the state says more than before
};

/// `root` is the column's name and `type` crdt_text or crdt_map; `state` may be empty (a new value). Deterministic: the
/// same state and update give the same bytes. The state itself as the update, as a mutator gives back what it has read,
/// changes nothing and is not weighed. Errors: bad_request (the update is none: nothing was done), invalid_args
/// (a limit; the message says which), corrupt (the state is none).
Result<MergedColumn> merge_column(ColumnType type, std::string_view root, std::span<const std::uint8_t> state,
                                  std::span<const std::uint8_t> update, const MergeLimits& limits = {});

/// The code with which a mutation is refused on such an error: `invalid_update`, `too_large`, or `internal` when what
/// is stored is damaged.
const char* refusal_of(const Error& error);

}  // namespace nizhal::crdt
