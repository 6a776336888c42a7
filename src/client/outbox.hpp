// The outbox: mutations that ran here and that the server has not yet settled, in order.
//
// The fact that must not break (S4): an entry leaves only when its outcome is known *and* a pull covered it, or when it
// goes to the dead letters.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/store_state.hpp"

namespace nizhal::client::outbox {

struct Entry {
  std::int64_t ordinal = 0;
  std::optional<MutationId> mutation_id;  // given when first sent
  std::string client_mutation_id;
  std::string id_seed;
  std::string name;
  int args_version = 1;
  std::string args;  // JSON object
  std::string hlc;
  std::vector<std::string> depends_on;
  std::int64_t attempts = 0;  // times that it was handed to the network
  bool covered = false;       // by a pull: its effects are in the base
  bool outcome_known = false;
  std::string last_error;
  std::string dependency_key;  // by which later mutations may depend on it; empty: it has no name
  bool awaits_server = false;  // server_authoritative and not applied yet: it has no local effects
  /// Never sent for the first time after this, by the device's own clock, milliseconds; 0: whenever it can be.
  std::int64_t send_before_ms = 0;

  /// Burns its mutation id and has no effects.
  bool is_skip() const { return name == protocol::kSkip; }
};

enum class Which {
  all,
  unsettled,  // outcome not known: to be sent (again)
  effective,  // with local effects: not covered, not a skip, not waiting for the server's word
  awaiting,   // server-authoritative, not applied yet
};
/// In order.
[[nodiscard]] Result<std::vector<Entry>> list(StoreState& state, Which which, std::optional<std::size_t> limit = {});
[[nodiscard]] Result<std::optional<Entry>> find(StoreState& state, std::string_view client_mutation_id);
/// The entry if it has local effects.
[[nodiscard]] Result<std::optional<Entry>> find_effective(StoreState& state, std::int64_t ordinal);
[[nodiscard]] Result<std::int64_t> next_ordinal(StoreState& state);
/// As new: not sent, not covered, no attempts.
[[nodiscard]] Result<void> append(StoreState& state, const Entry& entry);
/// Writes everything but ordinal and client mutation id.
[[nodiscard]] Result<void> update(StoreState& state, const Entry& entry);
/// Its local effects go with it.
[[nodiscard]] Result<void> remove(StoreState& state, const Entry& entry);
/// Its mutation id was given and is to be burned without effect.
[[nodiscard]] Result<void> replace_by_skip(StoreState& state, const Entry& entry);
/// It is covered and its outcome is known: it leaves, and those who follow it are told (S4).
[[nodiscard]] Result<void> confirm(StoreState& state, const Entry& entry);
/// All of which that is so.
[[nodiscard]] Result<void> confirm_covered(StoreState& state);
/// Keeps what became of one that leaves: of the newest kSettledMax it can be told later.
[[nodiscard]] Result<void> note_settled(StoreState& state, const Settlement& settlement);
/// Something is to be sent.
[[nodiscard]] Result<bool> has_unsettled(StoreState& state);
/// A pull covered something whose outcome is unknown (S4).
[[nodiscard]] Result<bool> has_covered_unknown(StoreState& state);
/// Something above this number has its outcome, and no pull covered it yet.
[[nodiscard]] Result<bool> has_outcome_above(StoreState& state, std::int64_t mutation_id);

std::string depends_on_text(const std::vector<std::string>& ids);
std::vector<std::string> parse_depends_on(std::string_view text);

}  // namespace nizhal::client::outbox
