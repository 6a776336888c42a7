#include "storage/postgres/changes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "domain/value_json.hpp"
#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/statements.hpp"

namespace nizhal::storage::pg {
namespace {

using postgres_schema::bucket_key_sql;
using postgres_schema::column_sql;
using postgres_schema::in_bucket_sql;
using postgres_schema::kVersionColumn;
using postgres_schema::text_literal;

/// What a line is, where it is no row of a table.
enum Kind : std::int64_t {
  kStanding = -1,
  kRemoval = -2,
  kHandled = -3,
  kGrantChange = -4,
  kAskedGrant = -5,
  kAskedClient = -6,
};
constexpr int kTextsFrom = 2;  // after the kind and the version

/// The entries of all definitions that deliver a table, in the order in which a row's line has their bucket keys.
struct Delivered {
  std::size_t definition = 0;
  const BucketTable* entry = nullptr;
};
std::vector<Delivered> delivered_by(const CompiledDomain& domain, std::size_t table) {
  std::vector<Delivered> found;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d)
    for (const BucketTable& entry : domain.definitions()[d].tables)
      if (entry.table == table) found.push_back({d, &entry});
  return found;
}

/// The text that the column's output function gives; a cast of a boolean gives another one.
std::string output_sql(const ColumnDef& column) {
  const std::string name = column_sql("r", column.name);
  if (column.type == ColumnType::boolean)
    return fmt::format("CASE {0} WHEN true THEN 't' WHEN false THEN 'f' END", name);
  return name + "::text";
}

/// A removal's key as the table's own, null when it is none of its type (the key had another type once).
std::string removed_key_sql(const TableDef& table) {
  switch (table.key_column().type) {
    case ColumnType::integer:
    case ColumnType::bigint:
      return "CASE WHEN m.key ~ '^(0|-?[1-9][0-9]{0,18})$' THEN CASE WHEN m.key::numeric BETWEEN -9223372036854775808 "
             "AND 9223372036854775807 THEN m.key::bigint END END";
    case ColumnType::uuid:
      return "CASE WHEN m.key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN m.key::uuid END";
    default:
      // Through a type without collation, so that the column's own decides and its index serves.
      return "(to_jsonb(m.key) #>> '{}')";
  }
}

class Lines {
 public:
  explicit Lines(const CompiledDomain& domain) {
    width_ = 6;  // of a client or a removal
    for (std::size_t t = 0; t < domain.tables().size(); ++t)
      width_ = std::max(
          width_, domain.table(t).columns.size() + merge_columns(domain, t).size() + delivered_by(domain, t).size());
  }
  /// The select list of a line, filled up with nulls.
  std::string list(std::int64_t kind, const std::string& version, const std::vector<std::string>& texts) const {
    std::string sql = fmt::format("{}::integer, {}::bigint", kind, version);
    for (std::size_t i = 0; i < width_; ++i) sql += i < texts.size() ? ", " + texts[i] : ", NULL::text";
    return sql;
  }

 private:
  std::size_t width_ = 0;
};

constexpr const char* kClientColumns[] = {
    "c.client_id", "c.user_id", "c.owner_id", "c.last_mutation_id::text", "c.last_client_mutation_id", "c.last_hlc"};

ClientRecord client_from_line(const postgres::Rows& rows, int row) {
  ClientRecord record;
  record.client_id = std::string(rows.text(row, kTextsFrom));
  record.user_id = std::string(rows.text(row, kTextsFrom + 1));
  record.owner_id = std::string(rows.text(row, kTextsFrom + 2));
  record.last_mutation_id = mutation_id_at(rows, row, kTextsFrom + 3);
  record.last_client_mutation_id = std::string(rows.text(row, kTextsFrom + 4));
  record.last_hlc = std::string(rows.text(row, kTextsFrom + 5));
  return record;
}

/// Puts together what the lines say.
class Collector {
 public:
  Collector(const Catalog& catalog, const Position& settled, const ChangesQuery& query, const postgres::Rows& rows)
      : catalog_(catalog), domain_(*catalog.domain), query_(query), rows_(rows) {
    changes_.position = settled;
    for (std::size_t t = 0; t < domain_.tables().size(); ++t) delivered_.push_back(delivered_by(domain_, t));
  }

  Result<RecentChanges> collect() {
    bool stands = false;
    std::size_t changed = 0, handled = 0, grants = 0;
    Version changes_pruned_through{};
    for (int row = 0; row < rows_.size(); ++row) {
      const std::int64_t kind = rows_.integer(row, 0);
      if (kind == kStanding) {
        stands = true;
        // Retention may have gone on, and versions have been taken, since `settled` was read.
        changes_.position.last = std::max(changes_.position.last, version_at(rows_, row, 1));
        changes_.position.pruned_through = version_at(rows_, row, kTextsFrom);
        changes_pruned_through = version_at(rows_, row, kTextsFrom + 1);
      }
      if (kind >= 0 || kind == kRemoval) ++changed;
      if (kind == kHandled) ++handled;
      if (kind == kGrantChange) ++grants;
    }
    if (!stands) return failure(ErrorCode::schema_mismatch, "nizhal.state has no row; run `nizhal migrate`");
    const bool is_pruned = std::max(changes_.position.pruned_through, changes_pruned_through) > query_.after;
    if (is_pruned || std::max({changed, handled, grants}) > query_.rows_max) {
      changes_.too_many = true;
      return std::move(changes_);
    }
    changes_.asked_clients.resize(query_.client_ids.size());
    for (int row = 0; row < rows_.size(); ++row) line(row);
    std::sort(changes_.rows.begin(), changes_.rows.end(), [](const auto& left, const auto& right) {
      return std::tie(left.row.version, left.row.table, left.row.key) <
             std::tie(right.row.version, right.row.table, right.row.key);
    });
    std::stable_sort(removals_.begin(), removals_.end(), [](const auto& left, const auto& right) {
      return std::tie(left.second.removal.version, left.first) < std::tie(right.second.removal.version, right.first);
    });
    for (auto& [place, removal] : removals_) changes_.removals.push_back(std::move(removal));
    for (std::size_t i = 0; i < query_.actors.size(); ++i)
      changes_.grants.push_back(grants_from(catalog_, query_.actors[i], granted_[i]));
    return std::move(changes_);
  }

 private:
  void line(int row) {
    const std::int64_t kind = rows_.integer(row, 0);
    switch (kind) {
      case kStanding:
        return;
      case kRemoval:
        return removal(row);
      case kHandled:
        if (clients_.emplace(rows_.text(row, kTextsFrom)).second)
          changes_.clients.push_back(client_from_line(rows_, row));
        return;
      case kGrantChange:
        return grant_change(row);
      case kAskedGrant:
        granted_[static_cast<std::size_t>(rows_.integer(row, kTextsFrom))].push_back(
            {rows_.text(row, kTextsFrom + 1), rows_.text(row, kTextsFrom + 2), version_at(rows_, row, 1)});
        return;
      case kAskedClient:
        for (std::size_t i = 0; i < query_.client_ids.size(); ++i)
          if (query_.client_ids[i] == rows_.text(row, kTextsFrom))
            changes_.asked_clients[i] = client_from_line(rows_, row);
        return;
      default:
        return table_row(static_cast<std::size_t>(kind), row);
    }
  }

  void table_row(std::size_t table, int row) {
    const TableDef& def = domain_.table(table);
    const std::string_view key = rows_.text(row, kTextsFrom + static_cast<int>(def.key_index()));
    if (!seen_.emplace(table, key).second) return;  // several removals may name it
    RecentChanges::RecentRow recent;
    recent.row.table = table;
    recent.row.version = version_at(rows_, row, 1);
    recent.row.key = std::string(key);
    append_stored_row_json(recent.row.json, catalog_.sql.tables[table], def, rows_, row, kTextsFrom);
    int column = kTextsFrom + static_cast<int>(def.columns.size());
    read_merge_columns(recent.row, catalog_.sql.tables[table], rows_, row, column, true);
    for (const Delivered& delivered : delivered_[table]) {
      const int at = column++;
      if (rows_.is_null(row, at)) continue;
      auto bucket = domain_.parse_bucket(rows_.text(row, at));
      if (!bucket || bucket->definition != delivered.definition) continue;
      if (std::find(recent.buckets.begin(), recent.buckets.end(), *bucket) == recent.buckets.end())
        recent.buckets.push_back(*std::move(bucket));
    }
    changes_.rows.push_back(std::move(recent));
  }

  void removal(int row) {
    const auto table = domain_.table_index(rows_.text(row, kTextsFrom + 2));
    if (!table) return;
    RecentChanges::RecentRemoval recent;
    recent.removal.table = *table;
    recent.removal.version = version_at(rows_, row, 1);
    recent.bucket = std::string(rows_.text(row, kTextsFrom + 1));
    recent.removal.key = std::string(rows_.text(row, kTextsFrom + 3));
    recent.removal.client_key = optional_text(rows_, row, kTextsFrom + 4);
    recent.removal.deleted = rows_.boolean(row, kTextsFrom + 5);
    removals_.emplace_back(rows_.integer(row, kTextsFrom), std::move(recent));
  }

  void grant_change(int row) {
    const std::string_view definition = rows_.text(row, kTextsFrom), subject = rows_.text(row, kTextsFrom + 1);
    if (definition.empty()) return changes_.grant_changes.push_back({});
    for (std::size_t d = 0; d < catalog_.sql.grant_ids.size(); ++d)
      if (catalog_.sql.grant_ids[d] == definition) changes_.grant_changes.push_back({d, std::string(subject)});
  }

  const Catalog& catalog_;
  const CompiledDomain& domain_;
  const ChangesQuery& query_;
  const postgres::Rows& rows_;
  std::vector<std::vector<Delivered>> delivered_;  // by table
  RecentChanges changes_;
  std::set<std::pair<std::size_t, std::string_view>> seen_;
  std::set<std::string_view> clients_;
  std::vector<std::pair<std::int64_t, RecentChanges::RecentRemoval>> removals_;  // with the order of recording
  std::vector<std::vector<GrantRow>> granted_{query_.actors.size()};
};

}  // namespace

std::string changes_sql(const Catalog& catalog) {
  const CompiledDomain& domain = *catalog.domain;
  const Lines lines(domain);
  std::vector<std::string> changed;
  for (std::size_t t = 0; t < domain.tables().size(); ++t) {
    const TableDef& table = domain.table(t);
    const std::vector<Delivered> delivered = delivered_by(domain, t);
    if (delivered.empty()) continue;
    std::vector<std::string> texts;
    for (const ColumnDef& column : table.columns) texts.push_back(output_sql(column));
    for (const std::string& column : merge_columns(domain, t)) texts.push_back(column_sql("r", column) + "::text");
    for (const Delivered& one : delivered)
      texts.push_back(fmt::format("CASE WHEN {} THEN {} END", in_bucket_sql(domain, one.definition, *one.entry, "r"),
                                  bucket_key_sql(domain, one.definition, *one.entry, "r")));
    const std::string version = column_sql("r", kVersionColumn);
    const std::string list = lines.list(static_cast<std::int64_t>(t), version, texts);
    const std::string& name = catalog.sql.tables[t].name;
    changed.push_back(fmt::format("(SELECT {} FROM {} AS r WHERE {} > $1::bigint ORDER BY {} LIMIT $2::bigint)", list,
                                  name, version, version));
    // A row may have got a version that was settled already after its removal got one that was not.
    changed.push_back(fmt::format(
        "(SELECT {} FROM (SELECT DISTINCT {} AS key FROM nizhal.removal AS m WHERE m.version > $1::bigint AND "
        "m.table_name = {}) AS k JOIN {} AS r ON {} = k.key WHERE {} <= $1::bigint LIMIT $2::bigint)",
        list, removed_key_sql(table), text_literal(table.name), name, column_sql("r", table.key), version));
  }
  changed.push_back(fmt::format(
      "(SELECT {} FROM nizhal.removal AS m WHERE m.version > $1::bigint ORDER BY m.version LIMIT $2::bigint)",
      lines.list(kRemoval, "m.version",
                 {"m.seq::text", "m.bucket", "m.table_name", "m.key", "m.client_key",
                  "CASE WHEN m.deleted THEN 't' ELSE 'f' END"})));
  std::string parts;
  for (const std::string& part : changed) parts += (parts.empty() ? "" : " UNION ALL ") + part;

  const std::vector<std::string> client(std::begin(kClientColumns), std::end(kClientColumns));
  std::string sql = fmt::format("SELECT {} FROM nizhal.state AS s",
                                lines.list(kStanding, "(SELECT v.last_value FROM nizhal.version_seq AS v)",
                                           {"s.pruned_through::text", "s.changes_pruned_through::text"}));
  sql += fmt::format(" UNION ALL (SELECT * FROM ({}) AS changed LIMIT $2::bigint)", parts);
  // Every mutation id that is used up has a row of the audit, in the transaction that used it up.
  sql += fmt::format(
      " UNION ALL (SELECT {} FROM (SELECT a.version, a.client_id COLLATE \"C\" AS client_id FROM nizhal.audit AS a "
      "WHERE a.version > $1::bigint AND a.client_id IS NOT NULL ORDER BY a.version LIMIT $2::bigint) AS a JOIN "
      "nizhal.client AS c ON c.client_id = a.client_id)",
      lines.list(kHandled, "a.version", client));
  sql += fmt::format(
      " UNION ALL (SELECT {} FROM nizhal.grant_change AS g WHERE g.version > $1::bigint ORDER BY g.version "
      "LIMIT $2::bigint)",
      lines.list(kGrantChange, "g.version", {"g.definition", "g.subject"}));
  sql += fmt::format(
      " UNION ALL (SELECT {} FROM unnest($3::text[], $4::text[], $5::bigint[]) AS a(definition, subject, place) JOIN "
      "nizhal.bucket_grant AS g ON g.definition = a.definition AND g.subject = a.subject)",
      lines.list(kAskedGrant, "g.gained", {"a.place::text", "g.definition", "g.bucket"}));
  sql += fmt::format(
      " UNION ALL (SELECT {} FROM unnest($6::text[]) AS a(client_id) JOIN nizhal.client AS c ON c.client_id = "
      "a.client_id)",
      lines.list(kAskedClient, "0", client));
  return sql;
}

Parameters changes_parameters(const Catalog& catalog, const ChangesQuery& query) {
  ArrayText definitions, subjects, places, clients;
  for (std::size_t i = 0; i < query.actors.size(); ++i) {
    for (const auto& [definition, subject] : grant_subjects(catalog, query.actors[i])) {
      definitions.add(definition);
      subjects.add(subject);
      places.add(std::to_string(i));
    }
  }
  // No column holds a zero byte.
  for (const std::string& client : query.client_ids)
    if (client.find('\0') == std::string::npos) clients.add(client);
  return {to_sql(query.after),
          to_sql(std::uint64_t{query.rows_max} + 1),
          std::move(definitions).finish(),
          std::move(subjects).finish(),
          std::move(places).finish(),
          std::move(clients).finish()};
}

std::string walk_settings(bool local) {
  constexpr std::pair<const char*, const char*> kSettings[] = {{"enable_seqscan", "off"},
                                                               {"enable_bitmapscan", "off"},
                                                               {"enable_sort", "off"},
                                                               {"enable_incremental_sort", "off"},
                                                               {"enable_hashjoin", "off"},
                                                               {"enable_mergejoin", "off"},
                                                               {"max_parallel_workers_per_gather", "0"},
                                                               {"jit", "off"},
                                                               {"plan_cache_mode", "force_generic_plan"}};
  std::string sql = "SELECT ";
  for (const auto& [name, value] : kSettings) sql += fmt::format("set_config('{}', '{}', {}), ", name, value, local);
  // Of the implicit transactions of single statements; see the head of this file.
  return sql + fmt::format("set_config('default_transaction_isolation', 'read committed', {})", local);
}

ChangesReader::ChangesReader(postgres::ConnectOptions connect, std::shared_ptr<const Catalog> catalog)
    : connect_(std::move(connect)), catalog_(std::move(catalog)), sql_(changes_sql(*catalog_)) {}

void ChangesReader::cancel() {
  std::shared_ptr<postgres::Connection> connection;
  {
    const std::lock_guard lock(connection_mutex_);
    connection = connection_;
  }
  if (connection) connection->cancel();
}

Result<void> ChangesReader::connect() {
  auto opened = postgres::Connection::connect(connect_);
  if (!opened) return tl::unexpected(opened.error());
  if ((*opened)->transaction_settings().empty())
    if (auto set = (*opened)->query(walk_settings(false)); !set) return tl::unexpected(set.error());
  const std::lock_guard lock(connection_mutex_);
  connection_ = *std::move(opened);
  return {};
}

Result<postgres::Rows> ChangesReader::ask_once(const Parameters& parameters) {
  postgres::Connection& connection = *connection_;
  if (connection.transaction_settings().empty()) return connection.query(sql_, postgres::parameters_of(parameters));
  connection.queue("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY");
  connection.queue(connection.transaction_settings());
  connection.queue(walk_settings(true));
  const auto ticket = connection.queue(sql_, postgres::parameters_of(parameters));
  connection.queue("COMMIT");
  if (auto finished = connection.finish(); !finished) return tl::unexpected(finished.error());
  return connection.take(ticket);
}

Result<postgres::Rows> ChangesReader::ask(const Parameters& parameters) {
  for (;;) {
    const bool is_new = connection_ == nullptr;
    if (is_new)
      if (auto connected = connect(); !connected) return tl::unexpected(connected.error());
    auto rows = ask_once(parameters);
    if (rows) return rows;
    const bool has_died = !connection_->is_open();
    if (has_died || !connection_->reset()) {
      const std::lock_guard lock(connection_mutex_);
      connection_.reset();
    }
    // A connection that has lain idle may have died long ago; a fresh one says what is the matter.
    if (!has_died || is_new) return rows;
  }
}

Result<RecentChanges> ChangesReader::read(const Position& settled, const ChangesQuery& query) {
  const std::lock_guard lock(mutex_);
  const auto rows = ask(changes_parameters(*catalog_, query));
  if (!rows) return tl::unexpected(rows.error());
  return Collector(*catalog_, settled, query, *rows).collect();
}

}  // namespace nizhal::storage::pg
