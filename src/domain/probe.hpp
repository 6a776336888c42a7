// A dry run of a mutator against made-up data, to see what it asks for. Best effort by nature: it sees the paths that
// the made-up arguments and rows happen to take.
#pragma once

#include <nizhal/domain.hpp>

namespace nizhal {

/// True when the body of the mutator called unscoped() in one of several dry runs: rows found, not found, or found
/// every other time; on a device and on the server; arguments at their lower and upper bounds, with and without the
/// optional ones. Nothing is written anywhere. What the mutator throws or refuses is ignored.
bool probe_finds_unscoped(const MutatorDef& mutator);

}  // namespace nizhal
