// The scenarios that come with Nizhal, by what they hurt.
#pragma once

#include <vector>

#include <nizhal/chaos.hpp>

namespace nizhal::chaos {

std::vector<Scenario> network_scenarios();
std::vector<Scenario> server_scenarios();
std::vector<Scenario> device_scenarios();
std::vector<Scenario> access_scenarios();
std::vector<Scenario> postgres_scenarios();

}  // namespace nizhal::chaos
