// A new mutation: runs its mutator here and puts it into the outbox, with what takes it back. What mutate, undo and the
// retry of a dead letter have in common.
#pragma once

#include <string>
#include <vector>

#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client {

struct Arguments {
  MutatorDef::Values values;  // as whoever reads `text` gets them
  std::string text;           // as they are kept and sent
};
/// After the same validation that the server does.
[[nodiscard]] Result<Arguments> checked_arguments(const MutatorDef& mutator, const MutatorDef::Values& values);

struct NewMutation {
  const MutatorDef* mutator = nullptr;
  Arguments arguments;                       // checked
  std::vector<std::string> depends_on = {};  // resolved
  std::string id_seed = {};                  // empty: a new one
  bool awaits_server = false;                // server_authoritative: it has no local effects until it was applied
  std::int64_t send_before_ms = 0;           // see outbox::Entry
};
/// In the caller's transaction. Errors: refused (the mutator, its inverse or its dependency key said no; nothing was
/// enqueued), the storage's.
[[nodiscard]] Result<Ticket> enqueue(StoreState& state, NewMutation mutation);

}  // namespace nizhal::client
