// Bugs that can be planted into the engine, to see that the simulator's oracles find them. Place in the loop: beside
// the line that a careless change would break. The fact that must not break: a product build holds nothing of them.
// There is_planted() is a constant; only the files that ask are compiled a second time, for one test (tests/canaries).
#pragma once

#include <cstdint>

namespace nizhal {

/// Each says what goes wrong, and which promise of docs/spec.md it breaks.
enum class Planted : std::uint8_t {
  nothing,
  // The server: pulls
  skip_the_horizon,         // S12: the tail takes commits for told that it has not read
  skip_the_page_end,        // S13: a page that ends early moves the cursor as if it held everything
  skip_a_backfill_row,      // S15: the row at which a page of a backfill ends is left out
  forget_an_exit,           // S13: a row that leaves a bucket is not recorded
  hide_a_revocation,        // S14: a bucket that was lost is not among removedBuckets
  lose_a_crdt_update,       // S22: the newest update of a CRDT column is not sent
  prune_without_a_horizon,  // S25: pruning removals leaves cursors behind them valid
  // The server: pushes and pokes
  acknowledge_before_commit,  // S18: a push is answered although its commit failed
  apply_twice,                // S19: what is recorded runs again when it is sent again
  overlook_a_clone,           // S19: another mutation under a used id is answered with that one's outcome
  tell_a_skip_as_done,        // S5: a mutation that was given up is said to have run
  forget_a_number,            // S18: the numbers of a bucket begin anew
  leak_in_a_refusal,          // S21: a refusal quotes a row that is out of the actor's reach
  poke_everybody,             // S23: pokes go to streams whose actors may not have the bucket
  // The device
  drop_an_undo,             // S3: the image of a row before an update is not put back
  staged_pages_last,        // S13: the pages of a pull are not applied in their order
  confirm_without_outcome,  // S4: a covered entry leaves before its outcome is known
  bury_without_a_letter,    // S5: what depended on a refused mutation vanishes
  forget_to_retry,          // S5: after a failure nothing tries again
  live_view_misses,         // S3: observers are not told of rows that a pull removed
};

#ifdef NIZHAL_PLANTED
// Another name for the linker than in files that are compiled without: one program holds both.
inline namespace with_planted {
bool is_planted(Planted bug);
}
#else
consteval bool is_planted(Planted /*bug*/) { return false; }
#endif

}  // namespace nizhal
