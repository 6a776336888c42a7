// The steps from one list of rows to another.
//
// The fact that must not break: the steps, done one after the other, turn the old list into exactly the new one.
#pragma once

#include <vector>

#include <nizhal/live.hpp>

#include "query/ordered_rows.hpp"

namespace nizhal {

using RowPointers = std::vector<const Row*>;

/// Both lists are in the order. A row that is in both is updated or left alone.
void diff_ordered(const RowOrder& order, const RowPointers& before, const RowPointers& after,
                  std::vector<RawChange>& steps);

/// Rows that have no identity beyond their values, in any order. Most equal rows stay where they are; one that gives
/// its place to another counts as updated.
void diff_by_value(const RowPointers& before, const RowPointers& after, std::vector<RawChange>& steps);

}  // namespace nizhal
