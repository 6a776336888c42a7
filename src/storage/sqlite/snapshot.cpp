#include "storage/sqlite/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>

#include "domain/value_json.hpp"
#include "query/to_sql.hpp"

namespace nizhal::storage {
namespace {

/// A row's place in a page; the page keeps the lowest. The number stands for the table or, in removals, the recording.
using Place = std::tuple<std::uint64_t, std::int64_t, std::string>;

/// The lowest places up to a limit. Buckets are read one after the other, each only up to the highest version that the
/// page could still take, so that all of them together cost little more than the page.
template <class T>
class LowestFirst {
 public:
  LowestFirst(std::optional<Version> through, std::optional<std::size_t> limit)
      : through_(through ? to_sql(*through) : std::numeric_limits<std::int64_t>::max()), limit_(limit) {}

  bool takes_nothing() const { return limit_ && *limit_ == 0; }
  /// Versions above this need not be read any more.
  std::int64_t bound() const {
    if (!limit_ || items_.size() < *limit_ || items_.empty()) return through_;
    return to_sql(std::get<0>(items_.rbegin()->first));
  }
  bool would_take(const Place& place) const {
    if (items_.contains(place)) return false;
    return !limit_ || items_.size() < *limit_ || place < items_.rbegin()->first;
  }
  void take(Place place, T item) {
    items_.emplace(std::move(place), std::move(item));
    if (limit_ && items_.size() > *limit_) items_.erase(std::prev(items_.end()));
  }
  std::vector<T> finish() {
    std::vector<T> out;
    out.reserve(items_.size());
    for (auto& [place, item] : items_) out.push_back(std::move(item));
    return out;
  }

 private:
  std::int64_t through_;
  std::optional<std::size_t> limit_;
  std::map<Place, T> items_;
};

class SqliteSnapshot : public Snapshot {
 public:
  SqliteSnapshot(std::shared_ptr<const Catalog> catalog, ReaderPool::Reader reader, sqlite::Transaction transaction,
                 Position position)
      : catalog_(std::move(catalog)),
        domain_(*catalog_->domain),
        reader_(std::move(reader)),
        connection_(reader_.connection()),
        transaction_(std::move(transaction)),
        position_(std::move(position)) {}

  Result<Position> position() override { return position_; }
  Result<std::vector<Grant>> grants(const Actor& actor) override { return read_grants(connection_, *catalog_, actor); }
  Result<std::optional<ClientRecord>> client(std::string_view client_id) override {
    return read_client(connection_, client_id);
  }

  Result<std::vector<EncodedRow>> live_rows(const LiveQuery& query) override;
  Result<std::vector<Removal>> live_removals(const LiveQuery& query) override;
  Result<std::vector<EncodedRow>> backfill(const Bucket& bucket, std::size_t table,
                                           const std::optional<std::string>& after_key, std::size_t limit) override;
  Result<std::uint64_t> count_rows(const Bucket& bucket, std::size_t table) override;
  Result<std::vector<AuditRow>> audit(Version since, Version until, std::size_t limit) override;

 private:
  static bool has(const LiveQuery& query, std::size_t table) {
    return query.tables == nullptr || (table < query.tables->size() && (*query.tables)[table]);
  }
  /// A row that `statement` (version, then columns, then what is kept to merge) stands on.
  EncodedRow encoded(const sqlite::Statement& statement, std::size_t table, std::string key, bool with_recent) const {
    EncodedRow row;
    row.table = table;
    row.version = version_at(statement, 0);
    row.key = std::move(key);
    append_stored_row_json(row.json, catalog_->sql.tables[table], domain_.table(table), statement, 1);
    int next = static_cast<int>(domain_.table(table).columns.size()) + 1;
    read_merge_columns(row, catalog_->sql.tables[table], statement, next, with_recent);
    return row;
  }
  std::string key_at(const sqlite::Statement& statement, std::size_t table) const {
    const TableDef& def = domain_.table(table);
    const std::size_t index = def.key_index();
    return key_text(statement.value(static_cast<int>(index) + 1, def.columns[index].type));
  }
  Result<std::optional<Version>> covered_at(std::size_t table, const std::string& key,
                                            const std::unordered_set<std::string_view>& covered);

  std::shared_ptr<const Catalog> catalog_;
  const CompiledDomain& domain_;
  // In this order: the transaction ends before the connection goes back.
  ReaderPool::Reader reader_;
  sqlite::Connection& connection_;
  sqlite::Transaction transaction_;
  Position position_;
};

Result<std::vector<EncodedRow>> SqliteSnapshot::live_rows(const LiveQuery& query) {
  LowestFirst<EncodedRow> page(query.through, query.limit);
  if (page.takes_nothing() || query.buckets == nullptr) return page.finish();
  for (const CoveredBucket& covered : *query.buckets) {
    for (const EntrySql& entry : catalog_->sql.entries[covered.bucket.definition]) {
      if (!has(query, entry.table)) continue;
      const bool with_recent = query.with_recent && !entry.live_recent.empty();
      auto statement = connection_.prepare(with_recent ? entry.live_recent : entry.live);
      if (!statement) return tl::unexpected(statement.error());
      if (!entry.bind_values(*statement, covered.bucket)) continue;
      const int next = entry.parameter_count() + 1;
      statement->bind(next, to_sql(query.after)).bind(next + 1, page.bound());
      for (;;) {
        const auto row = statement->step();
        if (!row) return tl::unexpected(row.error());
        // Rows come in the page's order, so the first that it has no room for is the last to look at.
        if (!*row || statement->integer(0) > page.bound()) break;
        std::string key = key_at(*statement, entry.table);
        Place place{number(version_at(*statement, 0)), static_cast<std::int64_t>(entry.table), key};
        if (page.would_take(place))
          page.take(std::move(place), encoded(*statement, entry.table, std::move(key), with_recent));
      }
    }
  }
  return page.finish();
}

Result<std::vector<Removal>> SqliteSnapshot::live_removals(const LiveQuery& query) {
  LowestFirst<Removal> page(query.through, query.limit);
  if (page.takes_nothing() || query.buckets == nullptr) return page.finish();
  std::unordered_set<std::string_view> covered_keys;
  for (const CoveredBucket& covered : *query.buckets) {
    covered_keys.insert(covered.bucket.key);
    auto statement = connection_.prepare(
        "SELECT version, seq, table_name, key, client_key, deleted FROM nizhal_removal "
        "INDEXED BY nizhal_removal_bucket WHERE bucket = ?1 AND version > ?2 AND version <= ?3 ORDER BY version, seq");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind_text(1, covered.bucket.key)
        .bind(2, to_sql(std::max(query.after, covered.removals_after)))
        .bind(3, page.bound());
    for (;;) {
      const auto row = statement->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row || statement->integer(0) > page.bound()) break;
      const auto table = domain_.table_index(statement->text(2));
      if (!table || !has(query, *table)) continue;
      const auto& entries = catalog_->sql.entries[covered.bucket.definition];
      if (std::none_of(entries.begin(), entries.end(), [&](const EntrySql& entry) { return entry.table == *table; }))
        continue;
      Place place{number(version_at(*statement, 0)), statement->integer(1), std::string()};
      if (!page.would_take(place)) continue;
      Removal removal;
      removal.table = *table;
      removal.version = version_at(*statement, 0);
      removal.key = std::string(statement->text(3));
      removal.client_key = optional_text(*statement, 4);
      removal.deleted = statement->integer(5) != 0;
      page.take(std::move(place), std::move(removal));
    }
  }
  std::vector<Removal> removals = page.finish();
  std::map<std::pair<std::size_t, std::string>, std::optional<Version>> judged;
  for (Removal& removal : removals) {
    const auto [found, is_new] = judged.try_emplace({removal.table, removal.key});
    if (is_new) {
      const auto covered = covered_at(removal.table, removal.key, covered_keys);
      if (!covered) return tl::unexpected(covered.error());
      found->second = *covered;
    }
    removal.covered_at = found->second;
  }
  return removals;
}

Result<std::optional<Version>> SqliteSnapshot::covered_at(std::size_t table, const std::string& key,
                                                          const std::unordered_set<std::string_view>& covered) {
  const std::string& sql = catalog_->sql.tables[table].buckets_of_key;
  const auto value = key_from_text(domain_.table(table), key);
  if (sql.empty() || !value) return std::nullopt;
  auto statement = connection_.prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_value(1, domain_.table(table).key_column().type, *value);
  for (;;) {
    const auto row = statement->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return std::nullopt;
    if (covered.contains(statement->text(0))) return version_at(*statement, 1);
  }
}

Result<std::vector<EncodedRow>> SqliteSnapshot::backfill(const Bucket& bucket, std::size_t table,
                                                         const std::optional<std::string>& after_key,
                                                         std::size_t limit) {
  const TableDef& def = domain_.table(table);
  std::optional<Value> after;
  if (after_key) {
    after = key_from_text(def, *after_key);
    if (!after)
      return failure(ErrorCode::bad_request, fmt::format("the position in table \"{}\" is no key of it", def.name));
  }
  // Several rules may put the table's rows into this bucket; each entry's rows come in key order, so the lowest keys of
  // all of them are among the first `limit` of each.
  std::vector<std::pair<Value, EncodedRow>> rows;
  std::size_t entries_read = 0;
  for (const EntrySql& entry : catalog_->sql.entries[bucket.definition]) {
    if (entry.table != table) continue;
    auto statement = connection_.prepare(after ? entry.backfill_after : entry.backfill);
    if (!statement) return tl::unexpected(statement.error());
    if (!entry.bind_values(*statement, bucket)) continue;
    if (after) statement->bind_value(entry.parameter_count() + 1, def.key_column().type, *after);
    ++entries_read;
    for (std::size_t taken = 0; taken < limit; ++taken) {
      const auto row = statement->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) break;
      const int key_column = static_cast<int>(def.key_index()) + 1;
      rows.emplace_back(statement->value(key_column, def.key_column().type),
                        encoded(*statement, table, key_at(*statement, table), false));
    }
  }
  if (entries_read > 1) {
    std::stable_sort(rows.begin(), rows.end(),
                     [](const auto& left, const auto& right) { return compare_values(left.first, right.first) < 0; });
    rows.erase(std::unique(rows.begin(), rows.end(),
                           [](const auto& left, const auto& right) { return left.first == right.first; }),
               rows.end());
    if (rows.size() > limit) rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(limit), rows.end());
  }
  std::vector<EncodedRow> out;
  out.reserve(rows.size());
  for (auto& [key, row] : rows) out.push_back(std::move(row));
  return out;
}

Result<std::uint64_t> SqliteSnapshot::count_rows(const Bucket& bucket, std::size_t table) {
  const std::string key = "r." + quote_identifier(domain_.table(table).key);
  std::string texts;
  std::vector<const EntrySql*> parts;
  for (const EntrySql& entry : catalog_->sql.entries[bucket.definition]) {
    if (entry.table != table) continue;
    if (!parts.empty()) texts += " UNION ";
    texts += fmt::format("SELECT {} {}", key, entry.from_where);
    parts.push_back(&entry);
  }
  if (parts.empty()) return 0;
  const std::string sql = parts.size() == 1 ? fmt::format("SELECT count(*) {}", parts.front()->from_where)
                                            : fmt::format("SELECT count(*) FROM ({})", texts);
  auto statement = connection_.prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  // The parts number their parameters alike, and columns of one parameter are all texts or all whole numbers.
  if (!parts.front()->bind_values(*statement, bucket)) return 0;
  const auto row = statement->step();
  if (!row) return tl::unexpected(row.error());
  return static_cast<std::uint64_t>(statement->integer(0));
}

Result<std::vector<AuditRow>> SqliteSnapshot::audit(Version since, Version until, std::size_t limit) {
  auto statement = connection_.prepare(
      "SELECT version, at_us, user_id, owner_id, client_id, mutation_id, client_mutation_id, mutator, outcome, "
      "unscoped, buckets, changes FROM nizhal_audit WHERE version >= ?1 AND version <= ?2 ORDER BY version, seq LIMIT "
      "?3");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind(1, to_sql(since)).bind(2, to_sql(until)).bind(3, to_sql(std::uint64_t{limit}));
  std::vector<AuditRow> rows;
  for (;;) {
    const auto found = statement->step();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return rows;
    AuditRow row;
    row.version = version_at(*statement, 0);
    row.at = Timestamp{statement->integer(1)};
    row.user_id = std::string(statement->text(2));
    row.owner_id = std::string(statement->text(3));
    row.client_id = optional_text(*statement, 4);
    if (!statement->is_null(5)) row.mutation_id = mutation_id_at(*statement, 5);
    row.client_mutation_id = std::string(statement->text(6));
    row.mutator = std::string(statement->text(7));
    row.outcome = std::string(statement->text(8));
    row.unscoped = statement->integer(9) != 0;
    row.buckets = texts_from_json(statement->text(10));
    row.changes = std::string(statement->text(11));
    rows.push_back(std::move(row));
  }
}

}  // namespace

Result<Position> read_position(sqlite::Connection& connection) {
  auto statement = connection.prepare("SELECT epoch, version, pruned_through FROM nizhal_state");
  if (!statement) return tl::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row) return failure(ErrorCode::corrupt, "the table nizhal_state is empty; restore a backup of the file");
  Position position;
  position.epoch = std::string(statement->text(0));
  position.last = version_at(*statement, 1);
  position.pruned_through = version_at(*statement, 2);
  // One writer at a time: whatever took a version up to the last one has ended.
  position.horizon = position.last;
  return position;
}

Result<std::unique_ptr<Snapshot>> open_snapshot(std::shared_ptr<const Catalog> catalog, ReaderPool::Reader reader) {
  auto transaction = sqlite::Transaction::begin(reader.connection(), sqlite::Transaction::Mode::deferred);
  if (!transaction) return tl::unexpected(transaction.error());
  auto position = read_position(reader.connection());
  if (!position) return tl::unexpected(position.error());
  return std::unique_ptr<Snapshot>(std::make_unique<SqliteSnapshot>(std::move(catalog), std::move(reader),
                                                                    *std::move(transaction), *std::move(position)));
}

}  // namespace nizhal::storage
