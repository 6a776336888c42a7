// The benchmark of CRDT texts: a long editing trace as updates, applied by src/crdt and by yjs in node, in turns.
#pragma once

#include "bench/benchmarks.hpp"

namespace nizhal::bench {

/// crdt_keystrokes: one update per edit; crdt_bulk: one update of everything; crdt_edit: the edits themselves, made by
/// position, each with its update. unreachable says how to install node and yjs.
Result<Figure> run_crdt_benchmark(Benchmark benchmark, const Options& options, const Outside& outside);

}  // namespace nizhal::bench
