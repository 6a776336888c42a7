// Values out of declarations: typical ones mostly, now and then those at the edges. What is drawn here always fits.
#pragma once

#include <cstdint>
#include <string>

#include <nizhal/arguments.hpp>

#include "base/environment.hpp"
#include "base/json.hpp"

namespace nizhal::workload {

bool chance(Random& random, unsigned per_mille);

/// A value of the declared type within the declared bounds; null only where it may be absent. Blobs are a few random
/// bytes, CRDT values the empty update.
Value draw_value(const ArgumentDef& argument, Random& random);
/// An id that nobody has: a UUID, its digits cut to the length that fits, or a large number.
Value draw_new_id(const ArgumentDef& argument, Random& random);
json::value draw_json(const JsonShape& shape, Random& random);
/// A declaration that takes what the column takes.
ArgumentDef as_argument(const ColumnDef& column);

}  // namespace nizhal::workload
