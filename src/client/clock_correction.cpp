#include "client/clock_correction.hpp"

#include <fmt/format.h>

#include "base/reached.hpp"
#include "client/outbox.hpp"
#include "client/rebase.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {

namespace {

/// A server whose clock says `now` may have let it pass.
bool is_possible(const Hlc& stamp, Timestamp now) {
  return stamp.milliseconds <= now.microseconds / 1000 + kClockDriftMaxMs;
}

}  // namespace

std::int64_t offset_to(StoreState& state, Timestamp server_time) {
  return (server_time.microseconds - state.clock.now().microseconds) / 1000;
}

Result<void> correct_clock(StoreState& state, std::int64_t offset_ms) {
  Meta& meta = *state.meta;
  reached(Mark::clock_corrected);
  state.log.warning("sync", fmt::format("this device's clock is corrected by {} ms", offset_ms));
  if (auto kept = meta.set(meta_key::kClockOffset, offset_ms); !kept) return kept;
  auto entries = outbox::list(state, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  // The highest stamp of this very moment: what is above it comes from the future.
  const Hlc moment{state.now().microseconds / 1000, 0xffff, std::string(32, 'f')};
  const std::string now = moment.text();
  // The clock starts again below the wrong stamps, but above those that stay: all up to this moment, wherever they are
  // by now, and what rows were seen to bear.
  if (moment < state.hybrid_clock->last()) {
    state.hybrid_clock.emplace(hlc_node(meta.get(meta_key::kClientId)), moment);
    const auto seen = parse_hlc(meta.get(meta_key::kSeenHlc));
    if (seen && is_possible(*seen, state.now())) state.hybrid_clock->observe(*seen);
  }
  if (auto kept = meta.set(meta_key::kLastHlc, state.hybrid_clock->last().text()); !kept) return kept;
  for (outbox::Entry& entry : *entries) {
    if (entry.hlc <= now || entry.covered || entry.outcome_known) continue;
    auto stamp = state.tick();
    if (!stamp) return tl::unexpected(stamp.error());
    entry.hlc = stamp->text();
    reached(Mark::pending_restamped);
    mark::changed(state, entry.ordinal);
    if (auto kept = outbox::update(state, entry); !kept) return kept;
  }
  return {};
}

Result<void> observe(StoreState& state, const Hlc& seen, Timestamp now) {
  if (!is_possible(seen, now)) {
    state.log.warning("pull", fmt::format("a row's stamp {} is too far ahead and is ignored", seen.text()));
    return {};
  }
  const auto before = parse_hlc(state.meta->get(meta_key::kSeenHlc));
  if (state.hybrid_clock->last() < seen) {
    state.hybrid_clock->observe(seen);
    state.is_stamp_kept = false;
    reached(Mark::clock_follows_row);
  }
  if (before && seen <= *before && is_possible(*before, now)) return {};
  return state.meta->set(meta_key::kSeenHlc, seen.text());
}

}  // namespace nizhal::client
