// Mutations and the tickets that follow them: enqueued and done with, or waited for until the server answered.
#include <utility>

#include <fmt/format.h>

#include "net/store_implementation.hpp"

namespace nizhal {
namespace {

/// What kept a server-authoritative mutation from being sent, as withdrawing it noted it.
ErrorCode code_of(const std::string& text) {
  for (const ErrorCode code : {ErrorCode::unauthorized, ErrorCode::upgrade_required})
    if (text == to_string(code)) return code;
  return ErrorCode::unreachable;
}

}  // namespace

std::shared_ptr<detail::TicketBoard> Store::Implementation::make_board() {
  return std::make_shared<detail::TicketBoard>(
      detail::TicketBoard::Outside{.look_up = [this](const std::string& id) { return local->standing(id); },
                                   .post = [this](std::function<void()> work) { runtime.post(std::move(work)); },
                                   .is_own_thread = [this] { return runtime.is_own_thread(); },
                                   .log = log});
}

Result<Ticket> Store::Implementation::mutate(const MutatorDef& mutator, const MutatorDef::Values& values,
                                             const MutateOptions& options) {
  return decide(mutator.name, options, [&] { return local->mutate(mutator.name, values, options); });
}

Result<Ticket> Store::Implementation::decide(std::string_view what, const MutateOptions& options,
                                             const std::function<Result<Ticket>()>& enqueue) {
  const bool is_authoritative = options.mode.value_or(local->mode()) == SyncMode::server_authoritative;
  if (is_authoritative && machine.status().connection == StoreStatus::Connection::local_only)
    return failure(ErrorCode::usage,
                   fmt::format("\"{}\" is to be decided by the server, and this store has none: open it with "
                               "StoreOptions::server (or ::target), or mutate with SyncMode::local_first",
                               what));
  if (is_authoritative && runtime.is_own_thread())
    return failure(ErrorCode::usage,
                   fmt::format("\"{}\" waits for the server, and so for the thread that this callback runs on; call it "
                               "elsewhere",
                               what));
  auto ticket = enqueue();
  if (!ticket) return ticket;
  if (is_authoritative) return wait_for_server(ticket->client_mutation_id, options.timeout);
  runtime.mutated();
  return followed(std::move(ticket->client_mutation_id));
}

Result<Ticket> Store::Implementation::wait_for_server(const std::string& client_mutation_id,
                                                      std::chrono::milliseconds timeout) {
  runtime.awaited();
  auto ending = board->wait_for_ending(client_mutation_id, timeout);
  if (!ending) {
    if (ending.error().code != ErrorCode::busy) return tl::unexpected(ending.error());
    auto withdrawn = local->withdraw(client_mutation_id, reject(to_string(ErrorCode::unreachable), "its time was up"));
    if (!withdrawn) return tl::unexpected(withdrawn.error());
    if (*withdrawn) {
      const std::string tried = machine.status().last_error;
      return failure(ErrorCode::unreachable, fmt::format("it could not be sent within {} ms and was not kept{}{}",
                                                         timeout.count(), tried.empty() ? "" : ": ", tried));
    }
    // The answer may have come at the last moment.
    ending = board->wait_for_ending(client_mutation_id, std::chrono::milliseconds(0));
    if (!ending)
      return failure(ErrorCode::outcome_unknown,
                     fmt::format("it was sent, and no answer came within {} ms: it may have been applied. It stays in "
                                 "the outbox until the server says so; Store::ticket(\"{}\") follows it",
                                 timeout.count(), client_mutation_id));
  }
  if (auto told = local->take_ending(client_mutation_id); !told) return tl::unexpected(told.error());
  const Outcome& outcome = ending->outcome;
  if (outcome.is_done()) return followed(client_mutation_id);
  if (ending->is_dropped) return failure(code_of(outcome.code), outcome.message);
  return failure(ErrorCode::refused, fmt::format("{}: {}", outcome.code, outcome.message));
}

Ticket Store::ticket(std::string client_mutation_id) const {
  return implementation_->followed(std::move(client_mutation_id));
}

}  // namespace nizhal
