// Where a run's mutations and foreign writes come from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nizhal/domain.hpp>

#include "base/environment.hpp"
#include "sim/device.hpp"
#include "sim/scope.hpp"

namespace nizhal::sim {

struct Call {
  std::string mutator;
  MutatorDef::Values values;
};

class Workload {
 public:
  virtual ~Workload() = default;
  /// Who takes part.
  virtual std::vector<Actor> actors() const = 0;
  /// SQL that is there before anybody begins.
  virtual std::vector<std::string> seed_statements(Random& random) = 0;
  /// The next mutation of the device's app; nothing: there is nothing that it could do.
  virtual std::optional<Call> next(Device& device, Random& random) = 0;
  /// What another program writes; empty: nothing.
  virtual std::vector<std::string> membership_change(Scopes& server, Random& random) = 0;
  virtual std::vector<std::string> foreign_write(Scopes& server, Random& random) = 0;
  virtual void applied(std::string_view mutator) = 0;
  /// What a user's own rules say against the server's rows; one sentence each.
  virtual std::vector<std::string> violations(Scopes& server) = 0;
};

}  // namespace nizhal::sim
