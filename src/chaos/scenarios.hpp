// The scenarios that come with Nizhal, by what they hurt.
#pragma once

#include <vector>

#include <nizhal/chaos.hpp>

namespace nizhal::chaos {

std::vector<Scenario> network_scenarios();

}  // namespace nizhal::chaos
