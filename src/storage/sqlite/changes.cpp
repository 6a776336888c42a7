#include "storage/sqlite/changes.hpp"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "domain/value_json.hpp"
#include "storage/sqlite/snapshot.hpp"

namespace nizhal::storage {
namespace {

class Reader {
 public:
  Reader(sqlite::Connection& connection, const Catalog& catalog, const ChangesQuery& query)
      : connection_(connection), catalog_(catalog), domain_(*catalog.domain), query_(query) {}

  Result<RecentChanges> read() {
    auto transaction = sqlite::Transaction::begin(connection_, sqlite::Transaction::Mode::deferred);
    if (!transaction) return tl::unexpected(transaction.error());
    auto position = read_position(connection_);
    if (!position) return tl::unexpected(position.error());
    const auto pruned = connection_.query_integer("SELECT changes_pruned_through FROM nizhal_state");
    if (!pruned) return tl::unexpected(pruned.error());
    const Version changes_pruned{static_cast<std::uint64_t>(pruned->value_or(0))};
    too_many_ = std::max(position->pruned_through, changes_pruned) > query_.after;
    for (const auto step : {&Reader::rows, &Reader::removals, &Reader::kept_rows, &Reader::clients,
                            &Reader::grant_changes, &Reader::asked}) {
      if (too_many_) break;
      if (auto done = (this->*step)(); !done) return tl::unexpected(done.error());
    }
    if (too_many_) changes_ = RecentChanges();
    changes_.too_many = too_many_;
    changes_.position = *std::move(position);
    std::sort(changes_.rows.begin(), changes_.rows.end(), [](const auto& left, const auto& right) {
      return std::tie(left.row.version, left.row.table, left.row.key) <
             std::tie(right.row.version, right.row.table, right.row.key);
    });
    return std::move(changes_);
  }

 private:
  std::size_t changed() const { return changes_.rows.size() + changes_.removals.size(); }

  Result<void> rows() {
    for (std::size_t table = 0; table < domain_.tables().size(); ++table) {
      const TableSql& sql = catalog_.sql.tables[table];
      if (sql.changed.empty()) continue;
      auto statement = connection_.prepare(sql.changed);
      if (!statement) return tl::unexpected(statement.error());
      statement->bind(1, to_sql(query_.after)).bind(2, to_sql(std::uint64_t{query_.rows_max} + 1));
      if (auto done = take_rows(*statement, table); !done) return done;
      if (too_many_) return {};
    }
    return {};
  }

  Result<void> take_rows(sqlite::Statement& statement, std::size_t table) {
    const TableDef& def = domain_.table(table);
    const TableSql& sql = catalog_.sql.tables[table];
    for (;;) {
      const auto found = statement.step();
      if (!found) return tl::unexpected(found.error());
      if (!*found) return {};
      const std::size_t key = def.key_index();
      RecentChanges::RecentRow recent;
      recent.row.table = table;
      recent.row.version = version_at(statement, 0);
      recent.row.key = key_text(statement.value(static_cast<int>(key) + 1, def.columns[key].type));
      append_stored_row_json(recent.row.json, sql, def, statement, 1);
      int column = static_cast<int>(def.columns.size()) + 1;
      read_merge_columns(recent.row, sql, statement, column, true);
      for (const std::size_t definition : sql.delivered_by) {
        const auto bucket_key = optional_text(statement, column++);
        if (!bucket_key) continue;
        auto bucket = domain_.parse_bucket(*bucket_key);
        if (!bucket || bucket->definition != definition) continue;
        if (std::find(recent.buckets.begin(), recent.buckets.end(), *bucket) == recent.buckets.end())
          recent.buckets.push_back(*std::move(bucket));
      }
      seen_.emplace(table, recent.row.key);
      changes_.rows.push_back(std::move(recent));
      if (changed() > query_.rows_max) {
        too_many_ = true;
        return {};
      }
    }
  }

  Result<void> removals() {
    auto statement = connection_.prepare(
        "SELECT version, bucket, table_name, key, client_key, deleted FROM nizhal_removal INDEXED BY "
        "nizhal_removal_version WHERE version > ?1 ORDER BY version, seq");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind(1, to_sql(query_.after));
    for (;;) {
      const auto found = statement->step();
      if (!found) return tl::unexpected(found.error());
      if (!*found) return {};
      const auto table = domain_.table_index(statement->text(2));
      if (!table) continue;
      RecentChanges::RecentRemoval recent;
      recent.removal.table = *table;
      recent.removal.version = version_at(*statement, 0);
      recent.bucket = std::string(statement->text(1));
      recent.removal.key = std::string(statement->text(3));
      recent.removal.client_key = optional_text(*statement, 4);
      recent.removal.deleted = statement->integer(5) != 0;
      changes_.removals.push_back(std::move(recent));
      if (changed() > query_.rows_max) {
        too_many_ = true;
        return {};
      }
    }
  }

  /// A statement that only might replace a row has recorded that it went.
  Result<void> kept_rows() {
    for (const auto& [removal, bucket] : changes_.removals) {
      const std::string& sql = catalog_.sql.tables[removal.table].changed_row;
      const TableDef& def = domain_.table(removal.table);
      const auto key = key_from_text(def, removal.key);
      if (sql.empty() || !key || !seen_.emplace(removal.table, removal.key).second) continue;
      auto statement = connection_.prepare(sql);
      if (!statement) return tl::unexpected(statement.error());
      statement->bind_value(1, def.key_column().type, *key);
      if (auto done = take_rows(*statement, removal.table); !done) return done;
      if (too_many_) return {};
    }
    return {};
  }

  /// Every mutation id that is used up has a row of the audit, in the transaction that used it up.
  Result<void> clients() {
    auto statement = connection_.prepare(
        "SELECT client_id FROM nizhal_audit INDEXED BY nizhal_audit_version WHERE version > ?1 AND client_id IS NOT "
        "NULL ORDER BY version LIMIT ?2");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind(1, to_sql(query_.after)).bind(2, to_sql(std::uint64_t{query_.rows_max} + 1));
    std::set<std::string, std::less<>> handled;
    for (std::size_t count = 0;; ++count) {
      const auto found = statement->step();
      if (!found) return tl::unexpected(found.error());
      if (!*found) break;
      too_many_ = count == query_.rows_max;
      if (too_many_) return {};
      handled.emplace(statement->text(0));
    }
    for (const std::string& client_id : handled) {
      auto client = read_client(connection_, client_id);
      if (!client) return tl::unexpected(client.error());
      if (*client) changes_.clients.push_back(**std::move(client));
    }
    return {};
  }

  Result<void> grant_changes() {
    auto statement = connection_.prepare(
        "SELECT definition, subject FROM nizhal_grant_change WHERE version > ?1 ORDER BY version LIMIT ?2");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind(1, to_sql(query_.after)).bind(2, to_sql(std::uint64_t{query_.rows_max} + 1));
    for (std::size_t count = 0;; ++count) {
      const auto found = statement->step();
      if (!found) return tl::unexpected(found.error());
      if (!*found) return {};
      too_many_ = count == query_.rows_max;
      if (too_many_) return {};
      for (std::size_t d = 0; d < catalog_.sql.grant_ids.size(); ++d)
        if (catalog_.sql.grant_ids[d] == statement->text(0))
          changes_.grant_changes.push_back({d, std::string(statement->text(1))});
    }
  }

  Result<void> asked() {
    for (const Actor& actor : query_.actors) {
      auto grants = read_grants(connection_, catalog_, actor);
      if (!grants) return tl::unexpected(grants.error());
      changes_.grants.push_back(*std::move(grants));
    }
    for (const std::string& client_id : query_.client_ids) {
      auto client = read_client(connection_, client_id);
      if (!client) return tl::unexpected(client.error());
      changes_.asked_clients.push_back(*std::move(client));
    }
    return {};
  }

  sqlite::Connection& connection_;
  const Catalog& catalog_;
  const CompiledDomain& domain_;
  const ChangesQuery& query_;
  RecentChanges changes_;
  bool too_many_ = false;
  std::set<std::pair<std::size_t, std::string>> seen_;
};

}  // namespace

Result<RecentChanges> read_changes(sqlite::Connection& connection, const Catalog& catalog, const ChangesQuery& query) {
  return Reader(connection, catalog, query).read();
}

}  // namespace nizhal::storage
