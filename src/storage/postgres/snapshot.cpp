#include "storage/postgres/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/json.hpp"
#include "domain/value_json.hpp"
#include "query/to_sql.hpp"
#include "storage/postgres/page_walk.hpp"
#include "storage/postgres/values.hpp"
#include "storage/text_list.hpp"

namespace nizhal::storage::pg {

// Every statement of a page is a walk along one index. Plans are made once per connection, because they do not depend
// on the values; what the planner would otherwise choose does, on statistics that may be old. Without sorts, the index
// on versions alone cannot serve a page of one bucket, past everybody else's rows.
const char* const kTakeSnapshotSql =
    "SELECT s.pruned_through, (SELECT v.last_value FROM nizhal.version_seq AS v), "
    "set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), "
    "set_config('enable_sort', 'off', true), set_config('enable_incremental_sort', 'off', true), "
    "set_config('enable_hashjoin', 'off', true), "
    "set_config('enable_mergejoin', 'off', true), set_config('max_parallel_workers_per_gather', '0', true), "
    "set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true) "
    "FROM nizhal.state AS s";

namespace {

/// Up to this many rows of a bucket are counted; of more, only the planner's idea is told. Counting must not take
/// longer than the page that it goes with.
constexpr std::uint64_t kCountedMax = 50'000;

/// The planner's idea of how many rows a statement gives, from EXPLAIN (FORMAT JSON).
std::uint64_t planned_rows(std::string_view plan) {
  const auto parsed = parse_json(plan);
  if (!parsed) return 0;
  const json::array* plans = parsed->if_array();
  if (plans == nullptr || plans->empty()) return 0;
  const json::value* top = member(plans->front(), "Plan");
  const json::value* rows = top != nullptr ? member(*top, "Plan Rows") : nullptr;
  const auto number = rows != nullptr ? as_integer(*rows) : std::nullopt;
  return number && *number > 0 ? static_cast<std::uint64_t>(*number) : 0;
}

class PostgresSnapshot : public Snapshot {
 public:
  PostgresSnapshot(std::shared_ptr<const Catalog> catalog, postgres::Pool::Lease lease, Position position,
                   std::function<void()> failed = {})
      : catalog_(std::move(catalog)),
        domain_(*catalog_->domain),
        lease_(std::move(lease)),
        connection_(*lease_),
        position_(std::move(position)),
        failed_(std::move(failed)) {}
  ~PostgresSnapshot() override {
    if (failed_ && (!connection_.is_open() || connection_.transaction_failed())) failed_();
  }

  void set_last(Version last) { position_.last = std::max(position_.last, last); }
  Result<Position> position() override { return position_; }
  Result<std::vector<Grant>> grants(const Actor& actor) override;
  Result<std::optional<ClientRecord>> client(std::string_view client_id) override;
  Result<std::vector<EncodedRow>> live_rows(const LiveQuery& query) override;
  Result<std::vector<Removal>> live_removals(const LiveQuery& query) override;
  Result<std::vector<EncodedRow>> backfill(const Bucket& bucket, std::size_t table,
                                           const std::optional<std::string>& after_key, std::size_t limit) override;
  Result<std::uint64_t> count_rows(const Bucket& bucket, std::size_t table) override;
  Result<std::vector<AuditRow>> audit(Version since, Version until, std::size_t limit) override;
  Result<std::string> export_name();

 private:
  using Ticket = postgres::Connection::Ticket;
  /// A statement on its way and what it is about.
  struct Asked {
    std::size_t table = 0;
    Ticket ticket{};
  };
  /// Rows of a table, from a statement that gives version and columns.
  struct Answer {
    std::size_t table = 0;
    postgres::Rows rows;
  };
  static bool has(const LiveQuery& query, std::size_t table) {
    return query.tables == nullptr || (table < query.tables->size() && (*query.tables)[table]);
  }
  int key_column(std::size_t table) const { return static_cast<int>(domain_.table(table).key_index()) + 1; }
  Result<std::vector<Answer>> answers_to(const std::vector<Asked>& asked);
  EncodedRow encoded(std::size_t table, const postgres::Rows& rows, int row, bool with_recent) const;
  Result<void> judge(std::vector<Removal>& removals, const std::unordered_set<std::string_view>& covered);
  /// The entries of a definition that put rows of a table into its buckets, with the bucket's values.
  std::vector<std::pair<const EntrySql*, Parameters>> entries_of(const Bucket& bucket, std::size_t table) const;

  const std::shared_ptr<const Catalog> catalog_;
  const CompiledDomain& domain_;
  const postgres::Pool::Lease lease_;
  postgres::Connection& connection_;
  Position position_;
  const std::function<void()> failed_;
};

Result<std::vector<Grant>> PostgresSnapshot::grants(const Actor& actor) {
  if (!has_memberships(domain_)) return grants_from(*catalog_, actor, postgres::Rows());
  const auto rows = grants_query(*catalog_, actor).run(connection_);
  if (!rows) return tl::unexpected(rows.error());
  return grants_from(*catalog_, actor, *rows);
}

Result<std::optional<ClientRecord>> PostgresSnapshot::client(std::string_view client_id) {
  // No column holds a zero byte.
  if (client_id.find('\0') != std::string_view::npos) return std::optional<ClientRecord>{};
  const auto rows = client_query(client_id).run(connection_);
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return std::optional<ClientRecord>{};
  return std::optional(client_from(*rows, 0));
}

Result<std::vector<PostgresSnapshot::Answer>> PostgresSnapshot::answers_to(const std::vector<Asked>& asked) {
  if (auto finished = connection_.finish(); !finished) return tl::unexpected(finished.error());
  std::vector<Answer> answers;
  for (const Asked& one : asked) {
    auto rows = connection_.take(one.ticket);
    if (!rows) return tl::unexpected(rows.error());
    answers.push_back({one.table, *std::move(rows)});
  }
  return answers;
}

EncodedRow PostgresSnapshot::encoded(std::size_t table, const postgres::Rows& rows, int row, bool with_recent) const {
  EncodedRow out;
  out.table = table;
  out.version = version_at(rows, row, 0);
  out.key = std::string(rows.text(row, key_column(table)));
  append_stored_row_json(out.json, catalog_->sql.tables[table], domain_.table(table), rows, row, 1);
  int next = static_cast<int>(domain_.table(table).columns.size()) + 1;
  read_merge_columns(out, catalog_->sql.tables[table], rows, row, next, with_recent);
  return out;
}

Result<std::vector<EncodedRow>> PostgresSnapshot::live_rows(const LiveQuery& query) {
  if (query.buckets == nullptr || query.limit == 0U) return std::vector<EncodedRow>{};
  std::vector<Walks> walks;
  for (std::size_t d = 0; d < catalog_->sql.entries.size(); ++d) {
    for (const EntrySql& entry : catalog_->sql.entries[d]) {
      if (!has(query, entry.table)) continue;
      Walks one{&entry, {}, {}, query.with_recent};
      for (const CoveredBucket& covered : *query.buckets)
        if (covered.bucket.definition == d && entry.values_of(covered.bucket))
          one.buckets.emplace_back(&covered.bucket, query.after);
      if (!one.buckets.empty()) walks.push_back(std::move(one));
    }
  }
  const auto found = lowest_rows(connection_, *catalog_, std::move(walks), query.through, query.limit);
  if (!found) return tl::unexpected(found.error());

  struct Place {
    Version version{};
    std::size_t table = 0;
    std::string_view key;
    const Walked* walked = nullptr;
    int row = 0;
  };
  std::vector<Place> places;
  for (const Walked& one : *found) {
    const std::size_t table = one.walks.entry->table;
    for (int row = 0; row < one.rows.size(); ++row)
      places.push_back({version_at(one.rows, row, 0), table, one.rows.text(row, key_column(table)), &one, row});
  }
  std::sort(places.begin(), places.end(), [](const Place& left, const Place& right) {
    return std::tie(left.version, left.table, left.key) < std::tie(right.version, right.table, right.key);
  });
  // A row is in one bucket of an entry at most, but several entries may deliver it, and a bucket may be asked twice.
  std::set<std::pair<std::size_t, std::string_view>> seen;
  std::vector<EncodedRow> rows;
  for (const Place& place : places) {
    if (query.limit && rows.size() == *query.limit) break;
    if (found->size() > 1 && !seen.emplace(place.table, place.key).second) continue;
    rows.push_back(encoded(place.table, place.walked->rows, place.row, query.with_recent));
  }
  return rows;
}

Result<std::vector<Removal>> PostgresSnapshot::live_removals(const LiveQuery& query) {
  if (query.buckets == nullptr || query.limit == 0U) return std::vector<Removal>{};
  std::unordered_set<std::string_view> covered_keys;
  for (const CoveredBucket& covered : *query.buckets) covered_keys.insert(covered.bucket.key);
  std::vector<Walks> walks;
  for (std::size_t d = 0; d < catalog_->sql.tables_of.size(); ++d) {
    ArrayText tables;
    for (const std::size_t table : catalog_->sql.tables_of[d])
      if (has(query, table)) tables.add(domain_.table(table).name);
    if (tables.is_empty()) continue;
    Walks one{nullptr, {}, std::move(tables).finish()};
    for (const CoveredBucket& covered : *query.buckets)
      if (covered.bucket.definition == d)
        one.buckets.emplace_back(&covered.bucket, std::max(query.after, covered.removals_after));
    if (!one.buckets.empty()) walks.push_back(std::move(one));
  }
  const auto found = lowest_rows(connection_, *catalog_, std::move(walks), query.through, query.limit);
  if (!found) return tl::unexpected(found.error());

  // By the order of recording within a version; a bucket may have been asked twice.
  std::map<std::pair<Version, std::int64_t>, std::pair<const Walked*, int>> places;
  for (const Walked& one : *found)
    for (int row = 0; row < one.rows.size(); ++row)
      places.try_emplace({version_at(one.rows, row, 0), one.rows.integer(row, 1)}, &one, row);
  std::vector<Removal> removals;
  for (const auto& [place, origin] : places) {
    if (query.limit && removals.size() == *query.limit) break;
    const auto& [walked, row] = origin;
    const auto table = domain_.table_index(walked->rows.text(row, 2));
    if (!table) continue;
    Removal removal;
    removal.table = *table;
    removal.version = place.first;
    removal.key = std::string(walked->rows.text(row, 3));
    removal.client_key = optional_text(walked->rows, row, 4);
    removal.deleted = walked->rows.boolean(row, 5);
    removals.push_back(std::move(removal));
  }
  if (auto judged = judge(removals, covered_keys); !judged) return tl::unexpected(judged.error());
  return removals;
}

/// Sets covered_at, by what is in the snapshot: one statement per table for all removals.
Result<void> PostgresSnapshot::judge(std::vector<Removal>& removals,
                                     const std::unordered_set<std::string_view>& covered) {
  struct Keys {
    std::map<std::string_view, std::optional<Version>> judged;
    std::vector<std::string_view> asked;  // by ordinal
  };
  std::map<std::size_t, Keys> tables;
  for (const Removal& removal : removals) {
    if (catalog_->sql.tables[removal.table].buckets_of_keys.empty()) continue;
    // What is no key of this table now (it had another type once) is in none of its buckets.
    if (!key_from_text(domain_.table(removal.table), removal.key)) continue;
    Keys& keys = tables[removal.table];
    if (keys.judged.try_emplace(removal.key).second) keys.asked.push_back(removal.key);
  }
  if (tables.empty()) return {};
  std::vector<Asked> asked;
  for (const auto& [table, keys] : tables) {
    ArrayText list;
    for (const std::string_view key : keys.asked) list.add(key);
    const Parameters parameters{std::move(list).finish()};
    asked.push_back(
        {table, connection_.queue(catalog_->sql.tables[table].buckets_of_keys, postgres::parameters_of(parameters))});
  }
  const auto answers = answers_to(asked);
  if (!answers) return tl::unexpected(answers.error());
  for (const Answer& answer : *answers) {
    Keys& keys = tables[answer.table];
    for (int row = 0; row < answer.rows.size(); ++row) {
      if (!covered.contains(answer.rows.text(row, 1))) continue;
      const auto ordinal = static_cast<std::size_t>(answer.rows.integer(row, 0));
      if (ordinal >= 1 && ordinal <= keys.asked.size())
        keys.judged[keys.asked[ordinal - 1]] = version_at(answer.rows, row, 2);
    }
  }
  for (Removal& removal : removals) {
    const auto table = tables.find(removal.table);
    if (table == tables.end()) continue;
    if (const auto key = table->second.judged.find(removal.key); key != table->second.judged.end())
      removal.covered_at = key->second;
  }
  return {};
}

std::vector<std::pair<const EntrySql*, Parameters>> PostgresSnapshot::entries_of(const Bucket& bucket,
                                                                                 std::size_t table) const {
  std::vector<std::pair<const EntrySql*, Parameters>> entries;
  for (const EntrySql& entry : catalog_->sql.entries[bucket.definition]) {
    if (entry.table != table) continue;
    if (auto values = entry.values_of(bucket)) entries.emplace_back(&entry, *std::move(values));
  }
  return entries;
}

Result<std::vector<EncodedRow>> PostgresSnapshot::backfill(const Bucket& bucket, std::size_t table,
                                                           const std::optional<std::string>& after_key,
                                                           std::size_t limit) {
  const TableDef& def = domain_.table(table);
  if (after_key && !key_from_text(def, *after_key))
    return failure(ErrorCode::bad_request, fmt::format("the position in table \"{}\" is no key of it", def.name));
  std::vector<Asked> asked;
  for (auto& [entry, parameters] : entries_of(bucket, table)) {
    parameters.emplace_back(to_sql(std::uint64_t{limit}));
    if (after_key) parameters.emplace_back(*after_key);
    asked.push_back({table, connection_.queue(after_key ? entry->backfill_after : entry->backfill,
                                              postgres::parameters_of(parameters))});
  }
  const auto answers = answers_to(asked);
  if (!answers) return tl::unexpected(answers.error());
  std::vector<EncodedRow> out;
  if (answers->size() == 1) {
    const Answer& answer = answers->front();
    out.reserve(static_cast<std::size_t>(answer.rows.size()));
    for (int row = 0; row < answer.rows.size(); ++row) out.push_back(encoded(table, answer.rows, row, false));
    return out;
  }
  // Several rules put the table's rows into this bucket; each entry's rows come in key order, so the lowest keys of all
  // of them are among the first `limit` of each.
  std::vector<std::pair<Value, std::pair<const Answer*, int>>> rows;
  for (const Answer& answer : *answers)
    for (int row = 0; row < answer.rows.size(); ++row)
      rows.emplace_back(value_from_text(def.key_column().type, answer.rows.text(row, key_column(table))),
                        std::pair(&answer, row));
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& left, const auto& right) { return compare_values(left.first, right.first) < 0; });
  rows.erase(std::unique(rows.begin(), rows.end(),
                         [](const auto& left, const auto& right) { return left.first == right.first; }),
             rows.end());
  for (const auto& [key, place] : rows) {
    if (out.size() == limit) break;
    out.push_back(encoded(table, place.first->rows, place.second, false));
  }
  return out;
}

Result<std::uint64_t> PostgresSnapshot::count_rows(const Bucket& bucket, std::size_t table) {
  const auto entries = entries_of(bucket, table);
  if (entries.empty()) return 0;
  const std::string key = "r." + quote_identifier(domain_.table(table).key);
  std::string parts;
  for (const auto& [entry, parameters] : entries)
    parts += fmt::format("{}(SELECT {} {} LIMIT {})", parts.empty() ? "" : " UNION ", key, entry->from_where,
                         kCountedMax + 1);
  // The entries of a definition number their parameters alike.
  const auto parameters = postgres::parameters_of(entries.front().second);
  const auto counted = connection_.query(fmt::format("SELECT count(*) FROM ({}) AS counted", parts), parameters);
  if (!counted) return tl::unexpected(counted.error());
  std::uint64_t rows = static_cast<std::uint64_t>(counted->integer(0, 0));
  if (rows <= kCountedMax) return rows;
  for (const auto& [entry, values] : entries) {
    const auto plan = connection_.query("EXPLAIN (FORMAT JSON) SELECT 1 " + entry->from_where, parameters);
    if (!plan) return tl::unexpected(plan.error());
    if (plan->size() > 0) rows = std::max(rows, planned_rows(plan->text(0, 0)));
  }
  return rows;
}

Result<std::vector<AuditRow>> PostgresSnapshot::audit(Version since, Version until, std::size_t limit) {
  const Parameters parameters{to_sql(since), to_sql(until), to_sql(std::uint64_t{limit})};
  const auto found = connection_.query(
      "SELECT version, at_us, user_id, owner_id, client_id, mutation_id, client_mutation_id, mutator, outcome, "
      "unscoped, buckets, changes FROM nizhal.audit WHERE version >= $1::bigint AND version <= $2::bigint "
      "ORDER BY version, seq LIMIT $3::bigint",
      postgres::parameters_of(parameters));
  if (!found) return tl::unexpected(found.error());
  std::vector<AuditRow> rows;
  for (int i = 0; i < found->size(); ++i) {
    AuditRow row;
    row.version = version_at(*found, i, 0);
    row.at = Timestamp{found->integer(i, 1)};
    row.user_id = std::string(found->text(i, 2));
    row.owner_id = std::string(found->text(i, 3));
    row.client_id = optional_text(*found, i, 4);
    if (!found->is_null(i, 5)) row.mutation_id = mutation_id_at(*found, i, 5);
    row.client_mutation_id = std::string(found->text(i, 6));
    row.mutator = std::string(found->text(i, 7));
    row.outcome = std::string(found->text(i, 8));
    row.unscoped = found->boolean(i, 9);
    row.buckets = texts_from_json(found->text(i, 10));
    row.changes = std::string(found->text(i, 11));
    rows.push_back(std::move(row));
  }
  return rows;
}

/// The row that kTakeSnapshotSql gives.
Result<postgres::Rows> begin_snapshot(const Catalog& catalog, postgres::Connection& connection) {
  connection.queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  // Before the snapshot is taken: a table that is truncated or rewritten afterwards would be empty for a snapshot from
  // before, whose removals do not tell of it.
  if (!catalog.sql.hold_tables.empty()) connection.queue(catalog.sql.hold_tables);
  if (!connection.transaction_settings().empty()) connection.queue(connection.transaction_settings());
  const auto ticket = connection.queue(kTakeSnapshotSql);
  if (auto finished = connection.finish(); !finished) return tl::unexpected(finished.error());
  auto state = connection.take(ticket);
  if (state && state->size() != 1)
    return failure(ErrorCode::schema_mismatch, "nizhal.state has no row; run `nizhal migrate`");
  return state;
}

Result<std::string> PostgresSnapshot::export_name() {
  const auto rows = connection_.query("SELECT pg_export_snapshot()");
  if (!rows) return tl::unexpected(rows.error());
  return std::string(rows->text(0, 0));
}

}  // namespace

Result<std::string> export_snapshot(Snapshot& snapshot) {
  auto* own = dynamic_cast<PostgresSnapshot*>(&snapshot);
  if (own == nullptr) return failure(ErrorCode::internal, "the snapshot is another storage's");
  return own->export_name();
}

Result<std::unique_ptr<Snapshot>> open_snapshot(std::shared_ptr<const Catalog> catalog,
                                                const std::shared_ptr<postgres::Pool>& pool, const Position& settled) {
  for (int attempt = 1;; ++attempt) {
    auto lease = pool->borrow();
    if (!lease) return tl::unexpected(lease.error());
    postgres::Connection& connection = **lease;
    const auto state = begin_snapshot(*catalog, connection);
    // A connection may break just when it is lent; nothing was read, so another one does as well.
    if (!state && !connection.is_open() && attempt == 1) continue;
    if (!state) return tl::unexpected(state.error());
    Position position = settled;
    // Retention may have gone on, and versions have been taken, since `settled` was read.
    position.pruned_through = version_at(*state, 0, 0);
    position.last = std::max(position.last, version_at(*state, 0, 1));
    return std::unique_ptr<Snapshot>(
        std::make_unique<PostgresSnapshot>(std::move(catalog), *std::move(lease), std::move(position)));
  }
}

Result<std::unique_ptr<Snapshot>> take_replica_snapshot(std::shared_ptr<const Catalog> catalog,
                                                        postgres::Pool::Lease lease, const Position& settled,
                                                        const char* epoch_sql, std::function<void()> failed) {
  postgres::Connection& connection = *lease;
  const auto state = begin_snapshot(*catalog, connection);
  if (!state) return tl::unexpected(state.error());
  const auto epoch = connection.query(epoch_sql);
  if (!epoch) return tl::unexpected(epoch.error());
  if (epoch->size() != 1 || epoch->text(0, 0) != settled.epoch)
    return failure(ErrorCode::busy, "it is not, or not yet, a replica of the database as it is now");
  Position position = settled;
  position.pruned_through = version_at(*state, 0, 0);
  return std::unique_ptr<Snapshot>(
      std::make_unique<PostgresSnapshot>(std::move(catalog), std::move(lease), std::move(position), std::move(failed)));
}

void set_last(Snapshot& snapshot, Version last) {
  if (auto* own = dynamic_cast<PostgresSnapshot*>(&snapshot)) own->set_last(last);
}

}  // namespace nizhal::storage::pg
