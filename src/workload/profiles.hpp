// What is known of the example domains beyond their declarations: which calls matter, and values that make devices
// meet.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "workload/trial.hpp"

namespace nizhal::workload {

struct Profile {
  std::map<std::string, unsigned, std::less<>> weights;  // by mutator; 10 where it is not named
  /// Changes what was drawn for a call.
  std::function<void(const MutatorDef& mutator, MutatorDef::Values& values, Seen& seen, Random& random)> adjust;
};

/// By the domain's name and the mutators that it has; empty for one that is not known.
Profile profile_of(const CompiledDomain& domain);

}  // namespace nizhal::workload
