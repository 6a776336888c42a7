#include "client/enqueue.hpp"

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "client/dependencies.hpp"
#include "client/inverses.hpp"
#include "client/mutation_run.hpp"
#include "client/rebase.hpp"
#include "domain/arguments_codec.hpp"

namespace nizhal::client {

Result<Arguments> checked_arguments(const MutatorDef& mutator, const MutatorDef::Values& values) {
  for (std::size_t i = 0; i < values.size() && i < mutator.arguments.size(); ++i) {
    // The JSON writer would replace broken bytes; they must not be changed silently.
    const auto* text = std::get_if<std::string>(&values[i]);
    if (text && !is_utf8(*text))
      return failure(ErrorCode::invalid_args,
                     fmt::format("argument \"{}\" must be valid UTF-8", mutator.arguments[i].name));
  }
  std::string args = encode_arguments(mutator, values);
  auto parsed = parse_json(args);
  if (!parsed) return failure(ErrorCode::invalid_args, parsed.error().message);
  auto decoded = decode_arguments(mutator, *parsed);
  if (!decoded) return tl::unexpected(decoded.error());
  return Arguments{std::move(*decoded), std::move(args)};
}

Result<Ticket> enqueue(StoreState& state, NewMutation mutation) {
  const MutatorDef& mutator = *mutation.mutator;
  outbox::Entry entry;
  auto ordinal = outbox::next_ordinal(state);
  if (!ordinal) return tl::unexpected(ordinal.error());
  auto stamp = state.tick();
  if (!stamp) return tl::unexpected(stamp.error());
  auto key = dependencies::own_key_of(state, mutator, mutation.arguments.values);
  if (!key) return tl::unexpected(key.error());
  entry.ordinal = *ordinal;
  entry.client_mutation_id = random_uuid(state.random);
  entry.id_seed = mutation.id_seed.empty() ? random_uuid(state.random) : std::move(mutation.id_seed);
  entry.name = mutator.name;
  entry.args_version = mutator.version;
  entry.args = std::move(mutation.arguments.text);
  entry.hlc = stamp->text();
  entry.depends_on = std::move(mutation.depends_on);
  entry.dependency_key = std::move(*key);
  entry.awaits_server = mutation.awaits_server;
  entry.send_before_ms = mutation.send_before_ms;
  // Before the run: what takes it back is told from what it changes, as queries see it.
  if (auto settled = settle_marks(state); !settled) return tl::unexpected(settled.error());
  MutatorDef::Values& values = mutation.arguments.values;
  if (auto kept = inverses::keep(state, mutator, values, entry); !kept) return tl::unexpected(kept.error());
  auto outcome =
      run_entry(state, entry, mutator, std::move(values), entry.awaits_server ? Effects::only_tried : Effects::kept);
  if (!outcome) return tl::unexpected(outcome.error());
  if (!outcome->is_done()) return failure(ErrorCode::refused, fmt::format("{}: {}", outcome->code, outcome->message));
  if (auto kept = outbox::append(state, entry); !kept) return tl::unexpected(kept.error());
  return Ticket{entry.client_mutation_id};
}

}  // namespace nizhal::client
