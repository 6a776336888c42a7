// Store::undo: takes a mutation back by a mutation of its own.
#include <nizhal/store.hpp>

#include "net/store_implementation.hpp"

namespace nizhal {

Result<Ticket> Store::undo(const Ticket& ticket, const MutateOptions& options) {
  return implementation_->decide("undo", options,
                                 [&] { return implementation_->local->undo(ticket.client_mutation_id, options); });
}

}  // namespace nizhal
