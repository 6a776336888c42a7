#include "client/conflicts.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/reached.hpp"

namespace nizhal::client::conflicts {
namespace {

/// A skip stands for a mutation that was given up after it was sent: a dead letter, if nobody discarded it.
Result<std::string> mutator_of(StoreState& state, const outbox::Entry& entry) {
  if (!entry.is_skip()) return entry.name;
  auto select = state.connection->prepare("SELECT name FROM nizhal_dead_letter WHERE client_mutation_id = ?1");
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, entry.client_mutation_id);
  auto row = select->step();
  if (!row) return tl::unexpected(row.error());
  return *row ? std::string(select->text(0)) : std::string();
}

Result<void> forget_dismissed(StoreState& state) {
  return state.connection->execute(
      "DELETE FROM nizhal_conflict WHERE dismissed <> 0 AND client_mutation_id NOT IN "
      "(SELECT client_mutation_id FROM nizhal_outbox)");
}

}  // namespace

Result<void> note(StoreState& state, const outbox::Entry& entry, const std::vector<protocol::PushConflict>& told) {
  if (told.empty()) return {};
  if (auto forgotten = forget_dismissed(state); !forgotten) return forgotten;
  auto mutator = mutator_of(state, entry);
  if (!mutator) return tl::unexpected(mutator.error());
  auto insert = state.connection->prepare(
      "INSERT OR IGNORE INTO nizhal_conflict(client_mutation_id, table_name, key, column_name, mutator, lost, at, "
      "winner_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
  if (!insert) return tl::unexpected(insert.error());
  for (const protocol::PushConflict& one : told) {
    insert->reset();
    insert->bind_text(1, entry.client_mutation_id)
        .bind_text(2, one.table)
        .bind_text(3, one.key)
        .bind_text(4, one.column)
        .bind_text(5, *mutator)
        .bind_text(6, one.lost)
        .bind_text(7, to_iso8601(one.at))
        .bind_text(8, to_iso8601(one.winner_at));
    if (auto done = insert->run(); !done) return done;
    if (state.connection->changes() == 0) continue;
    reached(Mark::conflict_told);
    LostEdit edit;
    edit.table = one.table;
    edit.key = one.key;
    edit.column = one.column;
    edit.lost = one.lost;
    edit.at = one.at;
    edit.winner_at = one.winner_at;
    edit.mutator = *mutator;
    edit.client_mutation_id = entry.client_mutation_id;
    edit.id = sqlite3_last_insert_rowid(state.connection->handle());
    state.lost_edits.push_back(std::move(edit));
    state.tally.added_conflict();
  }
  return {};
}

Result<std::vector<LostEdit>> list(StoreState& state) {
  auto select = state.connection->prepare(
      "SELECT id, table_name, key, column_name, lost, at, winner_at, mutator, client_mutation_id FROM nizhal_conflict "
      "WHERE dismissed = 0 ORDER BY id");
  if (!select) return tl::unexpected(select.error());
  std::vector<LostEdit> edits;
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return edits;
    LostEdit edit;
    edit.id = select->integer(0);
    edit.table = std::string(select->text(1));
    edit.key = std::string(select->text(2));
    edit.column = std::string(select->text(3));
    edit.lost = std::string(select->text(4));
    edit.at = parse_iso8601(select->text(5)).value_or(Timestamp{});
    edit.winner_at = parse_iso8601(select->text(6)).value_or(Timestamp{});
    edit.mutator = std::string(select->text(7));
    edit.client_mutation_id = std::string(select->text(8));
    edits.push_back(std::move(edit));
  }
}

Result<void> dismiss(StoreState& state, std::int64_t id) {
  auto update = state.connection->prepare("UPDATE nizhal_conflict SET dismissed = 1 WHERE id = ?1 AND dismissed = 0");
  if (!update) return tl::unexpected(update.error());
  update->bind(1, id);
  if (auto done = update->run(); !done) return done;
  if (state.connection->changes() == 0)
    return failure(ErrorCode::not_found, fmt::format("there is no conflict {}", id));
  state.tally.removed_conflict();
  return forget_dismissed(state);
}

}  // namespace nizhal::client::conflicts
