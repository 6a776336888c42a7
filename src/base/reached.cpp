#include "base/reached.hpp"

namespace nizhal {

namespace detail {
std::array<std::atomic<std::uint64_t>, kMarks> reached_counts{};
}

std::string_view to_string(Mark mark) {
  switch (mark) {
    case Mark::pull_staged:
      return "pull_staged";
    case Mark::staged_pages_found:
      return "staged_pages_found";
    case Mark::pulled_afresh:
      return "pulled_afresh";
    case Mark::epoch_changed:
      return "epoch_changed";
    case Mark::pull_outdated:
      return "pull_outdated";
    case Mark::applied_in_part:
      return "applied_in_part";
    case Mark::applied_as_whole:
      return "applied_as_whole";
    case Mark::partial_apply_refused:
      return "partial_apply_refused";
    case Mark::rerun_refused:
      return "rerun_refused";
    case Mark::crdt_update_applied:
      return "crdt_update_applied";
    case Mark::restored_server_noticed:
      return "restored_server_noticed";
    case Mark::clone_noticed_on_pull:
      return "clone_noticed_on_pull";
    case Mark::clone_noticed_on_push:
      return "clone_noticed_on_push";
    case Mark::pull_put_aside:
      return "pull_put_aside";
    case Mark::covered_but_unknown:
      return "covered_but_unknown";
    case Mark::clock_corrected:
      return "clock_corrected";
    case Mark::pending_restamped:
      return "pending_restamped";
    case Mark::clock_follows_row:
      return "clock_follows_row";
    case Mark::renumbered:
      return "renumbered";
    case Mark::outcome_unknown_buried:
      return "outcome_unknown_buried";
    case Mark::retry_asked_for:
      return "retry_asked_for";
    case Mark::skip_sent:
      return "skip_sent";
    case Mark::skip_came_too_late:
      return "skip_came_too_late";
    case Mark::dependents_buried:
      return "dependents_buried";
    case Mark::dead_letter_retried:
      return "dead_letter_retried";
    case Mark::id_replaced:
      return "id_replaced";
    case Mark::conflict_told:
      return "conflict_told";
    case Mark::push_split:
      return "push_split";
    case Mark::push_paused:
      return "push_paused";
    case Mark::token_refused:
      return "token_refused";
    case Mark::storage_failed:
      return "storage_failed";
    case Mark::caught_up_after_socket:
      return "caught_up_after_socket";
    case Mark::other_actor_refused:
      return "other_actor_refused";
    case Mark::other_actor_moved_away:
      return "other_actor_moved_away";
    case Mark::mutation_upcast:
      return "mutation_upcast";
    case Mark::upcast_impossible:
      return "upcast_impossible";
    case Mark::cursor_malformed:
      return "cursor_malformed";
    case Mark::cursor_of_other_epoch:
      return "cursor_of_other_epoch";
    case Mark::cursor_ahead:
      return "cursor_ahead";
    case Mark::cursor_behind_pruned:
      return "cursor_behind_pruned";
    case Mark::bucket_lost:
      return "bucket_lost";
    case Mark::bucket_regained:
      return "bucket_regained";
    case Mark::bucket_left_out:
      return "bucket_left_out";
    case Mark::table_refilled:
      return "table_refilled";
    case Mark::page_ended_early:
      return "page_ended_early";
    case Mark::transaction_above_limit:
      return "transaction_above_limit";
    case Mark::backfill_went_on:
      return "backfill_went_on";
    case Mark::removal_withheld:
      return "removal_withheld";
    case Mark::exit_told:
      return "exit_told";
    case Mark::tombstone_told:
      return "tombstone_told";
    case Mark::idle_answered:
      return "idle_answered";
    case Mark::tail_answered:
      return "tail_answered";
    case Mark::tail_behind_cursor:
      return "tail_behind_cursor";
    case Mark::tail_refreshed:
      return "tail_refreshed";
    case Mark::tail_begun_anew:
      return "tail_begun_anew";
    case Mark::tail_too_many:
      return "tail_too_many";
    case Mark::pulls_gathered:
      return "pulls_gathered";
    case Mark::crdt_sent_as_update:
      return "crdt_sent_as_update";
    case Mark::crdt_sent_as_state:
      return "crdt_sent_as_state";
    case Mark::outcome_repeated:
      return "outcome_repeated";
    case Mark::outcome_gone:
      return "outcome_gone";
    case Mark::out_of_order:
      return "out_of_order";
    case Mark::clone_refused:
      return "clone_refused";
    case Mark::foreign_client_id:
      return "foreign_client_id";
    case Mark::id_burned:
      return "id_burned";
    case Mark::given_up_refused:
      return "given_up_refused";
    case Mark::out_of_reach_refused:
      return "out_of_reach_refused";
    case Mark::savepoint_rolled_back:
      return "savepoint_rolled_back";
    case Mark::batch_ended_by_constraint:
      return "batch_ended_by_constraint";
    case Mark::batch_tried_again:
      return "batch_tried_again";
    case Mark::dependency_refused:
      return "dependency_refused";
    case Mark::stamp_replaced:
      return "stamp_replaced";
    case Mark::edit_lost:
      return "edit_lost";
    case Mark::poked_at_once:
      return "poked_at_once";
    case Mark::poked_after_look:
      return "poked_after_look";
    case Mark::grants_read_again:
      return "grants_read_again";
    case Mark::removals_pruned:
      return "removals_pruned";
    case Mark::records_pruned:
      return "records_pruned";
    case Mark::clock_counter_full:
      return "clock_counter_full";
  }
  return {};
}

std::uint64_t reached_count(Mark mark) {
  return detail::reached_counts[static_cast<std::size_t>(mark)].load(std::memory_order_relaxed);
}

void reset_reached() {
  for (auto& count : detail::reached_counts) count.store(0, std::memory_order_relaxed);
}

std::vector<std::string_view> never_reached() {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < kMarks; ++i) {
    const Mark mark{static_cast<std::uint8_t>(i)};
    if (reached_count(mark) == 0) names.push_back(to_string(mark));
  }
  return names;
}

}  // namespace nizhal
