// Runs scenarios one after the other, each in a world of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/chaos.hpp>
#include <nizhal/result.hpp>

#include "chaos/world_state.hpp"

namespace nizhal::chaos {

/// Those that come with Nizhal.
std::vector<Scenario> built_in_scenarios();

struct RunOptions {
  std::string program;                                 // `nizhal`
  DomainLibrary domain;                                // the one under test
  std::map<std::string, DomainLibrary> examples = {};  // by name, for the scenarios that need their tables
  std::string database = {};                           // see Surroundings
  bool may_kill_postgres = false;
  std::uint64_t seed = 1;
};

struct Line {
  enum class Kind { did, held, failed } kind = Kind::did;
  std::string sentence;
};
struct Outcome {
  std::string name;
  bool held = false;
  std::uint64_t seed = 0;
  std::string domain;
  std::vector<Line> lines;
};

/// `told` hears of each line as it comes. Errors: the world cannot be made (unreachable, io_error, …).
Result<Outcome> run_scenario(const Scenario& scenario, const RunOptions& options,
                             const std::function<void(const Line&)>& told);

/// The domain that the scenario runs on, and why it is not the one under test; empty: it is.
struct Choice {
  const DomainLibrary* domain = nullptr;
  std::string why;
};
Result<Choice> domain_of(const Scenario& scenario, const RunOptions& options);

}  // namespace nizhal::chaos
