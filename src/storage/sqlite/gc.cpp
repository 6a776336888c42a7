#include "storage/sqlite/gc.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "storage/sqlite/reads.hpp"

namespace nizhal::storage {
namespace {

/// Rows per transaction: some milliseconds, so that pushes hardly wait.
constexpr std::int64_t kBatchRows = 10'000;
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
Result<std::uint64_t> prune(const std::shared_ptr<Writer>& writer, std::string_view table, Timestamp before,
                            std::string_view guard) {
  std::uint64_t rows = 0;
  for (;;) {
    auto turn = Writer::take_turn(writer);
    if (!turn) return tl::unexpected(turn.error());
    auto transaction = sqlite::Transaction::begin(turn->connection(), sqlite::Transaction::Mode::immediate);
    if (!transaction) return tl::unexpected(transaction.error());
    auto batch = prune_batch(turn->connection(), table, before);
    if (!batch) return tl::unexpected(batch.error());
    if (batch->rows == 0) return rows;
    if (!guard.empty()) {
      auto statement = turn->connection().prepare(fmt::format("UPDATE nizhal_state SET {0} = max({0}, ?1)", guard));
      if (!statement) return tl::unexpected(statement.error());
      statement->bind(1, to_sql(batch->highest));
      if (auto done = statement->run(); !done) return tl::unexpected(done.error());
    }
    if (auto done = transaction->commit(); !done) return tl::unexpected(done.error());
    rows += batch->rows;
    if (batch->rows < static_cast<std::uint64_t>(kBatchRows)) return rows;
  }
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

Result<GcReport> collect_garbage(const std::shared_ptr<Writer>& writer, Timestamp before) {
  GcReport report;
  const auto removals = prune(writer, "nizhal_removal", before, "pruned_through");
  if (!removals) return tl::unexpected(removals.error());
  report.removals = *removals;
  const auto mutations = prune(writer, "nizhal_mutation", before, "");
  if (!mutations) return tl::unexpected(mutations.error());
  report.mutations = *mutations;
  const auto audit_rows = prune(writer, "nizhal_audit", before, "changes_pruned_through");
  if (!audit_rows) return tl::unexpected(audit_rows.error());
  report.audit_rows = *audit_rows;
  if (auto done = prune_grant_changes(writer); !done) return tl::unexpected(done.error());
  auto turn = Writer::take_turn(writer);
  if (!turn) return tl::unexpected(turn.error());
  const auto pruned = turn->connection().query_integer("SELECT pruned_through FROM nizhal_state");
  if (!pruned) return tl::unexpected(pruned.error());
  report.pruned_through = Version{static_cast<std::uint64_t>(pruned->value_or(0))};
  return report;
}

}  // namespace nizhal::storage
