#include "client/authoritative.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "client/inverses.hpp"

namespace nizhal::client::authoritative {

bool is_asked(const StoreState& state, const MutateOptions& options) {
  return options.mode.value_or(state.options.mode) == SyncMode::server_authoritative;
}

void ask(StoreState& state, const MutateOptions& options, NewMutation& mutation) {
  if (!is_asked(state, options)) return;
  mutation.awaits_server = true;
  mutation.send_before_ms = state.clock.now().microseconds / 1000 + options.timeout.count();
}

Result<void> note_not_handled(StoreState& state, const protocol::PushRequest& sent) {
  auto entries = outbox::list(state, outbox::Which::awaiting);
  if (!entries) return tl::unexpected(entries.error());
  std::erase_if(*entries, [&](const outbox::Entry& entry) {
    return entry.attempts == 0 || std::none_of(sent.mutations.begin(), sent.mutations.end(), [&](const auto& mutation) {
             return mutation.client_mutation_id == entry.client_mutation_id;
           });
  });
  if (entries->empty()) return {};
  return in_transaction(state, [&]() -> Result<void> {
    for (outbox::Entry& entry : *entries) {
      --entry.attempts;
      if (auto kept = outbox::update(state, entry); !kept) return kept;
    }
    return {};
  });
}

Result<bool> withdraw(StoreState& state, const outbox::Entry& entry, const Outcome& why) {
  if (!entry.awaits_server || entry.attempts > 0) return false;
  auto gone = entry.mutation_id ? outbox::replace_by_skip(state, entry) : outbox::remove(state, entry);
  if (!gone) return tl::unexpected(gone.error());
  state.log.info("mutate", fmt::format("{} {} was withdrawn: {}", entry.name, entry.client_mutation_id, why.message));
  const Settlement& dropped =
      state.settlements.emplace_back(Settlement{Settlement::Kind::dropped, entry.client_mutation_id, why});
  if (auto noted = outbox::note_settled(state, dropped); !noted) return tl::unexpected(noted.error());
  if (auto forgotten = inverses::forget(state, entry.client_mutation_id); !forgotten)
    return tl::unexpected(forgotten.error());
  return true;
}

Result<void> withdraw_overdue(StoreState& state) {
  auto entries = outbox::list(state, outbox::Which::awaiting);
  if (!entries) return tl::unexpected(entries.error());
  const std::int64_t now_ms = state.clock.now().microseconds / 1000;
  for (const outbox::Entry& entry : *entries) {
    if (entry.send_before_ms == 0 || now_ms <= entry.send_before_ms) continue;
    const Outcome why = reject(to_string(ErrorCode::unreachable), "its time was up before it could be sent");
    if (auto gone = withdraw(state, entry, why); !gone) return tl::unexpected(gone.error());
  }
  return {};
}

Result<void> hand_over_refusal(StoreState& state, const outbox::Entry& entry, const Outcome& refusal) {
  const Settlement& refused =
      state.settlements.emplace_back(Settlement{Settlement::Kind::refused, entry.client_mutation_id, refusal});
  if (auto noted = outbox::note_settled(state, refused); !noted) return noted;
  if (auto forgotten = inverses::forget(state, entry.client_mutation_id); !forgotten) return forgotten;
  return outbox::remove(state, entry);
}

}  // namespace nizhal::client::authoritative
