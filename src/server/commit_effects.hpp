// What a committed push tells the rest of the server: where to poke, and which edits lost. A plain value between stages
// that do not know each other.
#pragma once

#include <set>
#include <string>
#include <vector>

#include <nizhal/conflict.hpp>

#include "base/ids.hpp"

namespace nizhal::server {

struct CommitEffects {
  Version version{};
  std::set<std::string> buckets;  // keys, each once
  std::vector<ReportedConflict> conflicts;
};

}  // namespace nizhal::server
