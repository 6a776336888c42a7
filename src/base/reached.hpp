// Marks of rare branches: each counts how often this process came by, so that a simulation can tell what it never
// tried. Place in the loop: anywhere. The fact that must not break: a mark decides nothing, and costs one addition in
// memory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace nizhal {

enum class Mark : std::uint8_t {
  // The device: pulls
  pull_staged,              // a page waits for the rest of its pull
  staged_pages_found,       // a store was opened in the middle of a pull
  pulled_afresh,            // the server did not take the cursor
  epoch_changed,            // another generation of the server took the cursor all the same
  pull_outdated,            // an answer to a question that is none any more
  applied_in_part,          // only what the pull reaches was undone
  applied_as_whole,         // everything pending was undone
  partial_apply_refused,    // a constraint does not bear the new rows beside pending ones
  rerun_refused,            // a pending mutation has no local effects for now
  crdt_update_applied,      // an update, not a whole state
  restored_server_noticed,  // it knows less than it once confirmed
  clone_noticed_on_pull,
  clone_noticed_on_push,
  pull_put_aside,       // until what is pending was sent under the new client id
  covered_but_unknown,  // its outcome is asked for again
  clock_corrected,
  pending_restamped,
  clock_follows_row,  // a row's stamp is above this device's clock
  // The device: pushes
  renumbered,
  outcome_unknown_buried,
  retry_asked_for,  // by a result of a push
  skip_sent,
  skip_came_too_late,  // what it replaces had been applied
  dependents_buried,
  dead_letter_retried,
  id_replaced,    // the server gave a row another id
  conflict_told,  // an edit of this device lost
  push_split,     // a body that the server does not take
  push_paused,    // 426
  token_refused,  // 401: another one is asked for
  storage_failed,
  caught_up_after_socket,  // the socket was away
  // The device: opening a store
  other_actor_refused,
  other_actor_moved_away,  // archived or discarded
  mutation_upcast,
  upcast_impossible,
  // The server: pulls
  cursor_malformed,
  cursor_of_other_epoch,
  cursor_ahead,
  cursor_behind_pruned,
  bucket_lost,
  bucket_regained,          // lost and gained since the last pull
  bucket_left_out,          // still the actor's, and not wanted any more
  table_refilled,           // a table or column that the device did not have
  page_ended_early,         // at a version boundary
  transaction_above_limit,  // one alone
  backfill_went_on,         // from the middle of a table
  removal_withheld,         // the row is in another covered bucket
  exit_told,
  tombstone_told,
  idle_answered,  // nothing new, and no query
  tail_answered,
  tail_behind_cursor,  // the tail begins after the cursor
  tail_refreshed,
  tail_begun_anew,  // lost, or not to be trusted
  tail_too_many,    // more changes than are worth keeping
  pulls_gathered,   // a pull waited for others that the same poke calls
  crdt_sent_as_update,
  crdt_sent_as_state,  // the updates since the cursor are no longer known
  // The server: pushes and pokes
  outcome_repeated,  // lower or equal id: as recorded
  outcome_gone,      // the record is pruned
  out_of_order,
  clone_refused,
  foreign_client_id,
  id_burned,             // handled before, under another id
  given_up_refused,      // a skip came in its place before
  out_of_reach_refused,  // deny by default
  savepoint_rolled_back,
  batch_ended_by_constraint,
  batch_tried_again,
  dependency_refused,
  stamp_replaced,  // the device's clock is ahead beyond the drift
  edit_lost,       // another one has a higher stamp
  poked_at_once,   // by the thread that committed
  poked_after_look,
  grants_read_again,  // of streams, because memberships moved
  removals_pruned,
  records_pruned,
  // Both
  clock_counter_full,  // the wall part moves on
};
inline constexpr std::size_t kMarks = static_cast<std::size_t>(Mark::clock_counter_full) + 1;

/// As above, letter by letter.
std::string_view to_string(Mark mark);

namespace detail {
extern std::array<std::atomic<std::uint64_t>, kMarks> reached_counts;
}

inline void reached(Mark mark) noexcept {
  detail::reached_counts[static_cast<std::size_t>(mark)].fetch_add(1, std::memory_order_relaxed);
}
/// Since the process began, or since reset_reached().
std::uint64_t reached_count(Mark mark);
void reset_reached();
/// The names of all marks that count 0, in the order above.
std::vector<std::string_view> never_reached();

}  // namespace nizhal
