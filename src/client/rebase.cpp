#include "client/rebase.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "base/planted.hpp"
#include "base/reached.hpp"
#include "client/mutation_run.hpp"
#include "client/row_writer.hpp"
#include "client/store_schema.hpp"
#include "domain/value_json.hpp"

namespace nizhal::client {

Result<void> restore_row(StoreState& state, std::string_view table_name, std::string_view key_as_text,
                         std::optional<std::string_view> before) {
  const TableDef* table = state.domain().domain().find_table(table_name);
  // Of another version of the app, which will look at it again.
  const std::optional<TableDef> former = table ? std::nullopt : former_table(state, table_name);
  if (former) table = &*former;
  if (!table) return {};
  if (!before) {
    const auto key = key_from_text(*table, key_as_text);
    if (!key) return failure(ErrorCode::corrupt, fmt::format("nizhal_undo: no key of table \"{}\"", table_name));
    auto deleted = row_writer::remove(state, *table, *key);
    if (!deleted) return tl::unexpected(deleted.error());
    return {};
  }
  if (is_planted(Planted::drop_an_undo)) return {};
  auto row = undo_image(*table, *before);
  if (!row) return tl::unexpected(row.error());
  return row_writer::upsert(state, *table, *row);
}

Result<Row> undo_image(const TableDef& table, std::string_view before) {
  auto image = parse_json(before);
  if (!image) return failure(ErrorCode::corrupt, "nizhal_undo: " + image.error().message);
  auto row = row_from_json(table, *image);
  if (!row) return failure(ErrorCode::corrupt, "nizhal_undo: " + row.error().message);
  // An image from before an app upgrade lacks the new columns; the server fills them soon after.
  return fill_required(table, std::move(*row));
}

namespace {

Result<void> restore_rows(StoreState& state, sqlite::Statement& select) {
  while (true) {
    auto row = select.step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return {};
    const auto before = select.is_null(2) ? std::nullopt : std::optional<std::string_view>(select.text(2));
    if (auto done = restore_row(state, select.text(0), select.text(1), before); !done) return done;
  }
}

Result<void> undo_one(StoreState& state, std::int64_t ordinal) {
  {
    auto select = state.connection->prepare("SELECT table_name, key, before FROM nizhal_undo WHERE ordinal = ?1");
    if (!select) return tl::unexpected(select.error());
    select->bind(1, ordinal);
    if (auto restored = restore_rows(state, *select); !restored) return restored;
  }
  auto clear = state.connection->prepare("DELETE FROM nizhal_undo WHERE ordinal = ?1");
  if (!clear) return tl::unexpected(clear.error());
  clear->bind(1, ordinal);
  return clear->run();
}

/// Leaves out those that wrote nothing.
Result<void> keep_effective(StoreState& state, std::set<std::int64_t>& ordinals) {
  auto select = state.connection->prepare("SELECT 1 FROM nizhal_undo WHERE ordinal = ?1 LIMIT 1");
  if (!select) return tl::unexpected(select.error());
  for (auto ordinal = ordinals.begin(); ordinal != ordinals.end();) {
    select->reset();
    select->bind(1, *ordinal);
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    ordinal = *row ? std::next(ordinal) : ordinals.erase(ordinal);
  }
  return {};
}

Result<void> run_again(StoreState& state, const outbox::Entry& entry) {
  ++state.rebase_work.rerun;
  auto outcome = rerun_entry(state, entry);
  if (!outcome) return tl::unexpected(outcome.error());
  if (outcome->is_done()) return {};
  reached(Mark::rerun_refused);
  state.log.debug("rebase", fmt::format("{} {} has no local effects for now: {}", entry.name, entry.client_mutation_id,
                                        outcome->code));
  return {};
}

}  // namespace

Result<void> Rebase::undo(const Footprints::Seeds& seeds) {
  if (is_whole_) return {};
  if (!state_.footprints.is_complete()) return undo_all();
  const std::set<std::int64_t> reached = state_.footprints.closure(seeds);
  if (reached.empty()) return {};
  if (auto begun = state_.connection->execute("SAVEPOINT nizhal_undo_some"); !begun) return begun;
  auto undone = undo_in_savepoint(reached);
  if (!undone && undone.error().code == ErrorCode::constraint_violated) {
    // A UNIQUE index of the app's own may not bear some rows going back without the others; all of them it does bear.
    if (auto back = state_.connection->execute("ROLLBACK TO nizhal_undo_some; RELEASE nizhal_undo_some"); !back)
      return back;
    return undo_all();
  }
  if (!undone) return undone;
  if (auto ended = state_.connection->execute("RELEASE nizhal_undo_some"); !ended) return ended;
  for (const std::int64_t ordinal : reached) {
    state_.footprints.drop(ordinal);
    to_run_.insert(ordinal);
  }
  // An entry that leaves may be reached from another one; it must not run all the same.
  for (const std::int64_t ordinal : seeds.leaving) to_run_.erase(ordinal);
  return {};
}

Result<void> Rebase::undo_in_savepoint(const std::set<std::int64_t>& ordinals) {
  for (auto ordinal = ordinals.rbegin(); ordinal != ordinals.rend(); ++ordinal) {
    ++state_.rebase_work.undone;
    if (auto done = undo_one(state_, *ordinal); !done) return done;
  }
  return {};
}

Result<void> Rebase::undo_all() {
  if (std::exchange(is_whole_, true)) return {};
  ++state_.rebase_work.whole;
  state_.footprints.clear();
  {
    auto select = state_.connection->prepare("SELECT table_name, key, before FROM nizhal_undo ORDER BY ordinal DESC");
    if (!select) return tl::unexpected(select.error());
    if (auto restored = restore_rows(state_, *select); !restored) return restored;
  }
  return state_.connection->execute("DELETE FROM nizhal_undo");
}

Result<void> Rebase::take_marks() {
  RebaseMarks marks = std::exchange(state_.rebase_marks, {});
  if (marks.is_empty()) return {};
  if (marks.everything) return undo_all();
  if (!state_.footprints.is_complete()) {
    // What leaves without ever having had an effect concerns nobody, whatever the others did.
    if (auto kept = keep_effective(state_, marks.seeds.leaving); !kept) return kept;
    if (marks.is_empty()) return {};
  }
  for (const RowId row : marks.mapped) state_.footprints.add_dependents(row, marks.seeds.running_again);
  return undo(marks.seeds);
}

Result<void> Rebase::rerun() {
  if (is_whole_) return rerun_all();
  while (!to_run_.empty() && !is_whole_) {
    const std::int64_t next = *to_run_.begin();
    to_run_.erase(to_run_.begin());
    if (auto done = rerun_one(next); !done) return done;
  }
  // A constraint made it whole half-way.
  return is_whole_ ? rerun_all() : Result<void>();
}

Result<void> Rebase::rerun_one(std::int64_t ordinal) {
  auto entry = outbox::find_effective(state_, ordinal);
  if (!entry) return tl::unexpected(entry.error());
  if (!*entry) return {};
  while (true) {
    if (auto done = run_again(state_, **entry); !done) return done;
    // It may have looked at or written other rows than last time. Later mutations that are connected with it now were
    // in its sight, which they must not be; or they saw these rows without it.
    const std::set<std::int64_t> later = state_.footprints.later_connected(ordinal);
    if (later.empty()) return {};
    // It ran last of all, so it is taken back first: its images have the later ones' effects in them.
    ++state_.rebase_work.undone;
    if (auto done = undo_one(state_, ordinal); !done) return done;
    state_.footprints.drop(ordinal);
    if (auto done = undo({.leaving = {}, .running_again = later}); !done) return done;
    if (is_whole_) return {};
  }
}

Result<void> Rebase::rerun_all() {
  auto entries = outbox::list(state_, outbox::Which::effective);
  if (!entries) return tl::unexpected(entries.error());
  for (const outbox::Entry& entry : *entries) {
    if (auto done = run_again(state_, entry); !done) return done;
  }
  state_.footprints.complete();
  return {};
}

namespace mark {

void leaves(StoreState& state, std::int64_t ordinal) { state.rebase_marks.seeds.leaving.insert(ordinal); }
void changed(StoreState& state, std::int64_t ordinal) { state.rebase_marks.seeds.running_again.insert(ordinal); }
void mapped(StoreState& state, std::string_view table, std::string_view client_key) {
  state.has_id_map = true;
  state.rebase_marks.mapped.push_back(mapped_id(table, client_key));
}
void everything(StoreState& state) { state.rebase_marks.everything = true; }

}  // namespace mark

Result<void> settle_marks(StoreState& state) {
  if (state.rebase_marks.is_empty()) return {};
  Rebase rebase(state);
  if (auto undone = rebase.take_marks(); !undone) return undone;
  return rebase.rerun();
}

Result<void> take_new_client_id(StoreState& state) {
  mark::everything(state);
  auto entries = outbox::list(state, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  Meta& meta = *state.meta;
  for (outbox::Entry& entry : *entries) {
    if (!entry.covered) {
      if (auto kept = meta.set(meta_key::kPushFirst, entry.ordinal); !kept) return kept;
    }
    entry.mutation_id.reset();
    // Asked again under the new id, the server repeats what it recorded under the client mutation id. What a pull
    // covered stays in the base and is not re-run.
    entry.outcome_known = false;
    if (auto kept = outbox::update(state, entry); !kept) return kept;
  }
  if (auto cleared = state.connection->execute("DELETE FROM nizhal_sent"); !cleared) return cleared;
  const std::string client_id = random_uuid(state.random);
  state.log.warning("sync", fmt::format("client id {} is in use elsewhere; this device is {} from now on",
                                        meta.get(meta_key::kClientId), client_id));
  if (auto kept = meta.set(meta_key::kClientId, client_id); !kept) return kept;
  // The clock goes on from here under its new name.
  if (auto kept = meta.set(meta_key::kLastHlc, state.hybrid_clock->last().text()); !kept) return kept;
  if (auto kept = meta.set(meta_key::kLastGiven, std::int64_t{0}); !kept) return kept;
  if (auto kept = meta.set(meta_key::kConfirmedId, std::int64_t{0}); !kept) return kept;
  if (auto kept = meta.set(meta_key::kConfirmedClientId, ""); !kept) return kept;
  state.load_from_meta();
  return {};
}

Result<void> renumber_after(StoreState& state, MutationId last, std::string_view last_client_mutation_id) {
  mark::everything(state);
  reached(Mark::renumbered);
  auto entries = outbox::list(state, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  for (outbox::Entry& entry : *entries) {
    if (!entry.mutation_id || *entry.mutation_id <= last) continue;
    entry.mutation_id.reset();
    entry.outcome_known = false;
    entry.covered = false;
    if (auto kept = outbox::update(state, entry); !kept) return kept;
  }
  auto forget = state.connection->prepare("DELETE FROM nizhal_sent WHERE mutation_id > ?1");
  if (!forget) return tl::unexpected(forget.error());
  const auto last_number = static_cast<std::int64_t>(number(last));
  forget->bind(1, last_number);
  if (auto done = forget->run(); !done) return done;
  Meta& meta = *state.meta;
  state.log.warning("sync",
                    fmt::format("the server's last mutation of this device is {}, {} were given: what is pending "
                                "is numbered anew",
                                last_number, meta.integer(meta_key::kLastGiven)));
  if (auto kept = meta.set(meta_key::kLastGiven, last_number); !kept) return kept;
  if (meta.integer(meta_key::kConfirmedId) > last_number) {
    if (auto kept = meta.set(meta_key::kConfirmedId, last_number); !kept) return kept;
    return meta.set(meta_key::kConfirmedClientId, last_client_mutation_id);
  }
  return {};
}

}  // namespace nizhal::client
