#include "client/applier.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <functional>
#include <utility>

#include "base/planted.hpp"
#include "base/reached.hpp"
#include "client/base_rows.hpp"
#include "client/clock_correction.hpp"
#include "client/outbox.hpp"
#include "client/partial_apply.hpp"
#include "client/puller.hpp"
#include "client/rebase.hpp"
#include "client/tuning.hpp"
#include "domain/value_json.hpp"

namespace nizhal::client::applier {
namespace {

using PullApplied = LocalStore::PullApplied;

std::uint64_t count_rows(const protocol::PullPage& page) {
  std::uint64_t rows = page.tombstoned.size() + page.removed.size();
  for (const protocol::ChangedTable& changed : page.changed) rows += changed.rows.size();
  return rows;
}

/// What the device knows of who used a mutation id: empty when it knows nothing.
Result<std::string> sent_under(StoreState& state, std::int64_t mutation_id) {
  const Meta& meta = *state.meta;
  if (mutation_id == meta.integer(meta_key::kConfirmedId)) return meta.get(meta_key::kConfirmedClientId);
  auto select = state.connection->prepare("SELECT client_mutation_id FROM nizhal_sent WHERE mutation_id = ?1");
  if (!select) return tl::unexpected(select.error());
  select->bind(1, mutation_id);
  auto row = select->step();
  if (!row) return tl::unexpected(row.error());
  return *row ? std::string(select->text(0)) : std::string();
}

/// What a page's `lastMutationId` says about this device.
enum class Confirmation {
  nothing,   // the same as before
  covers,    // more of this device's mutations are in the snapshot
  clone,     // somebody else sends under this client id (S19)
  restored,  // the server knows less than it once confirmed (S19)
};
Confirmation clone_noticed() {
  reached(Mark::clone_noticed_on_pull);
  return Confirmation::clone;
}
Result<Confirmation> judge(StoreState& state, const protocol::PullPage& page) {
  if (!page.last_mutation_id) return Confirmation::nothing;
  const Meta& meta = *state.meta;
  const auto last = static_cast<std::int64_t>(number(*page.last_mutation_id));
  const std::int64_t confirmed = meta.integer(meta_key::kConfirmedId);
  if (last > meta.integer(meta_key::kLastGiven)) return clone_noticed();
  if (page.last_client_mutation_id && last > 0) {
    auto known = sent_under(state, last);
    if (!known) return tl::unexpected(known.error());
    if (!known->empty() && *known != *page.last_client_mutation_id && !is_planted(Planted::overlook_a_clone))
      return clone_noticed();
  }
  if (last < confirmed) return Confirmation::restored;
  if (const std::string& epoch = meta.get(meta_key::kEpoch); !epoch.empty() && page.epoch != epoch) {
    // Another generation that has not what was answered already: it was put back to before that.
    auto forgot = outbox::has_outcome_above(state, last);
    if (!forgot) return tl::unexpected(forgot.error());
    if (*forgot) return Confirmation::restored;
  }
  return last > confirmed ? Confirmation::covers : Confirmation::nothing;
}

Result<void> confirm(StoreState& state, std::int64_t last, const std::string& last_client_mutation_id) {
  auto cover =
      state.connection->prepare("UPDATE nizhal_outbox SET covered = 1 WHERE mutation_id <= ?1 AND covered = 0");
  if (!cover) return tl::unexpected(cover.error());
  cover->bind(1, last);
  state.is_stamp_kept = false;
  if (auto done = cover->run(); !done) return done;
  if (auto done = outbox::confirm_covered(state); !done) return done;
  auto forget = state.connection->prepare("DELETE FROM nizhal_sent WHERE mutation_id <= ?1");
  if (!forget) return tl::unexpected(forget.error());
  forget->bind(1, last);
  if (auto done = forget->run(); !done) return done;
  if (auto kept = state.meta->set(meta_key::kConfirmedId, last); !kept) return kept;
  return state.meta->set(meta_key::kConfirmedClientId, last_client_mutation_id);
}

/// In the transaction of a complete pull, before the rest is re-run.
Result<void> settle(StoreState& state, const protocol::PullPage& page, Confirmation confirmation,
                    PullApplied& applied) {
  const std::string last_client_mutation_id = page.last_client_mutation_id.value_or("");
  switch (confirmation) {
    case Confirmation::nothing:
      return {};
    case Confirmation::covers: {
      const auto last = static_cast<std::int64_t>(number(*page.last_mutation_id));
      auto known = sent_under(state, last);
      if (!known) return tl::unexpected(known.error());
      return confirm(state, last, known->empty() ? last_client_mutation_id : *known);
    }
    case Confirmation::clone:
      applied.identity_changed = true;
      return take_new_client_id(state);
    case Confirmation::restored:
      reached(Mark::restored_server_noticed);
      applied.send_again = true;
      return renumber_after(state, *page.last_mutation_id, last_client_mutation_id);
  }
  return {};
}

bool is_clock_wrong(StoreState& state, const protocol::PullPage& page) {
  if (!page.server_time || page.server_time->microseconds == 0) return false;
  const std::int64_t change = offset_to(state, *page.server_time) - state.meta->integer(meta_key::kClockOffset);
  return std::llabs(change) > kClockCorrectionMs;
}

Result<void> note_server_time(StoreState& state, const protocol::PullPage& page) {
  if (!page.server_time || page.server_time->microseconds == 0) return {};
  if (is_clock_wrong(state, page)) {
    if (auto done = correct_clock(state, offset_to(state, *page.server_time)); !done) return done;
  }
  return state.meta->set(meta_key::kServerTime, to_iso8601(*page.server_time));
}

/// Applies pages one after the other, keeping account of what is covered.
class PageSequence {
 public:
  explicit PageSequence(StoreState& state)
      : state_(state), covered_(base_rows::parse_keys(state.meta->get(meta_key::kBuckets))) {}
  Result<void> add(const protocol::PullPage& page, bool starts_over) {
    if (starts_over) {
      if (auto done = base_rows::wipe(state_); !done) return done;
      covered_.clear();
    }
    return base_rows::apply(state_, page, covered_);
  }
  Result<void> finish() {
    const std::string text = base_rows::keys_text(covered_);
    if (text == state_.meta->get(meta_key::kBuckets)) return {};
    return state_.meta->set(meta_key::kBuckets, text);
  }

 private:
  StoreState& state_;
  base_rows::BucketKeys covered_;
};

/// Stamps that rows bear, as far as the server can have let them pass: what is edited here after seeing these rows is
/// above them.
Result<void> observe_stamp(StoreState& state, const protocol::PullPage& page) {
  if (!page.hlc) return {};
  const auto seen = parse_hlc(*page.hlc);
  if (!seen) {
    state.log.warning("pull", "the page's hlc is no stamp and is ignored");
    return {};
  }
  return observe(state, *seen,
                 page.server_time && page.server_time->microseconds != 0 ? *page.server_time : state.now());
}

Result<void> move_to(StoreState& state, const protocol::PullPage& page, SyncState sync_state) {
  Meta& meta = *state.meta;
  if (auto kept = meta.set(meta_key::kCursor, page.cursor); !kept) return kept;
  if (auto kept = meta.set(meta_key::kEpoch, page.epoch); !kept) return kept;
  if (auto kept = meta.set(meta_key::kSyncState, to_string(sync_state)); !kept) return kept;
  if (page.has_more) return observe_stamp(state, page);
  if (auto kept = meta.set(meta_key::kLastSynced, to_iso8601(state.now())); !kept) return kept;
  // The clock is put right first: it may start again below what it showed, never below what was seen.
  if (auto noted = note_server_time(state, page); !noted) return noted;
  return observe_stamp(state, page);
}

struct Pages {
  bool has_staged = false;   // earlier ones come first
  bool starts_over = false;  // the last one does
};

/// The server's rows may have what is pending here, sent by the other device; which of it they have is known only when
/// it was pushed under the new id. So nothing of this pull is applied, and it is asked again after that (S19).
Result<bool> put_aside(StoreState& state, Confirmation confirmation, PullApplied& applied) {
  if (confirmation != Confirmation::clone) return false;
  auto pending = outbox::list(state, outbox::Which::effective, 1);
  if (!pending) return tl::unexpected(pending.error());
  if (pending->empty()) return false;
  if (auto dropped = puller::drop_staged(state); !dropped) return tl::unexpected(dropped.error());
  if (auto taken = take_new_client_id(state); !taken) return tl::unexpected(taken.error());
  applied = PullApplied{};
  applied.identity_changed = true;
  reached(Mark::pull_put_aside);
  return true;
}

/// In the caller's transaction: the staged pages, if any, and this one.
Result<void> apply_complete(StoreState& state, const protocol::PullPage& page, Pages pages, Confirmation confirmation,
                            PullApplied& applied) {
  using Visit = std::function<Result<void>(const protocol::PullPage& page, bool starts_over)>;
  const auto for_each = [&](const Visit& visit) -> Result<void> {
    const bool is_first = is_planted(Planted::staged_pages_last) && pages.has_staged && !pages.starts_over;
    if (is_first)
      if (auto visited = visit(page, false); !visited) return visited;
    if (pages.has_staged && !pages.starts_over) {
      if (auto visited = puller::for_each_staged(state, visit); !visited) return visited;
    }
    return is_first ? Result<void>() : visit(page, pages.starts_over);
  };
  // Lost and gained buckets, and a fresh start, go by what the whole tables hold.
  bool is_whole = confirmation == Confirmation::clone || confirmation == Confirmation::restored;
  if (!is_whole) {
    auto looked = for_each([&](const protocol::PullPage& one, bool starts_over) -> Result<void> {
      is_whole = is_whole || starts_over || !base_rows::keeps_buckets(state, one);
      return {};
    });
    if (!looked) return looked;
  }

  Rebase rebase(state);
  std::optional<std::int64_t> confirmed;
  if (confirmation == Confirmation::covers) confirmed = static_cast<std::int64_t>(number(*page.last_mutation_id));
  Result<bool> in_part = false;
  if (is_whole) {
    if (auto undone = rebase.undo_all(); !undone) return undone;
  } else {
    in_part = partial_apply::apply(
        state, rebase,
        [&](const partial_apply::Visit& visit) {
          return for_each([&](const protocol::PullPage& one, bool) { return visit(one); });
        },
        confirmed);
    if (!in_part) return tl::unexpected(in_part.error());
  }
  reached(*in_part ? Mark::applied_in_part : Mark::applied_as_whole);
  if (!*in_part) {
    PageSequence sequence(state);
    auto added =
        for_each([&](const protocol::PullPage& one, bool starts_over) { return sequence.add(one, starts_over); });
    if (!added) return added;
    if (auto finished = sequence.finish(); !finished) return finished;
  }
  if (pages.has_staged) {
    if (auto dropped = puller::drop_staged(state); !dropped) return dropped;
  }
  if (auto moved = move_to(state, page, page.has_more ? SyncState::running : SyncState::done); !moved) return moved;
  if (!page.has_more) {
    if (state.meta->integer(meta_key::kPushFirst) != 0) {
      if (auto kept = state.meta->set(meta_key::kPushFirst, std::int64_t{0}); !kept) return kept;
    }
    if (auto settled = settle(state, page, confirmation, applied); !settled) return settled;
  }
  // A corrected clock or a new identity may have marked more.
  if (auto taken = rebase.take_marks(); !taken) return taken;
  return rebase.rerun();
}

/// Nothing came but a new cursor, and nothing is settled by it.
Result<bool> is_idle(StoreState& state, const protocol::PullPage& page) {
  if (page.has_more || count_rows(page) > 0) return false;
  const Meta& meta = *state.meta;
  if (parse_sync_state(meta.get(meta_key::kSyncState)) != SyncState::done || page.epoch != meta.get(meta_key::kEpoch))
    return false;
  if (!base_rows::keeps_buckets(state, page)) return false;
  auto staged = puller::has_staged(state);
  if (!staged) return tl::unexpected(staged.error());
  if (*staged) return false;
  auto confirmation = judge(state, page);
  if (!confirmation) return tl::unexpected(confirmation.error());
  if (*confirmation != Confirmation::nothing) return false;
  return !is_clock_wrong(state, page);
}

/// Keeps the cursor in memory, and writes it down when the last write is long ago.
Result<void> move_idle(StoreState& state, const protocol::PullPage& page) {
  state.meta->set_lazy(meta_key::kCursor, page.cursor);
  state.meta->set_lazy(meta_key::kLastSynced, to_iso8601(state.now()));
  const std::int64_t since_us = state.clock.monotonic().count() - state.last_write_us;
  if (since_us < kCursorWriteMs * 1000) return {};
  return in_transaction(state, [] { return Result<void>(); });
}

/// Inside the transaction: whether the page still answers the next question. Another handle may have written since the
/// question was looked at.
Result<bool> is_still_asked(StoreState& state, const protocol::PullRequest& sent, SyncState sync_state) {
  auto expected = puller::position(state);
  if (!expected) return tl::unexpected(expected.error());
  return sent.cursor == *expected && sync_state == parse_sync_state(state.meta->get(meta_key::kSyncState));
}

/// The next pull brings everything again. The state stays what it is: that pull is staged, so nothing that is shown
/// disappears before it is here.
Result<void> start_afresh(StoreState& state) {
  return in_transaction(state, [&]() -> Result<void> {
    if (auto done = puller::drop_staged(state); !done) return done;
    if (auto kept = state.meta->set(meta_key::kSyncState, to_string(SyncState::done)); !kept) return kept;
    return state.meta->set(meta_key::kCursor, "");
  });
}

}  // namespace

Result<PullApplied> apply_page(StoreState& state, const protocol::PullRequest& sent, const protocol::PullPage& page) {
  PullApplied applied;
  state.misfit.clear();
  auto expected = puller::position(state);
  if (!expected) return tl::unexpected(expected.error());
  // An answer to a question that is no longer the question: the next pull asks the right one.
  if (sent.cursor != *expected) {
    reached(Mark::pull_outdated);
    return applied;
  }

  const SyncState sync_state = parse_sync_state(state.meta->get(meta_key::kSyncState));
  const bool starts_over = page.cursor_reset || (sent.cursor.empty() && sync_state != SyncState::empty);
  if (page.cursor_reset) reached(Mark::pulled_afresh);
  auto staged = puller::has_staged(state);
  if (!staged) return tl::unexpected(staged.error());
  const std::string& epoch = state.meta->get(*staged ? meta_key::kStagedEpoch : meta_key::kEpoch);
  if (!starts_over && !sent.cursor.empty() && !epoch.empty() && page.epoch != epoch) {
    // Another generation of the server that took the cursor all the same: only a fresh start is sure to be whole.
    reached(Mark::epoch_changed);
    state.log.warning("pull", "the server's epoch changed: pulling everything again");
    if (auto restarted = start_afresh(state); !restarted) return tl::unexpected(restarted.error());
    return applied;
  }

  applied.rows = count_rows(page);
  applied.progress = page.progress;
  const bool in_place = !starts_over && !*staged && sync_state != SyncState::done;
  auto idle = is_idle(state, page);
  if (!idle) return tl::unexpected(idle.error());

  bool is_outdated = false, is_put_aside = false;
  auto done = [&]() -> Result<void> {
    if (!starts_over && *idle) return move_idle(state, page);
    if (page.has_more && !in_place) {
      return in_transaction(state, [&]() -> Result<void> {
        auto still = is_still_asked(state, sent, sync_state);
        if (!still) return tl::unexpected(still.error());
        if (is_outdated = !*still; is_outdated) return {};
        reached(Mark::pull_staged);
        if (auto kept = puller::stage(state, page, starts_over); !kept) return kept;
        if (auto observed = observe_stamp(state, page); !observed) return observed;
        return state.meta->set(meta_key::kSyncState, to_string(SyncState::done));
      });
    }
    return in_transaction(state, [&]() -> Result<void> {
      auto still = is_still_asked(state, sent, sync_state);
      if (!still) return tl::unexpected(still.error());
      if (is_outdated = !*still; is_outdated) return {};
      auto confirmation = page.has_more ? Result<Confirmation>(Confirmation::nothing) : judge(state, page);
      if (!confirmation) return tl::unexpected(confirmation.error());
      auto aside = put_aside(state, *confirmation, applied);
      if (!aside) return tl::unexpected(aside.error());
      if (is_put_aside = *aside; is_put_aside) return {};
      return apply_complete(state, page, {.has_staged = *staged, .starts_over = starts_over}, *confirmation, applied);
    });
  }();
  if (!done && !state.misfit.empty()) {
    // The device's copy is not what the server takes it for. Whole states, which a pull from the start brings, mend it.
    state.log.warning("pull", state.misfit + ": pulling everything again");
    if (auto restarted = start_afresh(state); !restarted) return tl::unexpected(restarted.error());
    // Should that not help either, it is tried again as a failure is: later and later.
    if (std::exchange(state.is_after_misfit, true)) return tl::unexpected(done.error());
    return PullApplied{};
  }
  if (!done) return tl::unexpected(done.error());
  if (!page.has_more) state.is_after_misfit = false;
  if (is_outdated) return PullApplied{};
  if (is_put_aside) return applied;
  applied.complete = !page.has_more;
  auto wanted = outbox::has_covered_unknown(state);
  if (!wanted) return tl::unexpected(wanted.error());
  applied.outcome_wanted = *wanted;
  if (*wanted) reached(Mark::covered_but_unknown);
  return applied;
}

}  // namespace nizhal::client::applier
