// A run's workload from what its domain declares: the calls and statements of workload/workload.hpp, and its checks.
#pragma once

#include <memory>

#include "domain/compiled_domain.hpp"
#include "sim/run.hpp"
#include "sim/workload.hpp"

namespace nizhal::sim {

/// Makes a workload for each run.
MakeWorkload generated_workload(std::shared_ptr<const CompiledDomain> domain);

}  // namespace nizhal::sim
