// A live query over many rows of which one changes, beside running the query again.
#pragma once

#include <nizhal/result.hpp>

#include "bench/benchmarks.hpp"
#include "bench/statistics.hpp"

namespace nizhal::bench {

/// `benchmark` is one of the live ones.
Result<Figure> run_live_benchmark(Benchmark benchmark, const Options& options, const Outside& outside);

}  // namespace nizhal::bench
