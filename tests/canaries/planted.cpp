#include "tests/canaries/planted.hpp"

#include <atomic>

namespace nizhal {

namespace {
std::atomic<Planted> planted_now{Planted::nothing};
}

inline namespace with_planted {
bool is_planted(Planted bug) { return planted_now.load(std::memory_order_relaxed) == bug; }
}  // namespace with_planted

namespace canaries {

void plant(Planted bug) { planted_now.store(bug, std::memory_order_relaxed); }

std::string_view to_string(Planted bug) {
  switch (bug) {
    case Planted::nothing:
      return "nothing";
    case Planted::skip_the_horizon:
      return "skip_the_horizon";
    case Planted::skip_the_page_end:
      return "skip_the_page_end";
    case Planted::skip_a_backfill_row:
      return "skip_a_backfill_row";
    case Planted::forget_an_exit:
      return "forget_an_exit";
    case Planted::hide_a_revocation:
      return "hide_a_revocation";
    case Planted::lose_a_crdt_update:
      return "lose_a_crdt_update";
    case Planted::prune_without_a_horizon:
      return "prune_without_a_horizon";
    case Planted::acknowledge_before_commit:
      return "acknowledge_before_commit";
    case Planted::apply_twice:
      return "apply_twice";
    case Planted::overlook_a_clone:
      return "overlook_a_clone";
    case Planted::tell_a_skip_as_done:
      return "tell_a_skip_as_done";
    case Planted::forget_a_number:
      return "forget_a_number";
    case Planted::leak_in_a_refusal:
      return "leak_in_a_refusal";
    case Planted::poke_everybody:
      return "poke_everybody";
    case Planted::drop_an_undo:
      return "drop_an_undo";
    case Planted::staged_pages_last:
      return "staged_pages_last";
    case Planted::confirm_without_outcome:
      return "confirm_without_outcome";
    case Planted::bury_without_a_letter:
      return "bury_without_a_letter";
    case Planted::forget_to_retry:
      return "forget_to_retry";
    case Planted::live_view_misses:
      return "live_view_misses";
  }
  return {};
}

std::optional<Planted> parse_planted(std::string_view name) {
  for (const Planted bug : all_planted())
    if (to_string(bug) == name) return bug;
  return std::nullopt;
}

std::vector<Planted> all_planted() {
  std::vector<Planted> all;
  for (std::uint8_t i = 1; i <= static_cast<std::uint8_t>(Planted::live_view_misses); ++i) all.push_back(Planted{i});
  return all;
}

}  // namespace canaries
}  // namespace nizhal
