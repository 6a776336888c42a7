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
  /// A call's outcome is known, and will not be told again; unless an older state of the server came back.
  virtual void settled(const Call& call, bool is_applied) = 0;
  virtual void server_restored() = 0;
  /// What is wrong with the server's rows, one sentence each. `is_calm`: every call has been settled.
  virtual std::vector<std::string> violations(Scopes& server, bool is_calm) = 0;
};

}  // namespace nizhal::sim
