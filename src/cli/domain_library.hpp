// A domain, and scenarios beside it, from a shared library that was built with NIZHAL_DOMAIN.
#pragma once

#include <string>
#include <vector>

#include <nizhal/chaos.hpp>
#include <nizhal/domain.hpp>
#include <nizhal/result.hpp>

namespace nizhal::cli {

/// Errors (io_error) name the file and what to do: it is missing, no domain library, of another ABI, or its domain
/// function threw. The library stays loaded until the process ends, because the domain's functions lie in it and
/// copies of the domain may live anywhere.
Result<Domain> load_domain(const std::string& path);

/// The scenarios that the same library exports with NIZHAL_CHAOS; none when it exports none. Errors as above.
Result<std::vector<chaos::Scenario>> load_scenarios(const std::string& path);

}  // namespace nizhal::cli
