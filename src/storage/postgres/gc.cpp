#include "storage/postgres/gc.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "storage/merge_columns.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/merge_triggers.hpp"
#include "storage/postgres/reads.hpp"

namespace nizhal::storage::pg {
namespace {

/// Rows per transaction: some ten milliseconds, so that nobody waits for its locks and vacuum can follow.
constexpr std::int64_t kBatchRows = 5'000;
/// Settled changes of grants that are kept before they are pruned. Pruning them makes every instance look at its
/// streams' grants once.
constexpr std::int64_t kGrantChangesKept = 1'000;

/// Recent updates are larger than records, and are rewritten with their rows.
constexpr std::int64_t kEmptiedRows = 500;

constexpr const char* kBegin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

void begin(postgres::Connection& connection) {
  connection.queue(kBegin);
  if (!connection.transaction_settings().empty()) connection.queue(connection.transaction_settings());
  // A batch is a few thousand keys in the order of an index, whatever the table's statistics say.
  connection.queue("SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)");
}

struct Batch {
  std::int64_t looked_at = 0;
  std::int64_t last_place = 0;
  std::uint64_t pruned = 0;
  Version highest{};
};

/// Rows come in the order in which they were written, which is nearly that of their times. So the walk ends with the
/// first batch that has nothing to prune, and never reads what is young. `place` is the column that tells that order,
/// the first one of an index.
Result<Batch> prune_batch(postgres::Connection& connection, std::string_view table, std::string_view place,
                          Timestamp before, Version settled, std::int64_t after_place, std::string_view guard) {
  const std::string sql = fmt::format(
      "WITH batch AS MATERIALIZED (SELECT ctid, {1} AS place, version, at_us FROM nizhal.{0} WHERE {1} > $1::bigint "
      "ORDER BY {1} FETCH FIRST ($2::bigint) ROWS WITH TIES), gone AS (DELETE FROM nizhal.{0} AS t WHERE t.ctid = ANY "
      "(ARRAY(SELECT ctid FROM batch WHERE at_us < $3::bigint AND version <= $4::bigint)) RETURNING t.version) "
      "SELECT (SELECT count(*) FROM batch), (SELECT max(place) FROM batch), (SELECT count(*) FROM gone), "
      "(SELECT max(version) FROM gone)",
      table, place);
  const Parameters parameters{fmt::to_string(after_place), fmt::to_string(kBatchRows),
                              fmt::to_string(before.microseconds), to_sql(settled)};
  begin(connection);
  const auto rows = connection.query(sql, postgres::parameters_of(parameters));
  if (!rows) return tl::unexpected(rows.error());
  Batch batch;
  batch.looked_at = rows->integer(0, 0);
  batch.last_place = rows->integer(0, 1);
  batch.pruned = static_cast<std::uint64_t>(rows->integer(0, 2));
  batch.highest = version_at(*rows, 0, 3);
  if (!guard.empty() && batch.pruned > 0) {
    const Parameters raised{to_sql(batch.highest)};
    connection.queue(fmt::format("UPDATE nizhal.state SET {0} = $1::bigint WHERE {0} < $1::bigint", guard),
                     postgres::parameters_of(raised));
  }
  connection.queue("COMMIT");
  if (auto finished = connection.finish(); !finished) return tl::unexpected(finished.error());
  return batch;
}

/// The rows of a table in the order of their versions, those of one version together. A row that somebody is writing is
/// passed by: it gets a version of its own, or keeps its updates until it does. And a table stays as it is where a
/// user's trigger might change more of the row than the engine's column.
Result<Batch> empty_batch(postgres::Connection& connection, const std::string& table, std::int64_t after,
                          Version through) {
  const Parameters name{table};
  const auto others = connection.query(
      "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid JOIN "
      "pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE t.tgrelid = $1::regclass AND NOT t.tgisinternal "
      "AND "
      "t.tgenabled <> 'D' AND t.tgtype & 16 <> 0 AND t.tgattr::text = '' AND n.nspname <> 'nizhal')",
      postgres::parameters_of(name));
  if (!others) return tl::unexpected(others.error());
  if (others->boolean(0, 0)) return Batch{};
  const std::string sql = fmt::format(
      "WITH batch AS MATERIALIZED (SELECT ctid, {1} AS place, {2} <> '' AS is_full FROM {0} WHERE {1} > $1::bigint AND "
      "{1} <= $2::bigint ORDER BY {1} FETCH FIRST ($3::bigint) ROWS WITH TIES), free AS MATERIALIZED (SELECT t.ctid "
      "FROM "
      "{0} AS t WHERE t.ctid = ANY (ARRAY(SELECT ctid FROM batch WHERE is_full)) AND t.{1} <= $2::bigint FOR NO KEY "
      "UPDATE SKIP LOCKED), emptied AS (UPDATE {0} AS t SET {2} = '' WHERE t.ctid = ANY (ARRAY(SELECT ctid FROM free)) "
      "RETURNING 1) SELECT (SELECT count(*) FROM batch), (SELECT max(place) FROM batch), (SELECT count(*) FROM "
      "emptied)",
      table, postgres_schema::kVersionColumn, kRecentColumn);
  const Parameters parameters{fmt::to_string(after), to_sql(through), fmt::to_string(kEmptiedRows)};
  begin(connection);
  connection.queue(fmt::format("SELECT set_config('{}', 'on', true)", postgres_schema::kQuietSetting));
  const auto rows = connection.query(sql, postgres::parameters_of(parameters));
  if (!rows) return tl::unexpected(rows.error());
  connection.queue("COMMIT");
  if (auto finished = connection.finish(); !finished) return tl::unexpected(finished.error());
  Batch batch;
  batch.looked_at = rows->integer(0, 0);
  batch.last_place = rows->integer(0, 1);
  batch.pruned = static_cast<std::uint64_t>(rows->integer(0, 2));
  return batch;
}

class Collector {
 public:
  Collector(const std::shared_ptr<postgres::Pool>& pool, Timestamp before, Version settled,
            const std::atomic<bool>& stopping)
      : pool_(pool), before_(before), settled_(settled), stopping_(stopping) {}

  /// `guard`: the column of nizhal.state that tells how far the table is pruned; empty: nobody needs to know.
  Result<Batch> prune(std::string_view table, std::string_view place, std::string_view guard) {
    Batch all;
    std::int64_t after = 0;
    for (;;) {
      auto lease = next_lease();
      if (!lease) return tl::unexpected(lease.error());
      const auto batch = prune_batch(**lease, table, place, before_, settled_, after, guard);
      if (!batch) return tl::unexpected(batch.error());
      all.pruned += batch->pruned;
      all.highest = std::max(all.highest, batch->highest);
      after = batch->last_place;
      if (batch->looked_at < kBatchRows || batch->pruned == 0) return all;
    }
  }

  /// Every row with a version up to `through` is older than the retention. How far it was done is kept, so that the
  /// next time begins there: what is written to a row later has a higher version.
  Result<std::uint64_t> empty_recent(const Catalog& catalog, Version through) {
    std::int64_t done_through = 0;
    {
      auto lease = next_lease();
      if (!lease) return tl::unexpected(lease.error());
      const auto stored = (*lease)->query("SELECT recent_pruned_through FROM nizhal.state");
      if (!stored) return tl::unexpected(stored.error());
      if (stored->size() == 1) done_through = stored->integer(0, 0);
      if (through <= Version{static_cast<std::uint64_t>(done_through)}) return 0;
    }
    std::uint64_t rows = 0;
    for (std::size_t table = 0; table < catalog.domain->tables().size(); ++table) {
      if (!has_recent(*catalog.domain, table)) continue;
      for (std::int64_t after = done_through;;) {
        auto lease = next_lease();
        if (!lease) return tl::unexpected(lease.error());
        const auto batch = empty_batch(**lease, catalog.sql.tables[table].name, after, through);
        if (!batch) return tl::unexpected(batch.error());
        rows += batch->pruned;
        after = batch->last_place;
        if (batch->looked_at < kEmptiedRows) break;
      }
    }
    auto lease = next_lease();
    if (!lease) return tl::unexpected(lease.error());
    const Parameters parameters{to_sql(through)};
    const auto kept = (*lease)->query(
        "UPDATE nizhal.state SET recent_pruned_through = $1::bigint WHERE recent_pruned_through < $1::bigint",
        postgres::parameters_of(parameters));
    if (!kept) return tl::unexpected(kept.error());
    return rows;
  }

  /// What is settled is needed by those only who have not looked since. They learn from a change of this transaction's
  /// own that something changed.
  Result<void> prune_grant_changes(const std::shared_ptr<OwnWriters>& own_writers) {
    for (;;) {
      OwnWriters::Entry entry = own_writers->begin();
      auto lease = next_lease();
      if (!lease) return tl::unexpected(lease.error());
      postgres::Connection& connection = **lease;
      const Parameters parameters{to_sql(settled_), fmt::to_string(kGrantChangesKept + kBatchRows)};
      const auto settled = connection.query(
          "SELECT count(*) FROM (SELECT FROM nizhal.grant_change WHERE version <= $1::bigint ORDER BY version "
          "LIMIT $2::bigint) AS settled",
          postgres::parameters_of(parameters));
      if (!settled) return tl::unexpected(settled.error());
      if (settled->integer(0, 0) <= kGrantChangesKept) return {};
      begin(connection);
      const auto taken = connection.query("SELECT nizhal.begin_version(), pg_backend_pid()");
      if (!taken) return tl::unexpected(taken.error());
      entry.took(version_at(*taken, 0, 0), static_cast<int>(taken->integer(0, 1)));
      connection.queue(
          "DELETE FROM nizhal.grant_change WHERE version = ANY (ARRAY(SELECT version FROM nizhal.grant_change "
          "WHERE version <= $1::bigint ORDER BY version LIMIT $2::bigint))",
          postgres::parameters_of(parameters));
      connection.queue("INSERT INTO nizhal.grant_change (version) VALUES (nizhal.begin_version())");
      connection.queue("COMMIT");
      if (auto finished = connection.finish(); !finished) return tl::unexpected(finished.error());
    }
  }

 private:
  Result<postgres::Pool::Lease> next_lease() {
    if (stopping_) return failure(ErrorCode::busy, "the server is stopping");
    return pool_->borrow();
  }

  const std::shared_ptr<postgres::Pool>& pool_;
  const Timestamp before_;
  const Version settled_;
  const std::atomic<bool>& stopping_;
};

}  // namespace

Result<GcReport> collect_garbage(const std::shared_ptr<postgres::Pool>& pool, const Catalog& catalog, Horizon& horizon,
                                 const std::shared_ptr<OwnWriters>& own_writers, Timestamp before,
                                 const std::atomic<bool>& stopping) {
  const auto position = horizon.read();
  if (!position) return tl::unexpected(position.error());
  Collector collector(pool, before, position->horizon, stopping);
  GcReport report;
  const auto removals = collector.prune("removal", "seq", "pruned_through");
  if (!removals) return tl::unexpected(removals.error());
  report.removals = removals->pruned;
  const auto mutations = collector.prune("mutation", "seq", "");
  if (!mutations) return tl::unexpected(mutations.error());
  report.mutations = mutations->pruned;
  const auto audit_rows = collector.prune("audit", "version", "changes_pruned_through");
  if (!audit_rows) return tl::unexpected(audit_rows.error());
  report.audit_rows = audit_rows->pruned;
  // What was recorded before the retention tells which versions are that old.
  const auto recent =
      collector.empty_recent(catalog, std::max({removals->highest, mutations->highest, audit_rows->highest}));
  if (!recent) return tl::unexpected(recent.error());
  report.recent = *recent;
  if (auto pruned = collector.prune_grant_changes(own_writers); !pruned) return tl::unexpected(pruned.error());
  const auto after = horizon.read();
  if (!after) return tl::unexpected(after.error());
  report.pruned_through = after->pruned_through;
  return report;
}

}  // namespace nizhal::storage::pg
