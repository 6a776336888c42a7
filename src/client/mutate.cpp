#include "client/mutate.hpp"

#include <fmt/format.h>

#include "client/authoritative.hpp"
#include "client/dependencies.hpp"
#include "client/enqueue.hpp"

namespace nizhal::client {

Result<Ticket> mutate(StoreState& state, std::string_view name, const MutatorDef::Values& values,
                      const MutateOptions& options) {
  const MutatorDef* mutator = state.domain().domain().find_mutator(name);
  if (!mutator)
    return failure(ErrorCode::not_found,
                   fmt::format("domain \"{}\" has no mutator \"{}\"", state.domain().domain().name(), name));
  auto arguments = checked_arguments(*mutator, values);
  if (!arguments) return tl::unexpected(arguments.error());

  return in_transaction(state, [&]() -> Result<Ticket> {
    auto depends_on = dependencies::of_call(state, *mutator, arguments->values, options);
    if (!depends_on) return tl::unexpected(depends_on.error());
    NewMutation mutation{.mutator = mutator, .arguments = std::move(*arguments), .depends_on = std::move(*depends_on)};
    authoritative::ask(state, options, mutation);
    return enqueue(state, std::move(mutation));
  });
}

}  // namespace nizhal::client
