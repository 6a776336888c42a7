// What a committed push tells the rest of the server: where to poke, and which edits lost. A plain value between stages
// that do not know each other.
#pragma once

#include <cstdint>
#include <optional>
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
  std::optional<std::uint64_t> grants;  // storage::ChangeMark::grants at a moment after the commit, where it is known
};

}  // namespace nizhal::server
