#include "client/partial_apply.hpp"

#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/reached.hpp"
#include "client/base_rows.hpp"
#include "client/row_writer.hpp"
#include "client/store_schema.hpp"
#include "client/tuning.hpp"
#include "domain/value_json.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client::partial_apply {
namespace {

/// A row that the pull changes and that pending mutations touched, or one that a confirmed mutation wrote.
struct Met {
  const TableDef* table = nullptr;
  Value key;
  std::optional<Row> target;  // in the new base
  bool differs = true;        // from what the pending mutations after the confirmed ones found there
};

class PartialApply {
 public:
  PartialApply(StoreState& state, Rebase& rebase, const ForEachPage& pages)
      : state_(state), rebase_(rebase), pages_(pages) {}

  /// False: only as a whole.
  Result<bool> run(std::optional<std::int64_t> confirmed) {
    if (!state_.footprints.is_complete()) return false;
    if (confirmed) {
      auto is_prefix = find_confirmed(*confirmed);
      if (!is_prefix || !*is_prefix) return is_prefix;
    }
    if (auto found = find_met(); !found) return tl::unexpected(found.error());
    if (met_.size() > kMetRowsMax) return false;
    if (auto judged = judge_met(); !judged) return tl::unexpected(judged.error());
    if (auto undone = undo(); !undone) return tl::unexpected(undone.error());
    if (rebase_.is_whole()) return false;
    if (auto written = write(); !written) return tl::unexpected(written.error());
    return true;
  }

 private:
  using Key = std::pair<const TableDef*, std::string>;

  /// The confirmed mutations must be the first of the pending ones, so that the others ran on top of all of them.
  Result<bool> find_confirmed(std::int64_t confirmed) {
    auto last =
        state_.connection->prepare("SELECT max(ordinal) FROM nizhal_outbox WHERE mutation_id <= ?1 AND covered = 0");
    if (!last) return tl::unexpected(last.error());
    last->bind(1, confirmed);
    auto row = last->step();
    if (!row) return tl::unexpected(row.error());
    confirmed_up_to_ = last->integer(0);  // null reads as 0, below every ordinal
    auto before = state_.connection->prepare(
        "SELECT 1 FROM nizhal_outbox WHERE ordinal < ?1 AND covered = 0 AND (mutation_id IS NULL OR mutation_id > ?2) "
        "LIMIT 1");
    if (!before) return tl::unexpected(before.error());
    before->bind(1, confirmed_up_to_).bind(2, confirmed);
    auto found = before->step();
    if (!found) return tl::unexpected(found.error());
    return !*found;
  }

  Result<void> meet(const TableDef& table, const Value& key, const Row* row, const base_rows::Updates& updates) {
    const auto [it, is_new] = met_.try_emplace({&table, key_text(key)});
    Met& met = it->second;
    std::optional<Row> target;
    if (row) target = *row;
    if (row && !updates.empty()) {
      std::optional<Row> base = std::move(met.target);  // as an earlier page leaves it
      if (is_new) {
        met = {&table, key, std::nullopt};
        auto found = found_after(met, it->first.second, 0);
        if (!found) return tl::unexpected(found.error());
        base = std::move(*found);
      }
      auto whole = base_rows::merged(state_, table, base, *row, updates);
      if (!whole) return tl::unexpected(whole.error());
      target = std::move(*whole);
    }
    if (target) target = fill_required(table, std::move(*target));
    met = {&table, key, std::move(target)};
    return {};
  }

  Result<void> find_met() {
    if (!state_.footprints.is_empty()) {
      auto noted = pages_([&](const protocol::PullPage& page) -> Result<void> {
        Result<void> found;
        base_rows::for_each_change(
            state_.domain(), page,
            [&](const TableDef& table, const Value& key, const Row* row, const base_rows::Updates& updates) {
              const TableId id = table_id(table.name);
              if (!found || met_.size() > kMetRowsMax || !state_.footprints.meets(id, row_id(id, key))) return;
              found = meet(table, key, row, updates);
            });
        return found;
      });
      if (!noted) return noted;
    }
    if (confirmed_up_to_ == 0) return {};
    // What a confirmed mutation wrote and the pull does not bring goes back to the base as it is.
    auto select = state_.connection->prepare(
        "SELECT table_name, key, before FROM nizhal_undo WHERE ordinal <= ?1 ORDER BY ordinal");
    if (!select) return tl::unexpected(select.error());
    select->bind(1, confirmed_up_to_);
    while (true) {
      auto row = select->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) return {};
      const TableDef* table = state_.domain().domain().find_table(select->text(0));
      if (!table) continue;
      const auto [met, is_new] = met_.try_emplace({table, std::string(select->text(1))});
      if (!is_new) continue;
      const auto key = key_from_text(*table, select->text(1));
      if (!key) return failure(ErrorCode::corrupt, "nizhal_undo: no key of table \"" + table->name + "\"");
      met->second.table = table;
      met->second.key = *key;
      if (select->is_null(2)) continue;
      auto image = undo_image(*table, select->text(2));
      if (!image) return tl::unexpected(image.error());
      met->second.target = std::move(*image);
    }
  }

  /// The row as the mutations after this ordinal found it; after 0: the base's.
  Result<std::optional<Row>> found_after(const Met& met, std::string_view key, std::int64_t ordinal) {
    const std::vector<std::int64_t> writers =
        state_.footprints.writers_after(row_id(table_id(met.table->name), met.key), ordinal);
    auto select = state_.connection->prepare(
        "SELECT before FROM nizhal_undo WHERE ordinal = ?1 AND table_name = ?2 AND key = ?3");
    if (!select) return tl::unexpected(select.error());
    for (const std::int64_t writer : writers) {
      select->reset();
      select->bind(1, writer).bind_text(2, met.table->name).bind_text(3, key);
      auto row = select->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) continue;  // another row of the same hash
      if (select->is_null(0)) return std::optional<Row>();
      auto image = undo_image(*met.table, select->text(0));
      if (!image) return tl::unexpected(image.error());
      return std::optional<Row>(std::move(*image));
    }
    return sqlite::select_row(*state_.connection, *met.table, met.key);
  }

  Result<void> judge_met() {
    for (auto& [key, met] : met_) {
      auto found = found_after(met, key.second, confirmed_up_to_);
      if (!found) return tl::unexpected(found.error());
      met.differs = *found != met.target;
    }
    return {};
  }

  Result<void> undo() {
    state_.footprints.drop_up_to(confirmed_up_to_);
    Footprints::Seeds seeds;
    for (const auto& [key, met] : met_) {
      if (!met.differs) continue;
      const TableId table = table_id(met.table->name);
      state_.footprints.add_dependents(table, row_id(table, met.key), seeds.running_again);
    }
    return rebase_.undo(seeds);
  }

  Result<void> write() {
    if (confirmed_up_to_ > 0) {
      auto forget = state_.connection->prepare("DELETE FROM nizhal_undo WHERE ordinal <= ?1");
      if (!forget) return tl::unexpected(forget.error());
      forget->bind(1, confirmed_up_to_);
      if (auto done = forget->run(); !done) return done;
    }
    base_rows::LeaveOut is_met;
    if (!met_.empty())
      is_met = [&](const TableDef& table, const Value& key) { return met_.contains({&table, key_text(key)}); };
    auto written = pages_([&](const protocol::PullPage& page) { return base_rows::write(state_, page, is_met); });
    if (!written) return written;
    for (const auto& [key, met] : met_) {
      if (!met.differs) continue;
      if (met.target) {
        if (auto done = row_writer::upsert(state_, *met.table, *met.target); !done) return done;
      } else if (auto done = row_writer::remove(state_, *met.table, met.key); !done) {
        return tl::unexpected(done.error());
      }
    }
    return {};
  }

  StoreState& state_;
  Rebase& rebase_;
  const ForEachPage& pages_;
  std::int64_t confirmed_up_to_ = 0;  // ordinal
  std::map<Key, Met> met_;
};

}  // namespace

Result<bool> apply(StoreState& state, Rebase& rebase, const ForEachPage& pages, std::optional<std::int64_t> confirmed) {
  if (auto begun = state.connection->execute("SAVEPOINT nizhal_partial"); !begun) return tl::unexpected(begun.error());
  auto applied = PartialApply(state, rebase, pages).run(confirmed);
  // A UNIQUE index of the app's own may not bear the new rows beside pending ones; when these are gone, it does.
  const bool is_refused = !applied && applied.error().code == ErrorCode::constraint_violated;
  if (!applied && !is_refused) return applied;
  if (is_refused) {
    reached(Mark::partial_apply_refused);
    if (auto back = state.connection->execute("ROLLBACK TO nizhal_partial"); !back) return tl::unexpected(back.error());
  }
  if (auto ended = state.connection->execute("RELEASE nizhal_partial"); !ended) return tl::unexpected(ended.error());
  if (applied && *applied) return true;
  if (auto undone = rebase.undo_all(); !undone) return tl::unexpected(undone.error());
  return false;
}

}  // namespace nizhal::client::partial_apply
