#include "storage/sqlite/gc.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/planted.hpp"
#include "base/reached.hpp"
#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/sqlite/engine_tables.hpp"
#include "storage/sqlite/reads.hpp"
#include "storage/sqlite/triggers.hpp"

namespace nizhal::storage {
namespace {

/// Rows per transaction: some milliseconds, so that pushes hardly wait.
constexpr std::int64_t kBatchRows = 10'000;
/// Recent updates are larger than records, and are rewritten with their rows.
constexpr std::int64_t kEmptiedRows = 500;
constexpr std::int64_t kGrantChangesKept = 1'000;

struct Batch {
  std::uint64_t rows = 0;
  Version highest{};
};

Result<Batch> prune_batch(sqlite::Connection& connection, std::string_view table, Timestamp before) {
  auto statement = connection.prepare(
      fmt::format("DELETE FROM {0} WHERE seq IN (SELECT seq FROM {0} WHERE at_us < ?1 ORDER BY at_us LIMIT ?2) "
                  "RETURNING version",
                  table));
  if (!statement) return tl::unexpected(statement.error());
  statement->bind(1, before.microseconds).bind(2, kBatchRows);
  Batch batch;
  for (;;) {
    const auto row = statement->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return batch;
    ++batch.rows;
    batch.highest = std::max(batch.highest, version_at(*statement, 0));
  }
}

/// `guard`: the column of nizhal_state that tells how far the table is pruned; empty: nobody needs to know.
Result<Batch> prune(const std::shared_ptr<Writer>& writer, std::string_view table, Timestamp before,
                    std::string_view guard) {
  Batch pruned;
  for (;;) {
    auto turn = Writer::take_turn(writer);
    if (!turn) return tl::unexpected(turn.error());
    auto transaction = sqlite::Transaction::begin(turn->connection(), sqlite::Transaction::Mode::immediate);
    if (!transaction) return tl::unexpected(transaction.error());
    auto batch = prune_batch(turn->connection(), table, before);
    if (!batch) return tl::unexpected(batch.error());
    if (batch->rows == 0) return pruned;
    if (!guard.empty() && !is_planted(Planted::prune_without_a_horizon)) {
      auto statement = turn->connection().prepare(fmt::format("UPDATE nizhal_state SET {0} = max({0}, ?1)", guard));
      if (!statement) return tl::unexpected(statement.error());
      statement->bind(1, to_sql(batch->highest));
      if (auto done = statement->run(); !done) return tl::unexpected(done.error());
    }
    if (auto done = transaction->commit(); !done) return tl::unexpected(done.error());
    pruned.rows += batch->rows;
    pruned.highest = std::max(pruned.highest, batch->highest);
    if (batch->rows < static_cast<std::uint64_t>(kBatchRows)) return pruned;
  }
}

/// Whether a user's trigger may change the row when the engine's column is written: then it stays as it is.
Result<bool> has_others_triggers(sqlite::Connection& connection, const TableDef& table) {
  auto statement = connection.prepare(
      "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE AND "
      "substr(name, 1, 7) <> 'nizhal_'");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, table.name);
  return statement->step();
}

/// The rows of a table whose versions are above `after`, up to the batch's highest; rows of one version are together.
Result<Batch> empty_batch(sqlite::Connection& connection, const TableDef& table, Version after, Version through) {
  const std::string from =
      fmt::format("{} INDEXED BY {}", quote_identifier(table.name), quote_identifier(version_index_name(table)));
  Batch batch;
  {
    auto statement = connection.prepare(
        fmt::format("SELECT max(v) FROM (SELECT {0} AS v FROM {1} WHERE {0} > ?1 AND {0} <= ?2 ORDER BY {0} LIMIT ?3)",
                    kVersionColumn, from));
    if (!statement) return tl::unexpected(statement.error());
    statement->bind(1, to_sql(after)).bind(2, to_sql(through)).bind(3, kEmptiedRows);
    const auto found = statement->step();
    if (!found) return tl::unexpected(found.error());
    if (!*found || statement->is_null(0)) return batch;
    batch.highest = version_at(*statement, 0);
  }
  auto statement = connection.prepare(fmt::format(
      "UPDATE {1} SET {2} = x'' WHERE {0} > ?1 AND {0} <= ?2 AND {2} <> x''", kVersionColumn, from, kRecentColumn));
  if (!statement) return tl::unexpected(statement.error());
  statement->bind(1, to_sql(after)).bind(2, to_sql(batch.highest));
  if (auto done = statement->run(); !done) return tl::unexpected(done.error());
  batch.rows = static_cast<std::uint64_t>(connection.changes());
  return batch;
}

/// Every row with a version up to `through` is older than the retention. How far it was done is kept, so that the next
/// time begins there: what is written to a row later has a higher version.
Result<std::uint64_t> empty_recent(const std::shared_ptr<Writer>& writer, const CompiledDomain& domain,
                                   Version through) {
  std::uint64_t rows = 0;
  Version done_through{};
  {
    auto turn = Writer::take_turn(writer);
    if (!turn) return tl::unexpected(turn.error());
    const auto stored = turn->connection().query_integer("SELECT recent_pruned_through FROM nizhal_state");
    if (!stored) return tl::unexpected(stored.error());
    done_through = Version{static_cast<std::uint64_t>(stored->value_or(0))};
  }
  if (through <= done_through) return rows;
  for (std::size_t table = 0; table < domain.tables().size(); ++table) {
    if (!has_recent(domain, table)) continue;
    for (Version after = done_through;;) {
      auto turn = Writer::take_turn(writer);
      if (!turn) return tl::unexpected(turn.error());
      auto transaction = sqlite::Transaction::begin(turn->connection(), sqlite::Transaction::Mode::immediate);
      if (!transaction) return tl::unexpected(transaction.error());
      const auto others = has_others_triggers(turn->connection(), domain.table(table));
      if (!others) return tl::unexpected(others.error());
      if (*others) break;
      const auto batch = empty_batch(turn->connection(), domain.table(table), after, through);
      if (!batch) return tl::unexpected(batch.error());
      if (batch->highest == Version{}) break;
      if (batch->rows > 0)
        if (auto committed = transaction->commit(); !committed) return tl::unexpected(committed.error());
      rows += batch->rows;
      after = batch->highest;
    }
  }
  auto turn = Writer::take_turn(writer);
  if (!turn) return tl::unexpected(turn.error());
  auto statement =
      turn->connection().prepare("UPDATE nizhal_state SET recent_pruned_through = max(recent_pruned_through, ?1)");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind(1, to_sql(through));
  if (auto done = statement->run(); !done) return tl::unexpected(done.error());
  return rows;
}

/// Who has not looked since for so long reads all grants anew.
Result<void> prune_grant_changes(const std::shared_ptr<Writer>& writer) {
  auto turn = Writer::take_turn(writer);
  if (!turn) return tl::unexpected(turn.error());
  auto transaction = sqlite::Transaction::begin(turn->connection(), sqlite::Transaction::Mode::immediate);
  if (!transaction) return tl::unexpected(transaction.error());
  const auto through = turn->connection().query_integer(fmt::format(
      "SELECT version FROM nizhal_grant_change ORDER BY version DESC LIMIT 1 OFFSET {}", kGrantChangesKept));
  if (!through) return tl::unexpected(through.error());
  if (!*through) return {};
  for (const char* sql : {"UPDATE nizhal_state SET changes_pruned_through = max(changes_pruned_through, {})",
                          "DELETE FROM nizhal_grant_change WHERE version <= {}"})
    if (auto done = turn->connection().execute(fmt::format(fmt::runtime(sql), **through)); !done) return done;
  return transaction->commit();
}

}  // namespace

Result<GcReport> collect_garbage(const std::shared_ptr<Writer>& writer, const CompiledDomain& domain,
                                 Timestamp before) {
  GcReport report;
  const auto removals = prune(writer, "nizhal_removal", before, "pruned_through");
  if (!removals) return tl::unexpected(removals.error());
  report.removals = removals->rows;
  if (report.removals > 0) reached(Mark::removals_pruned);
  const auto mutations = prune(writer, "nizhal_mutation", before, "");
  if (!mutations) return tl::unexpected(mutations.error());
  report.mutations = mutations->rows;
  if (report.mutations > 0) reached(Mark::records_pruned);
  const auto audit_rows = prune(writer, "nizhal_audit", before, "changes_pruned_through");
  if (!audit_rows) return tl::unexpected(audit_rows.error());
  report.audit_rows = audit_rows->rows;
  // What was recorded before the retention tells which versions are that old.
  const auto recent =
      empty_recent(writer, domain, std::max({removals->highest, mutations->highest, audit_rows->highest}));
  if (!recent) return tl::unexpected(recent.error());
  report.recent = *recent;
  if (auto done = prune_grant_changes(writer); !done) return tl::unexpected(done.error());
  auto turn = Writer::take_turn(writer);
  if (!turn) return tl::unexpected(turn.error());
  const auto pruned = turn->connection().query_integer("SELECT pruned_through FROM nizhal_state");
  if (!pruned) return tl::unexpected(pruned.error());
  report.pruned_through = Version{static_cast<std::uint64_t>(pruned->value_or(0))};
  return report;
}

}  // namespace nizhal::storage
