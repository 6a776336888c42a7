// One write transaction's worth of pushed mutations: each is looked up, run in its own savepoint, recorded and audited
// (S18–S20). Place in the loop: push_handler ▶ push_transaction ▶ mutation_runner ▶ commit.
//
// The fact that must not break: a mutation's rows, its record, its client's last id and its audit row commit together
// or not at all; so a mutation is run at most once, whoever repeats it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <nizhal/actor.hpp>
#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "domain/hlc.hpp"
#include "protocol/push.hpp"
#include "server/commit_effects.hpp"
#include "server/limits.hpp"
#include "server/mutation_runner.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

/// What became of one mutation.
struct HandledMutation {
  protocol::PushResult result;
  int http_status = 200;                       // of a request without `results`
  std::optional<MutationId> last_mutation_id;  // of its client, where this actor may know it
};

/// Mutations whose run ends the whole transaction, as a trigger with RAISE(ROLLBACK) does: client mutation id → why.
/// They are refused without being run, so that the others can be.
using NotRun = std::map<std::string, std::string>;

/// What the device is told of a constraint that is not any one table's write's.
inline constexpr std::string_view kConstraintBroken = "the mutation breaks a constraint of the server's database";

class PushTransaction {
 public:
  PushTransaction(const CompiledDomain& domain, storage::WriteTransaction& transaction, const Actor& actor,
                  Clock& clock, const Limits& limits, const Log& log, const NotRun& not_run);

  /// Handles one mutation. An error is the storage's: nothing of this transaction happened, drop it. With
  /// constraint_violated it was this mutation that ended the transaction, and it would do so again.
  Result<HandledMutation> handle(const protocol::PushMutation& mutation);

  /// Commits, when anything is to be kept: what was handled before leaves the database as it was.
  Result<void> finish();
  bool has_committed() const { return committed_; }

  const CommitEffects& effects() const { return effects_; }
  /// Last mutation ids of the clients that took part and belong to this actor.
  const std::map<std::string, MutationId>& sequences() const { return sequences_; }
  std::optional<std::int64_t> clock_skew_ms() const { return clock_skew_ms_; }

 private:
  /// A mutation's outcome before it is recorded.
  struct Decision {
    Outcome outcome;
    int http_status = 200;
    MutationEffects effects;
    std::string conflicts;  // as recorded
  };
  Result<storage::ClientRecord*> client_of(const std::string& client_id);
  Result<HandledMutation> handle_sequenced(const protocol::PushMutation& mutation);
  Result<HandledMutation> answer_handled(const protocol::PushMutation& mutation, const storage::ClientRecord& client);
  Result<HandledMutation> handle_next(const protocol::PushMutation& mutation, storage::ClientRecord* client);
  Result<Decision> decide(const protocol::PushMutation& mutation, storage::ClientRecord* client);
  Result<Decision> run(const MutatorDef& mutator, const protocol::PushMutation& mutation, storage::ClientRecord* client,
                       Hlc stamp);
  Result<void> resolve_ids(const MutatorDef& mutator, const std::string& client_id, MutatorDef::Values& values);
  Result<std::optional<std::string>> refused_dependency(const protocol::PushMutation& mutation);
  std::optional<Hlc> stamp(const protocol::PushMutation& mutation, storage::ClientRecord* client);
  Result<void> record(const protocol::PushMutation& mutation, const storage::ClientRecord* client,
                      const Decision& decision);
  Result<void> audit(const protocol::PushMutation& mutation, std::string outcome, const MutationEffects& effects);
  /// Names the mutation in what its edits lost to, for those who hear of it.
  void report_conflicts(const protocol::PushMutation& mutation, Decision& decision);
  void advance(storage::ClientRecord& client, const protocol::PushMutation& mutation);

  const CompiledDomain& domain_;
  storage::WriteTransaction& transaction_;
  const Actor& actor_;
  Clock& clock_;
  const Limits& limits_;
  const Log& log_;
  const NotRun& not_run_;
  struct Client {
    storage::ClientRecord record;
    bool changed = false;
  };
  std::map<std::string, Client> clients_;
  CommitEffects effects_;
  std::map<std::string, MutationId> sequences_;
  std::optional<std::int64_t> clock_skew_ms_;
  bool wrote_ = false;
  bool committed_ = false;
};

}  // namespace nizhal::server
