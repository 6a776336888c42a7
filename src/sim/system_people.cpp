// What people do with a device: they call mutators, take back what they did, and try again or give up what was refused.
#include <algorithm>

#include <fmt/format.h>

#include "domain/value_json.hpp"
#include "sim/streams.hpp"
#include "sim/system.hpp"

namespace nizhal::sim {

namespace {

std::string told(const Result<Ticket>& ticket) {
  return ticket ? fmt::format("is made: {}", ticket->client_mutation_id)
                : fmt::format("is refused ({})", to_string(ticket.error().code));
}

/// Of one bucket, of which the actor may or may not be a member. Empty: there is none.
RuleParameters draw_parameters(const CompiledDomain& domain, const RuleDef& rule, const Actor& actor, Scopes& server,
                               Random& random) {
  std::optional<Row> member;
  const TableDef* members = domain.domain().find_table(rule.membership_table);
  if (members) {
    auto rows = server.rows(*members);
    if (!rows || rows->empty()) return {};
    member = std::move((*rows)[random.below(rows->size())]);
  }
  RuleParameters parameters;
  for (const ParameterDef& parameter : rule.parameters) {
    std::string value = parameter.claim.empty() ? std::string() : actor.claim(parameter.claim).value_or("");
    if (parameter.claim.empty() && member) value = key_text((*member)[members->index_of(parameter.membership_column)]);
    parameters[parameter.name] = std::move(value);
  }
  return parameters;
}

}  // namespace

void System::use(Device& device, Random& random) {
  if (!device.is_open()) return;
  if (chance(random, 120) && tend_letter(device, random)) return;
  if (chance(random, 40) && take_back(device)) return;
  if (device.chooses() && chance(random, 80) && choose_buckets(device, random)) return;
  mutate(device, random);
}

void System::mutate(Device& device, Random& random) {
  const auto call = workload_.next(device, random);
  if (!call) return;
  MutateOptions mutate_options;
  const auto before = made_last_.find(&device);
  if (chance(random, 150) && before != made_last_.end()) mutate_options.depends_on = {before->second};
  const auto ticket = device.mutate(call->mutator, call->values, mutate_options);
  history_.count("mutations tried");
  history_.note(fmt::format("{} {} {}", device.name(), call->mutator, told(ticket)));
  was_made(device, call->mutator, ticket);
}

void System::was_made(Device& device, std::string_view mutator, const Result<Ticket>& ticket) {
  if (ticket) {
    history_.count("mutations made");
    made_last_[&device] = ticket->client_mutation_id;
  }
  oracles_.mutated(device, mutator, ticket);
}

/// False: it has none.
bool System::tend_letter(Device& device, Random& random) {
  const auto letters = device.store().dead_letters();
  if (!letters || letters->empty()) return false;
  const DeadLetter letter = (*letters)[random.below(letters->size())];
  if (random.below(3) > 0) {
    const auto ticket = device.retry(letter.id);
    history_.count("letters retried");
    history_.note(fmt::format("{} {}, which was refused ({}), is tried again and {}", device.name(), letter.name,
                              letter.code, told(ticket)));
    oracles_.letter_tended(device, letter);
    was_made(device, letter.name, ticket);
    return true;
  }
  const auto done = device.discard(letter.id);
  history_.count("letters discarded");
  history_.note(fmt::format("{} {}, which was refused ({}), is given up{}", device.name(), letter.name, letter.code,
                            done ? "" : ": it cannot be"));
  oracles_.letter_tended(device, letter);
  return true;
}

/// False: it does not come to it.
bool System::choose_buckets(Device& device, Random& random) {
  const auto held = device.store().subscriptions();
  if (!held) return false;
  if (!held->empty() && random.below(2) == 0) {
    const BucketSubscription& one = (*held)[random.below(held->size())];
    const std::chrono::seconds keep(random.below(2) == 0 ? 0 : random.below(60));
    const auto done = device.unsubscribe(one.rule, one.parameters, keep);
    history_.count("buckets given up");
    history_.note(fmt::format("{} wants {} for {} s more{}", device.name(), one.rule, keep.count(),
                              done ? "" : ", and cannot say so"));
    return true;
  }
  const auto& rules = device.domain().domain().rules();
  if (rules.empty()) return false;
  const RuleDef& rule = *rules[random.below(rules.size())];
  RuleParameters parameters;
  if (random.below(2) == 0) parameters = draw_parameters(device.domain(), rule, device.actor(), scopes_, random);
  const auto done = device.subscribe(rule.name, parameters);
  history_.count("buckets chosen");
  history_.note(fmt::format("{} wants {} of {}{}", device.name(), parameters.empty() ? "all" : "one", rule.name,
                            done ? "" : ", and cannot have it"));
  return true;
}

/// False: the last thing that was done cannot be undone.
bool System::take_back(Device& device) {
  const auto last = made_last_.find(&device);
  if (last == made_last_.end()) return false;
  const std::string id = last->second;
  const auto ticket = device.undo(id);
  if (!ticket && ticket.error().code == ErrorCode::not_found) return false;
  history_.count("mutations undone");
  history_.note(fmt::format("{} the undo of {} {}", device.name(), id, told(ticket)));
  was_made(device, "an undo", ticket);
  return true;
}

}  // namespace nizhal::sim
