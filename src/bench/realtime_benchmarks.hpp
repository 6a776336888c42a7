// How quickly and at what cost a change reaches other devices: `poke`, `fanout` and `sockets`. See benchmarks.hpp.
#pragma once

#include <nizhal/result.hpp>

#include "bench/benchmarks.hpp"

namespace nizhal::bench {

bool is_realtime(Benchmark benchmark);
Result<Figure> run_realtime_benchmark(Benchmark benchmark, const Options& options, const Outside& outside);

}  // namespace nizhal::bench
