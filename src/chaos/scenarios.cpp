// See scenarios.hpp.
#include "chaos/scenarios.hpp"

#include "chaos/runner.hpp"

namespace nizhal::chaos {

std::vector<Scenario> built_in_scenarios() {
  std::vector<Scenario> all;
  for (const auto& group :
       {network_scenarios(), device_scenarios(), server_scenarios(), access_scenarios(), postgres_scenarios()})
    all.insert(all.end(), group.begin(), group.end());
  return all;
}

}  // namespace nizhal::chaos
