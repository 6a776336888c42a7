#include "server/push_transaction.hpp"

#include <utility>

#include "base/planted.hpp"
#include "base/reached.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/hlc.hpp"
#include "domain/upcast.hpp"
#include "domain/value_json.hpp"

namespace nizhal::server {
namespace {

using protocol::PushMutation;
using protocol::PushStatus;
using storage::ClientRecord;
using storage::MutationRecord;

HandledMutation refused(const PushMutation& mutation, PushStatus status, int http_status, std::string message) {
  HandledMutation handled;
  handled.result.client_mutation_id = mutation.client_mutation_id;
  handled.result.status = status;
  handled.result.code = protocol::to_string(status);
  handled.result.error = std::move(message);
  handled.http_status = http_status;
  return handled;
}

/// A skip came in its place.
bool was_given_up(const MutationRecord& record) { return record.name == protocol::kSkip; }

/// The recorded outcome, told again: a refusal stays a refusal.
HandledMutation recorded_outcome(const PushMutation& mutation, const MutationRecord& record) {
  HandledMutation handled;
  handled.result.client_mutation_id = mutation.client_mutation_id;
  // A copy of the device that gave it up still wants it, and must not hear that it was done.
  if (was_given_up(record) && mutation.name != protocol::kSkip && !is_planted(Planted::tell_a_skip_as_done)) {
    reached(Mark::given_up_refused);
    handled.result.status = PushStatus::rejected;
    handled.result.code = "given_up";
    handled.result.error = "a device gave this mutation up before it arrived: it did not run, and will not";
    handled.http_status = 422;
    return handled;
  }
  handled.result.status = record.applied ? PushStatus::duplicate : PushStatus::rejected;
  handled.result.code = record.code;
  handled.result.error = record.error;
  handled.result.server_id = record.server_id;
  handled.result.affected_buckets = record.affected_buckets;
  handled.result.conflicts = protocol::decode_conflicts(record.conflicts);
  handled.http_status = record.applied ? 200 : record.http_status;
  return handled;
}

/// What was sent in place of a mutator's name, short enough to repeat; cut between characters.
std::string shortened(const std::string& name) {
  constexpr std::size_t kBytesMax = 100;
  if (name.size() <= kBytesMax) return name;
  std::size_t end = kBytesMax;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80U) --end;
  return name.substr(0, end) + "…";
}

const std::string& seed_of(const PushMutation& mutation) {
  return mutation.id_seed && !mutation.id_seed->empty() ? *mutation.id_seed : mutation.client_mutation_id;
}

bool belongs_to(const ClientRecord& client, const Actor& actor) {
  return client.user_id == actor.user_id && client.owner_id == actor.owner_id;
}

}  // namespace

PushTransaction::PushTransaction(const CompiledDomain& domain, storage::WriteTransaction& transaction,
                                 const Actor& actor, Clock& clock, const Limits& limits, const Log& log,
                                 const NotRun& not_run)
    : domain_(domain),
      transaction_(transaction),
      actor_(actor),
      clock_(clock),
      limits_(limits),
      log_(log),
      not_run_(not_run) {}

Result<HandledMutation> PushTransaction::handle(const PushMutation& mutation) {
  if (mutation.client_id && mutation.mutation_id) return handle_sequenced(mutation);
  return handle_next(mutation, nullptr);
}

/// The client's record, a fresh one for a client id not seen before.
Result<ClientRecord*> PushTransaction::client_of(const std::string& client_id) {
  if (const auto it = clients_.find(client_id); it != clients_.end()) return &it->second.record;
  auto stored = transaction_.client(client_id);
  if (!stored) return tl::unexpected(stored.error());
  ClientRecord record;
  if (*stored) {
    record = std::move(**stored);
  } else {
    record.client_id = client_id;
    record.user_id = actor_.user_id;
    record.owner_id = actor_.owner_id;
  }
  return &clients_.emplace(client_id, Client{std::move(record), false}).first->second.record;
}

Result<HandledMutation> PushTransaction::handle_sequenced(const PushMutation& mutation) {
  const auto found = client_of(*mutation.client_id);
  if (!found) return tl::unexpected(found.error());
  ClientRecord& client = **found;
  if (!belongs_to(client, actor_)) {
    reached(Mark::foreign_client_id);
    return refused(mutation, PushStatus::client_id_taken, 403, "this client id belongs to somebody else");
  }
  Result<HandledMutation> handled = [&]() -> Result<HandledMutation> {
    if (*mutation.mutation_id <= client.last_mutation_id) return answer_handled(mutation, client);
    if (*mutation.mutation_id == next(client.last_mutation_id)) return handle_next(mutation, &client);
    reached(Mark::out_of_order);
    return refused(mutation, PushStatus::out_of_order, 409,
                   "the next mutation id is " + std::to_string(number(next(client.last_mutation_id))));
  }();
  if (!handled) return handled;
  handled->last_mutation_id = client.last_mutation_id;
  sequences_[client.client_id] = client.last_mutation_id;
  return handled;
}

/// The mutation id is the last one or below: told from the record, never run.
Result<HandledMutation> PushTransaction::answer_handled(const PushMutation& mutation, const ClientRecord& client) {
  const auto cloned = [&] {
    reached(Mark::clone_refused);
    return refused(mutation, PushStatus::client_cloned, 409,
                   "this mutation id was used for another mutation: the store was cloned");
  };
  const auto record = transaction_.mutation(client.client_id, *mutation.mutation_id);
  if (!record) return tl::unexpected(record.error());
  if (*record) {
    const bool is_same = (*record)->client_mutation_id == mutation.client_mutation_id;
    if (!is_same && !is_planted(Planted::overlook_a_clone)) return cloned();
    if (is_same && is_planted(Planted::apply_twice)) {
      if (auto again = decide(mutation, nullptr); !again) return tl::unexpected(again.error());
      wrote_ = true;
    }
    reached(Mark::outcome_repeated);
    return recorded_outcome(mutation, **record);
  }
  // The pair of the last id outlives its record.
  if (*mutation.mutation_id == client.last_mutation_id && client.last_client_mutation_id != mutation.client_mutation_id)
    return cloned();
  // A burned id has no record of its own; its mutation may have one under the id that it ran with.
  const auto known = transaction_.mutation(actor_, mutation.client_mutation_id);
  if (!known) return tl::unexpected(known.error());
  if (*known) return recorded_outcome(mutation, **known);
  reached(Mark::outcome_gone);
  return refused(mutation, PushStatus::outcome_unknown, 409,
                 "this mutation was handled, but its record is gone: its outcome is not known any more");
}

void PushTransaction::advance(ClientRecord& client, const PushMutation& mutation) {
  client.last_mutation_id = *mutation.mutation_id;
  client.last_client_mutation_id = mutation.client_mutation_id;
  clients_.find(client.client_id)->second.changed = true;
}

/// A mutation whose turn it is; `client` is null for an unsequenced one.
Result<HandledMutation> PushTransaction::handle_next(const PushMutation& mutation, ClientRecord* client) {
  // Of a sequence the ids tell what was handled before; one without has nothing but its client mutation id.
  const auto known = client ? transaction_.likely_new_mutation(actor_, mutation.client_mutation_id)
                            : transaction_.mutation(actor_, mutation.client_mutation_id);
  if (!known) return tl::unexpected(known.error());
  if (*known) {
    if (client) {
      reached(Mark::id_burned);
      advance(*client, mutation);
      if (auto audited = audit(mutation, "duplicate", {}); !audited) return tl::unexpected(audited.error());
      wrote_ = true;
    }
    return recorded_outcome(mutation, **known);
  }

  auto decision = decide(mutation, client);
  if (!decision) return tl::unexpected(decision.error());
  if (client) advance(*client, mutation);
  if (auto recorded = record(mutation, client, *decision); !recorded) return tl::unexpected(recorded.error());
  wrote_ = true;

  const Outcome& outcome = decision->outcome;
  HandledMutation handled;
  handled.result.client_mutation_id = mutation.client_mutation_id;
  handled.http_status = decision->http_status;
  if (!outcome.is_done()) {
    handled.result.status = PushStatus::rejected;
    handled.result.code = outcome.code;
    handled.result.error = outcome.message;
    return handled;
  }
  handled.result.status = PushStatus::applied;
  handled.result.server_id = outcome.server_id;
  handled.result.affected_buckets = outcome.affected_buckets;
  // As recorded, so that it is the same when it is told again.
  handled.result.conflicts = protocol::decode_conflicts(decision->conflicts);
  if (outcome.affected_buckets) {
    for (const std::string& key : *outcome.affected_buckets)
      if (domain_.parse_bucket(key)) effects_.buckets.insert(key);
  } else {
    effects_.buckets.merge(decision->effects.buckets);
  }
  return handled;
}

/// Everything up to the outcome. What is refused has left no trace in the tables.
Result<PushTransaction::Decision> PushTransaction::decide(const PushMutation& mutation, ClientRecord* client) {
  const auto refuse = [](int http_status, std::string code, std::string message) {
    Decision decision;
    decision.outcome = reject(std::move(code), std::move(message));
    decision.http_status = http_status;
    return decision;
  };
  if (mutation.name == protocol::kSkip) return Decision{};
  const MutatorDef* mutator = domain_.domain().find_mutator(mutation.name);
  if (!mutator) return refuse(400, "unknown_mutator", "there is no mutator \"" + shortened(mutation.name) + "\"");
  auto stamped = stamp(mutation, client);
  if (!stamped)
    return refuse(422, "invalid_hlc",
                  "hlc must be an ISO 8601 time in UTC with milliseconds, a counter of 4 and a node of 32 hex digits");
  const auto dependency = refused_dependency(mutation);
  if (!dependency) return tl::unexpected(dependency.error());
  if (*dependency) {
    reached(Mark::dependency_refused);
    return refuse(422, "dependency_rejected", "mutation " + **dependency + ", which this depends on, was refused");
  }
  return run(*mutator, mutation, client, *std::move(stamped));
}

/// The mutation's time, and what its edits are merged by. Nothing: the stamp is malformed.
std::optional<Hlc> PushTransaction::stamp(const PushMutation& mutation, ClientRecord* client) {
  const Timestamp now = clock_.now();
  if (mutation.hlc) {
    auto hlc = parse_hlc(*mutation.hlc);
    if (!hlc) return std::nullopt;
    const std::int64_t ahead_ms = hlc->milliseconds - now.microseconds / 1000;
    if (ahead_ms <= limits_.clock_drift_max.count()) return hlc;
    reached(Mark::stamp_replaced);
    clock_skew_ms_ = ahead_ms;
  }
  // The server's own time, above every stamp that it gave this client; the device's is not looked at (S20).
  Hlc last;
  if (client) last = parse_hlc(client->last_hlc).value_or(Hlc{});
  HybridClock clock(hlc_node(client ? client->client_id : mutation.client_mutation_id), std::move(last));
  Hlc given = clock.tick(now);
  if (client) client->last_hlc = given.text();
  return given;
}

/// The first of `dependsOn` that is on record as refused, or as given up.
Result<std::optional<std::string>> PushTransaction::refused_dependency(const PushMutation& mutation) {
  for (const std::string& dependency : mutation.depends_on) {
    const auto record = transaction_.mutation(actor_, dependency);
    if (!record) return tl::unexpected(record.error());
    if (*record && (!(*record)->applied || was_given_up(**record))) return dependency;
  }
  return std::nullopt;
}

/// Ids that the client made and for which the server has others are replaced (S7).
Result<void> PushTransaction::resolve_ids(const MutatorDef& mutator, const std::string& client_id,
                                          MutatorDef::Values& values) {
  for (std::size_t i = 0; i < mutator.arguments.size() && i < values.size(); ++i) {
    const ArgumentDef& argument = mutator.arguments[i];
    const std::string& table_name = argument.references.empty() ? argument.new_id_of : argument.references;
    if (table_name.empty() || is_null(values[i])) continue;
    const auto server_id = transaction_.server_id(client_id, table_name, key_text(values[i]));
    if (!server_id) return tl::unexpected(server_id.error());
    const auto table = domain_.table_index(table_name);
    if (!*server_id || !table) continue;
    if (auto value = key_from_text(domain_.table(*table), **server_id)) values[i] = std::move(*value);
  }
  return {};
}

Result<PushTransaction::Decision> PushTransaction::run(const MutatorDef& mutator, const PushMutation& mutation,
                                                       ClientRecord* client, Hlc stamp) {
  Decision decision;
  // An older app's arguments are brought to today's; who names no version means today's.
  std::string thrown;
  auto values = decode_arguments_of(mutator, mutation.args_version.value_or(mutator.version), mutation.args, &thrown);
  if (!thrown.empty()) log_.error("push", "an upcaster of mutator \"" + mutator.name + "\" threw: " + thrown);
  if (!values) {
    decision.outcome = std::move(values.error());
    decision.http_status = 422;
    return decision;
  }
  if (const auto it = not_run_.find(mutation.client_mutation_id); it != not_run_.end()) {
    decision.outcome = reject(to_string(ErrorCode::constraint_violated), it->second);
    decision.http_status = 422;
    return decision;
  }
  const MutatorDef::Values sent = *values;
  if (client) {
    if (auto resolved = resolve_ids(mutator, client->client_id, *values); !resolved)
      return tl::unexpected(resolved.error());
  }

  if (auto opened = transaction_.savepoint(); !opened) return tl::unexpected(opened.error());
  MutationRunner runner(domain_, transaction_, actor_, seed_of(mutation), MergeRules(std::move(stamp), limits_), log_);
  auto run = runner.run(mutator, *values);
  if (!run) return tl::unexpected(run.error());
  const bool applied = run->outcome.is_done();
  if (!applied) {
    reached(Mark::savepoint_rolled_back);
    if (auto undone = transaction_.rollback_to_savepoint(); !undone) {
      // The reason is told when the mutation is refused without being run again.
      if (undone.error().code == ErrorCode::constraint_violated)
        return failure(undone.error().code, run->outcome.message);
      return tl::unexpected(undone.error());
    }
  }
  if (auto closed = transaction_.release_savepoint(); !closed) {
    if (closed.error().code != ErrorCode::constraint_violated) return tl::unexpected(closed.error());
    // Some constraints are judged at the end only. The database's words may quote its schema, so only the log has them.
    log_.warning("push", "mutator \"" + mutator.name + "\" met a constraint: " + closed.error().message);
    return failure(ErrorCode::constraint_violated, std::string(kConstraintBroken));
  }

  decision.outcome = std::move(run->outcome);
  decision.http_status = run->http_status;
  decision.effects = std::move(run->effects);
  report_conflicts(mutation, decision);
  if (!applied || !client || !decision.outcome.server_id) return decision;
  for (std::size_t i = 0; i < mutator.arguments.size(); ++i) {
    if (mutator.arguments[i].new_id_of.empty() || is_null(sent[i])) continue;
    const std::string id = key_text(sent[i]);
    if (id != *decision.outcome.server_id) {
      auto mapped = transaction_.put_server_id(client->client_id, mutator.arguments[i].new_id_of, id,
                                               *decision.outcome.server_id);
      if (!mapped) return tl::unexpected(mapped.error());
    }
    break;
  }
  return decision;
}

void PushTransaction::report_conflicts(const PushMutation& mutation, Decision& decision) {
  if (decision.effects.conflicts.empty()) return;
  std::vector<protocol::PushConflict> told;
  for (auto& [conflict, is_in_reach] : decision.effects.conflicts) {
    conflict.mutator = mutation.name;
    conflict.client_mutation_id = mutation.client_mutation_id;
    if (is_in_reach)
      told.push_back({conflict.table, conflict.key, conflict.column, conflict.lost, conflict.at, conflict.winner_at});
    effects_.conflicts.push_back({conflict, actor_.user_id, actor_.owner_id, mutation.client_id.value_or("")});
  }
  decision.conflicts = protocol::encode_conflicts(told);
}

Result<void> PushTransaction::record(const PushMutation& mutation, const ClientRecord* client,
                                     const Decision& decision) {
  MutationRecord record;
  if (client) {
    record.client_id = client->client_id;
    record.mutation_id = mutation.mutation_id;
  }
  record.client_mutation_id = mutation.client_mutation_id;
  record.user_id = actor_.user_id;
  record.owner_id = actor_.owner_id;
  record.name = shortened(mutation.name);
  record.applied = decision.outcome.is_done();
  record.http_status = decision.http_status;
  record.code = decision.outcome.code;
  record.error = decision.outcome.message;
  record.server_id = decision.outcome.server_id;
  record.affected_buckets = decision.outcome.affected_buckets;
  record.conflicts = decision.conflicts;
  if (auto put = transaction_.put_mutation(record); !put) return put;
  return audit(mutation, record.applied ? "applied" : record.code, decision.effects);
}

Result<void> PushTransaction::audit(const PushMutation& mutation, std::string outcome, const MutationEffects& effects) {
  storage::AuditRow row;
  row.user_id = actor_.user_id;
  row.owner_id = actor_.owner_id;
  row.client_id = mutation.client_id;
  row.mutation_id = mutation.mutation_id;
  row.client_mutation_id = mutation.client_mutation_id;
  row.mutator = shortened(mutation.name);
  row.outcome = std::move(outcome);
  row.unscoped = effects.unscoped;
  auto buckets = effects.lost_buckets;
  buckets.insert(effects.buckets.begin(), effects.buckets.end());
  row.buckets.assign(buckets.begin(), buckets.end());
  row.changes = effects.changes;
  return transaction_.put_audit(row);
}

Result<void> PushTransaction::finish() {
  if (!wrote_) return {};
  for (const auto& [client_id, client] : clients_) {
    if (!client.changed) continue;
    if (auto put = transaction_.put_client(client.record); !put) return put;
  }
  effects_.version = transaction_.version();
  if (auto committed = transaction_.commit(); !committed) return committed;
  committed_ = true;
  effects_.grants = transaction_.grants_mark();
  return {};
}

}  // namespace nizhal::server
