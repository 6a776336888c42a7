#include "client/pusher.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/json.hpp"
#include "base/reached.hpp"
#include "client/authoritative.hpp"
#include "client/clock_correction.hpp"
#include "client/conflicts.hpp"
#include "client/dead_letters.hpp"
#include "client/outbox.hpp"
#include "client/rebase.hpp"
#include "client/tuning.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/value_json.hpp"

namespace nizhal::client::pusher {
namespace {

using outbox::Entry;
using protocol::PushResult;
using protocol::PushStatus;

std::size_t encoded_bytes(const Entry& entry) {
  std::size_t bytes = kMutationOverheadBytes + entry.name.size() + entry.args.size();
  for (const std::string& id : entry.depends_on) bytes += id.size() + 3;
  return bytes;
}

Result<void> give_mutation_id(StoreState& state, Entry& entry) {
  const std::int64_t given = state.meta->integer(meta_key::kLastGiven) + 1;
  entry.mutation_id = MutationId{static_cast<std::uint64_t>(given)};
  auto insert =
      state.connection->prepare("INSERT OR REPLACE INTO nizhal_sent(mutation_id, client_mutation_id) VALUES(?1, ?2)");
  if (!insert) return tl::unexpected(insert.error());
  insert->bind(1, given).bind_text(2, entry.client_mutation_id);
  if (auto done = insert->run(); !done) return done;
  return state.meta->set(meta_key::kLastGiven, given);
}

Result<protocol::PushMutation> to_wire(const StoreState& state, const Entry& entry) {
  auto args = parse_json(entry.args);
  if (!args) return failure(ErrorCode::corrupt, "nizhal_outbox: " + args.error().message);
  protocol::PushMutation mutation;
  mutation.name = entry.name;
  mutation.args = std::move(*args);
  mutation.client_mutation_id = entry.client_mutation_id;
  mutation.client_id = state.meta->get(meta_key::kClientId);
  mutation.mutation_id = entry.mutation_id;
  mutation.hlc = entry.hlc;
  mutation.depends_on = entry.depends_on;
  mutation.id_seed = entry.id_seed;
  mutation.args_version = entry.args_version;
  return mutation;
}

/// One reply being settled, inside one transaction, at whose end the rebase follows that it marks.
class Settlement {
 public:
  Settlement(StoreState& state, const protocol::PushRequest& sent, const protocol::PushReply& reply)
      : state_(state), sent_(sent), reply_(reply) {}

  Result<LocalStore::PushSettled> run() {
    for (const PushResult& result : reply_.results) {
      if (auto done = settle_one(result); !done) return tl::unexpected(done.error());
    }
    if (auto done = renumber(); !done) return tl::unexpected(done.error());
    if (reply_.clock_skew_ms && *reply_.clock_skew_ms != 0) {
      if (auto done = correct_clock_by(*reply_.clock_skew_ms); !done) return tl::unexpected(done.error());
    }
    auto more = outbox::has_unsettled(state_);
    if (!more) return tl::unexpected(more.error());
    settled_.send_again = *more && !settled_.retry_later;
    return settled_;
  }

 private:
  Result<void> settle_one(const PushResult& result) {
    auto found = outbox::find(state_, result.client_mutation_id);
    if (!found) return tl::unexpected(found.error());
    // A result of something that is here no more was settled by an earlier reply.
    if (!*found) return {};
    Entry& entry = **found;
    switch (result.status) {
      case PushStatus::applied:
      case PushStatus::duplicate:
        // A refusal that is repeated from the record is a refusal all the same (S19).
        return result.code.empty() ? settle_applied(entry, result) : settle_rejected(entry, result);
      case PushStatus::rejected:
        return settle_rejected(entry, result);
      case PushStatus::out_of_order:
        out_of_order_ = true;
        return {};
      case PushStatus::outcome_unknown:
        return settle_unknown(entry, result);
      case PushStatus::client_cloned:
      case PushStatus::client_id_taken:
        new_client_id_ = true;
        return {};
      case PushStatus::retry:
        settled_.retry_later = true;
        reached(Mark::retry_asked_for);
        entry.last_error = result.error.empty() ? "the server asked for another try" : result.error;
        return outbox::update(state_, entry);
      case PushStatus::not_tried:
        return {};
    }
    return {};
  }

  /// The outcome is known; the entry leaves now if a pull covered it, else with the pull that does (S4).
  Result<void> outcome_known(Entry& entry) {
    if (entry.covered) return outbox::confirm(state_, entry);
    entry.outcome_known = true;
    entry.last_error.clear();
    return outbox::update(state_, entry);
  }

  Result<void> settle_applied(Entry& entry, const PushResult& result) {
    if (auto noted = conflicts::note(state_, entry, result.conflicts); !noted) return noted;
    if (entry.is_skip()) {
      // The first answer to a skip that is "handled before" speaks of the mutation that it replaced.
      if (result.status == PushStatus::duplicate && entry.attempts <= 1) {
        if (auto noted = dead_letters::note_applied_after_all(state_, entry.client_mutation_id); !noted) return noted;
      }
      return outcome_known(entry);
    }
    ++settled_.applied;
    Outcome outcome = done();
    outcome.server_id = result.server_id;
    state_.settlements.push_back({client::Settlement::Kind::applied, entry.client_mutation_id, std::move(outcome)});
    if (result.server_id) {
      if (auto mapped = map_id(entry, *result.server_id); !mapped) return mapped;
    }
    // From now on it is one like the others: it runs here with those that are run again.
    if (std::exchange(entry.awaits_server, false)) mark::changed(state_, entry.ordinal);
    return outcome_known(entry);
  }

  Result<void> settle_rejected(Entry& entry, const PushResult& result) {
    if (entry.is_skip()) return outcome_known(entry);
    const std::string code = result.code.empty() ? "rejected" : result.code;
    const std::string message = result.error.empty() ? "the server refused it" : result.error;
    auto gone = entry.awaits_server && state_.awaited.contains(entry.client_mutation_id)
                    ? authoritative::hand_over_refusal(state_, entry, reject(code, message))
                    : dead_letters::bury(state_, entry, code, message, dead_letters::Id::burned);
    if (!gone) return gone;
    auto dependents = dead_letters::bury_dependents(state_, entry.client_mutation_id, dead_letters::Id::burned);
    if (!dependents) return tl::unexpected(dependents.error());
    settled_.rejected += 1 + *dependents;
    return {};
  }

  /// Handled, but the record is pruned. Was it this mutation? Only if it had been sent before (S19).
  Result<void> settle_unknown(Entry& entry, const PushResult& result) {
    if (entry.attempts <= 1) {
      number_was_used_ = true;
      return {};
    }
    if (entry.is_skip()) return outcome_known(entry);
    reached(Mark::outcome_unknown_buried);
    const std::string message = fmt::format(
        "it was sent, but the server no longer knows what became of it{}{}; look at the data, then retry or "
        "discard it",
        result.error.empty() ? "" : ": ", result.error);
    if (auto done = dead_letters::bury(state_, entry, "outcome_unknown", message, dead_letters::Id::burned); !done)
      return done;
    ++settled_.rejected;
    return {};
  }

  Result<void> renumber() {
    const auto given = static_cast<std::uint64_t>(state_.meta->integer(meta_key::kLastGiven));
    std::optional<MutationId> last = reply_.last_mutation_id;
    if (const auto it = reply_.client_sequences.find(state_.meta->get(meta_key::kClientId));
        it != reply_.client_sequences.end())
      last = it->second;
    if (!new_client_id_ && !out_of_order_ && !number_was_used_) return {};
    if (!new_client_id_ && !last) {
      // Nothing to number by; asked again, the server says it.
      settled_.retry_later = true;
      return {};
    }
    // More than this device ever sent: somebody else sends under its client id. And a number that was used though this
    // device had not sent it says the same.
    if (new_client_id_ || number_was_used_ || number(*last) > given) {
      reached(Mark::clone_noticed_on_push);
      return take_new_client_id(state_);
    }
    return renumber_after(state_, *last, "");
  }

  Result<void> map_id(const Entry& entry, const std::string& server_id) {
    const MutatorDef* mutator = state_.domain().domain().find_mutator(entry.name);
    if (!mutator) return {};
    auto args = parse_json(entry.args);
    if (!args) return failure(ErrorCode::corrupt, "nizhal_outbox: " + args.error().message);
    auto values = decode_arguments(*mutator, *args);
    if (!values) return {};
    for (std::size_t i = 0; i < mutator->arguments.size(); ++i) {
      const ArgumentDef& argument = mutator->arguments[i];
      if (argument.new_id_of.empty() || is_null((*values)[i])) continue;
      const std::string client_key = key_text((*values)[i]);
      if (client_key == server_id) return {};
      reached(Mark::id_replaced);
      mark::mapped(state_, argument.new_id_of, client_key);
      auto insert = state_.connection->prepare(
          "INSERT OR REPLACE INTO nizhal_id_map(table_name, client_key, server_key, client_mutation_id) VALUES(?1, ?2, "
          "?3, ?4)");
      if (!insert) return tl::unexpected(insert.error());
      insert->bind_text(1, argument.new_id_of)
          .bind_text(2, client_key)
          .bind_text(3, server_id)
          .bind_text(4, entry.client_mutation_id);
      return insert->run();
    }
    return {};
  }

  /// Some stamps were ahead of the server's clock (S20). It tells by how much for the last of them, which is the
  /// highest that was sent; so its clock is known, however long ago the stamp was made.
  Result<void> correct_clock_by(std::int64_t skew_ms) {
    std::optional<Hlc> highest;
    for (const protocol::PushMutation& mutation : sent_.mutations) {
      auto stamp = parse_hlc(mutation.hlc.value_or(""));
      if (stamp && (!highest || *highest < *stamp)) highest = std::move(stamp);
    }
    if (!highest) return {};
    return correct_clock(state_, offset_to(state_, Timestamp{(highest->milliseconds - skew_ms) * 1000}));
  }

  StoreState& state_;
  const protocol::PushRequest& sent_;
  const protocol::PushReply& reply_;
  LocalStore::PushSettled settled_;
  bool out_of_order_ = false;
  bool new_client_id_ = false;
  bool number_was_used_ = false;
};

}  // namespace

Result<protocol::PushRequest> next_push(StoreState& state, std::size_t mutations_max, std::size_t body_bytes_max) {
  auto pending = outbox::has_unsettled(state);
  if (!pending) return tl::unexpected(pending.error());
  if (!*pending) return protocol::PushRequest{};
  return in_transaction(state, [&]() -> Result<protocol::PushRequest> {
    protocol::PushRequest request;
    request.results = true;
    if (auto withdrawn = authoritative::withdraw_overdue(state); !withdrawn) return tl::unexpected(withdrawn.error());
    auto entries = outbox::list(state, outbox::Which::unsettled, mutations_max);
    if (!entries) return tl::unexpected(entries.error());
    std::size_t bytes = 0;
    for (Entry& entry : *entries) {
      bytes += encoded_bytes(entry);
      if (!request.mutations.empty() && bytes > body_bytes_max) break;
      if (!entry.mutation_id) {
        if (auto given = give_mutation_id(state, entry); !given) return tl::unexpected(given.error());
      }
      ++entry.attempts;
      if (auto kept = outbox::update(state, entry); !kept) return tl::unexpected(kept.error());
      if (entry.is_skip()) reached(Mark::skip_sent);
      auto mutation = to_wire(state, entry);
      if (!mutation) return tl::unexpected(mutation.error());
      request.mutations.push_back(std::move(*mutation));
    }
    return request;
  });
}

Result<bool> is_first(StoreState& state) {
  const std::int64_t last = state.meta->integer(meta_key::kPushFirst);
  if (last == 0) return false;
  auto select = state.connection->prepare(
      "SELECT 1 FROM nizhal_outbox WHERE ordinal <= ?1 AND covered = 0 AND outcome_known = 0 LIMIT 1");
  if (!select) return tl::unexpected(select.error());
  select->bind(1, last);
  return select->step();
}

Result<LocalStore::PushSettled> settle(StoreState& state, const protocol::PushRequest& sent,
                                       const protocol::PushReply& reply) {
  // A reply to what was sent under an earlier client id says nothing about this one's numbers.
  if (!sent.mutations.empty() && sent.mutations.front().client_id != state.meta->get(meta_key::kClientId))
    return LocalStore::PushSettled{.send_again = true};
  return in_transaction(state, [&] { return Settlement(state, sent, reply).run(); });
}

Result<void> note_failure(StoreState& state, const protocol::PushRequest& sent, std::string_view reason) {
  std::vector<Entry> changed;
  for (const protocol::PushMutation& mutation : sent.mutations) {
    auto entry = outbox::find(state, mutation.client_mutation_id);
    if (!entry) return tl::unexpected(entry.error());
    if (!*entry || (*entry)->last_error == reason) continue;
    (*entry)->last_error = std::string(reason);
    changed.push_back(std::move(**entry));
  }
  // The same failure again is not worth a disk write.
  if (changed.empty()) return {};
  return in_transaction(state, [&]() -> Result<void> {
    for (const Entry& entry : changed) {
      if (auto kept = outbox::update(state, entry); !kept) return kept;
    }
    return {};
  });
}

Result<void> give_up(StoreState& state, std::string_view client_mutation_id, std::string_view code,
                     std::string_view message) {
  return in_transaction(state, [&]() -> Result<void> {
    auto entry = outbox::find(state, client_mutation_id);
    if (!entry) return tl::unexpected(entry.error());
    if (!*entry) return {};
    if ((*entry)->is_skip())
      return failure(ErrorCode::internal, "push: the server does not even take a skip of a mutation id");
    if (auto done = dead_letters::bury(state, **entry, code, message, dead_letters::Id::replace_by_skip); !done)
      return done;
    auto dependents =
        dead_letters::bury_dependents(state, std::string(client_mutation_id), dead_letters::Id::replace_by_skip);
    if (!dependents) return tl::unexpected(dependents.error());
    return {};
  });
}

}  // namespace nizhal::client::pusher
