// Store::undo: takes a mutation back by a mutation of its own.
#include <nizhal/store.hpp>

#include "net/store_implementation.hpp"

namespace nizhal {

Result<Ticket> Store::undo(const Ticket& ticket, const MutateOptions& options) {
  auto undone = implementation_->local->undo(ticket.client_mutation_id, options);
  if (undone) implementation_->runtime.mutated();
  return undone;
}

}  // namespace nizhal
