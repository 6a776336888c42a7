// What a Generator keeps: what it found in the domain, and what has become of its calls so far.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "workload/bucket_columns.hpp"
#include "workload/profiles.hpp"
#include "workload/sources.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {

/// The CRDT column that an argument is merged into, and the argument that names the row (none: it is a new one).
struct Feed {
  std::size_t table = 0, column = 0;
  std::optional<std::size_t> key_argument;
};
struct ArgumentPlan {
  std::vector<Source> sources;
  std::optional<Feed> feed;
  unsigned trials_without_feed = 0;
};
struct MutatorPlan {
  const MutatorDef* def = nullptr;
  std::vector<ArgumentPlan> arguments;
  unsigned weight = 10;
  unsigned tried = 0, applied = 0;  // as noted
};

struct Generator::State {
  State(std::shared_ptr<const CompiledDomain> of_domain, std::vector<Actor> of_actors, GeneratorOptions of_options);

  std::shared_ptr<const CompiledDomain> domain;
  std::vector<Actor> actors;
  GeneratorOptions options;
  BucketColumns columns;
  Profile profile;
  std::vector<MutatorPlan> mutators;
  /// Folded names of columns that hold keys of a table, as the arguments of that name say.
  std::map<std::string, std::size_t> references;
};

}  // namespace nizhal::workload
