// Edits of CRDT columns as a person's editor would make them: a few keystrokes on what the row holds now.
#pragma once

#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

#include "base/environment.hpp"

namespace nizhal::workload {

/// An update for a column that holds `state` (null: a new row), by a client id drawn for it. Errors: corrupt.
Result<Blob> draw_edit(const ColumnDef& column, const Value& state, Random& random);

}  // namespace nizhal::workload
