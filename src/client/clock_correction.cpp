#include "client/clock_correction.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "client/outbox.hpp"
#include "client/rebase.hpp"

namespace nizhal::client {

std::int64_t offset_to(StoreState& state, Timestamp server_time) {
  return (server_time.microseconds - state.clock.now().microseconds) / 1000;
}

Result<void> correct_clock(StoreState& state, std::int64_t offset_ms) {
  Meta& meta = *state.meta;
  state.log.warning("sync", fmt::format("this device's clock is corrected by {} ms", offset_ms));
  if (auto kept = meta.set(meta_key::kClockOffset, offset_ms); !kept) return kept;
  auto entries = outbox::list(state, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  // The highest stamp of this very moment: what is above it comes from the future.
  const std::string now = Hlc{state.now().microseconds / 1000, 0xffff, std::string(32, 'f')}.text();
  std::string highest;
  for (const outbox::Entry& entry : *entries) {
    if (entry.hlc <= now) highest = std::max(highest, entry.hlc);
  }
  // The clock starts again below the wrong stamps, but above those that stay.
  const std::string node = hlc_node(meta.get(meta_key::kClientId));
  const bool was_ahead = state.hybrid_clock->last().text() > now;
  if (was_ahead) state.hybrid_clock.emplace(node, parse_hlc(highest).value_or(Hlc{0, 0, node}));
  if (auto kept = meta.set(meta_key::kLastHlc, state.hybrid_clock->last().text()); !kept) return kept;
  for (outbox::Entry& entry : *entries) {
    if (entry.hlc <= now || entry.covered || entry.outcome_known) continue;
    auto stamp = state.tick();
    if (!stamp) return tl::unexpected(stamp.error());
    entry.hlc = stamp->text();
    mark::changed(state, entry.ordinal);
    if (auto kept = outbox::update(state, entry); !kept) return kept;
  }
  return {};
}

}  // namespace nizhal::client
