#include "client/upcasts.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "base/reached.hpp"
#include "client/dead_letters.hpp"
#include "client/dependencies.hpp"
#include "client/outbox.hpp"
#include "client/rebase.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/upcast.hpp"

namespace nizhal::client::upcasts {
namespace {

/// The mutator, if the entry was written for an older version of its arguments.
const MutatorDef* newer_mutator(const StoreState& state, std::string_view name, int args_version) {
  const MutatorDef* mutator = state.domain().domain().find_mutator(name);
  return mutator && args_version < mutator->version ? mutator : nullptr;
}

Result<bool> has_older(StoreState& state) {
  auto select = state.connection->prepare("SELECT DISTINCT name, args_version FROM nizhal_outbox");
  if (!select) return tl::unexpected(select.error());
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return false;
    if (newer_mutator(state, select->text(0), static_cast<int>(select->integer(1)))) return true;
  }
}

Result<void> give_up(StoreState& state, const outbox::Entry& entry, const std::string& why) {
  using dead_letters::Id;
  reached(Mark::upcast_impossible);
  if (auto done = dead_letters::bury(state, entry, upcast_code::kImpossible, why, Id::replace_by_skip); !done)
    return done;
  auto dependents = dead_letters::bury_dependents(state, entry.client_mutation_id, Id::replace_by_skip);
  if (!dependents) return tl::unexpected(dependents.error());
  return {};
}

Result<void> upcast(StoreState& state, outbox::Entry entry, const MutatorDef& mutator) {
  auto args = parse_json(entry.args);
  if (!args) return failure(ErrorCode::corrupt, "nizhal_outbox: " + args.error().message);
  std::string thrown;
  auto values = decode_arguments_of(mutator, entry.args_version, *args, &thrown);
  if (!thrown.empty())
    state.log.error("storage", fmt::format("an upcaster of mutator \"{}\" threw: {}", mutator.name, thrown));
  if (!values) return give_up(state, entry, values.error().message);
  entry.args = encode_arguments(mutator, *values);
  entry.args_version = mutator.version;
  reached(Mark::mutation_upcast);
  if (auto key = dependencies::own_key_of(state, mutator, *values)) entry.dependency_key = std::move(*key);
  mark::changed(state, entry.ordinal);
  return outbox::update(state, entry);
}

}  // namespace

Result<void> bring_up_to_date(StoreState& state) {
  auto older = has_older(state);
  if (!older) return tl::unexpected(older.error());
  if (!*older) return {};
  auto entries = outbox::list(state, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  for (const outbox::Entry& listed : *entries) {
    // What depends on one that was given up has left as well.
    auto entry = outbox::find(state, listed.client_mutation_id);
    if (!entry) return tl::unexpected(entry.error());
    // Applied, or handled by the server: what it did comes, or came, by pull, and its record answers for it.
    if (!*entry || (*entry)->covered || (*entry)->outcome_known) continue;
    const MutatorDef* mutator = newer_mutator(state, (*entry)->name, (*entry)->args_version);
    if (!mutator) continue;
    if (auto done = upcast(state, std::move(**entry), *mutator); !done) return done;
  }
  return {};
}

}  // namespace nizhal::client::upcasts
