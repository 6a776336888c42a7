// The benchmarks of the device's store: no server, no network, one file each.
#pragma once

#include "bench/benchmarks.hpp"

namespace nizhal::bench {

bool is_of_device(Benchmark benchmark);
Result<Figure> run_device_benchmark(Benchmark benchmark, const Options& options, const Outside& outside);

}  // namespace nizhal::bench
