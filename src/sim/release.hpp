// The next release of any domain, for runs in which servers and apps are upgraded: a table and a rule more, every
// mutator's arguments of a later version that takes those of the earlier one (with some of which it can do nothing),
// and a contract version below which the servers refuse pushes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/environment.hpp"
#include "domain/compiled_domain.hpp"

namespace nizhal::sim {

enum class EarlierArguments { mostly_taken, all_taken };
Result<std::shared_ptr<const CompiledDomain>> next_release(const CompiledDomain& domain,
                                                           EarlierArguments earlier = EarlierArguments::mostly_taken);
/// Rows of its table for each of the actors, as another program writes them once the servers have been upgraded.
std::vector<std::string> release_statements(const std::vector<Actor>& actors, Random& random);

}  // namespace nizhal::sim
