// What a committed push tells the rest of the server: where to poke. A plain value between stages that do not know
// each other.
#pragma once

#include <set>
#include <string>

#include "base/ids.hpp"

namespace nizhal::server {

struct CommitEffects {
  Version version{};
  std::set<std::string> buckets;  // keys, each once
};

}  // namespace nizhal::server
