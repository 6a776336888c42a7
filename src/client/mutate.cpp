#include "client/mutate.hpp"

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "client/mutation_run.hpp"
#include "client/outbox.hpp"
#include "domain/arguments_codec.hpp"

namespace nizhal::client {
namespace {

/// The arguments as they will be sent, after the same validation that the server does.
Result<std::string> checked_arguments(const MutatorDef& mutator, const MutatorDef::Values& values) {
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
  if (auto decoded = decode_arguments(mutator, *parsed); !decoded) return tl::unexpected(decoded.error());
  return args;
}

}  // namespace

Result<Ticket> mutate(StoreState& state, std::string_view name, const MutatorDef::Values& values,
                      const MutateOptions& options) {
  const MutatorDef* mutator = state.domain().domain().find_mutator(name);
  if (!mutator)
    return failure(ErrorCode::not_found,
                   fmt::format("domain \"{}\" has no mutator \"{}\"", state.domain().domain().name(), name));
  auto args = checked_arguments(*mutator, values);
  if (!args) return tl::unexpected(args.error());

  return in_transaction(state, [&]() -> Result<Ticket> {
    outbox::Entry entry;
    auto ordinal = outbox::next_ordinal(state);
    if (!ordinal) return tl::unexpected(ordinal.error());
    auto stamp = state.tick();
    if (!stamp) return tl::unexpected(stamp.error());
    entry.ordinal = *ordinal;
    entry.client_mutation_id = random_uuid(state.random);
    entry.id_seed = random_uuid(state.random);
    entry.name = mutator->name;
    entry.args_version = mutator->version;
    entry.args = std::move(*args);
    entry.hlc = stamp->text();
    entry.depends_on = options.depends_on;
    auto outcome = run_entry(state, entry);
    if (!outcome) return tl::unexpected(outcome.error());
    if (!outcome->is_done()) return failure(ErrorCode::refused, fmt::format("{}: {}", outcome->code, outcome->message));
    if (auto kept = outbox::append(state, entry); !kept) return tl::unexpected(kept.error());
    return Ticket{entry.client_mutation_id};
  });
}

}  // namespace nizhal::client
