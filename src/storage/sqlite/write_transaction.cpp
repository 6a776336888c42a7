#include "storage/sqlite/write_transaction.hpp"

#include <fmt/format.h>

#include <limits>

#include "base/planted.hpp"
#include "domain/value_json.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/sqlite/engine_tables.hpp"

namespace nizhal::storage {
namespace {

constexpr const char* kMutationColumns =
    "client_id, mutation_id, client_mutation_id, user_id, owner_id, name, applied, http_status, code, error, "
    "server_id, affected_buckets, conflicts";

MutationRecord mutation_at(const sqlite::Statement& statement) {
  MutationRecord record;
  record.client_id = optional_text(statement, 0);
  if (!statement.is_null(1)) record.mutation_id = mutation_id_at(statement, 1);
  record.client_mutation_id = std::string(statement.text(2));
  record.user_id = std::string(statement.text(3));
  record.owner_id = std::string(statement.text(4));
  record.name = std::string(statement.text(5));
  record.applied = statement.integer(6) != 0;
  record.http_status = static_cast<int>(statement.integer(7));
  record.code = std::string(statement.text(8));
  record.error = std::string(statement.text(9));
  record.server_id = optional_text(statement, 10);
  if (!statement.is_null(11)) record.affected_buckets = texts_from_json(statement.text(11));
  record.conflicts = std::string(statement.text(12));
  return record;
}

void bind_optional(sqlite::Statement& statement, int index, const std::optional<std::string>& text) {
  if (text)
    statement.bind_text(index, *text);
  else
    statement.bind_null(index);
}
void bind_optional(sqlite::Statement& statement, int index, const std::optional<MutationId>& id) {
  if (id)
    statement.bind(index, to_sql(*id));
  else
    statement.bind_null(index);
}

void bind_kept(sqlite::Statement& statement, int index, std::string_view column, const MergeState& merge) {
  if (column == kStampsColumn) return void(statement.bind_text(index, merge.stamps));
  statement.bind_blob(index, Blob{{merge.recent.begin(), merge.recent.end()}});
}

class SqliteWriteTransaction : public WriteTransaction {
 public:
  SqliteWriteTransaction(std::shared_ptr<const Catalog> catalog, Writer::Turn turn, sqlite::Transaction transaction,
                         Version version, Timestamp now, WriteMode mode)
      : catalog_(std::move(catalog)),
        domain_(*catalog_->domain),
        turn_(std::move(turn)),
        connection_(turn_.connection()),
        transaction_(std::move(transaction)),
        version_(version),
        now_(now),
        mode_(mode) {}

  Version version() const override { return version_; }
  WriteMode retry_mode() const override { return mode_; }

  Result<void> savepoint() override { return run("SAVEPOINT nizhal_mutation"); }
  Result<void> release_savepoint() override { return run("RELEASE nizhal_mutation"); }
  Result<void> rollback_to_savepoint() override {
    if (!connection_.in_transaction())
      return failure(ErrorCode::constraint_violated, "a constraint or trigger rolled the whole transaction back");
    return run("ROLLBACK TO nizhal_mutation");
  }

  Result<std::optional<Row>> get(const TableDef& table, const Value& key) override {
    return sqlite::select_row(connection_, table, key);
  }
  Result<std::vector<Row>> find(const QuerySpec& query, const ScopeFilter* scope) override;
  Result<bool> insert(const TableDef& table, const Row& row) override { return write_new(table, row, nullptr); }
  Result<bool> update(const TableDef& table, const Value& key,
                      const std::vector<std::pair<std::size_t, Value>>& changes) override {
    return write_changes(table, key, changes, nullptr);
  }
  Result<std::optional<MergeRow>> get_to_merge(const TableDef& table, const Value& key) override;
  Result<bool> insert_merged(const TableDef& table, const Row& row, const MergeState& merge) override {
    return write_new(table, row, &merge);
  }
  Result<bool> update_merged(const TableDef& table, const Value& key,
                             const std::vector<std::pair<std::size_t, Value>>& changes,
                             const MergeState& merge) override {
    return write_changes(table, key, changes, &merge);
  }
  Result<bool> remove(const TableDef& table, const Value& key) override {
    return sqlite::delete_row(connection_, table, key);
  }
  Result<std::int64_t> next_number(const TableDef& table, std::string_view number_column,
                                   std::string_view bucket_column, const Value& bucket) override;

  Result<std::vector<Grant>> grants(const Actor& actor) override { return read_grants(connection_, *catalog_, actor); }

  Result<std::optional<ClientRecord>> client(std::string_view client_id) override {
    return read_client(connection_, client_id);
  }
  Result<void> put_client(const ClientRecord& client) override;
  Result<std::optional<MutationRecord>> mutation(std::string_view client_id, MutationId mutation_id) override;
  Result<std::optional<MutationRecord>> mutation(const Actor& actor, std::string_view client_mutation_id) override;
  Result<void> put_mutation(const MutationRecord& record) override;
  Result<void> put_audit(const AuditRow& row) override;
  Result<std::optional<std::string>> server_id(std::string_view client_id, std::string_view table,
                                               std::string_view id) override;
  Result<void> put_server_id(std::string_view client_id, std::string_view table, std::string_view id,
                             std::string_view server_id) override;

  Result<void> commit() override {
    if (auto done = run("UPDATE nizhal_state SET writing = 0"); !done) return done;
    if (auto done = transaction_.commit(); !done) return done;
    turn_.writer().count_commit();
    return {};
  }

 private:
  Result<void> run(std::string_view sql) {
    auto statement = connection_.prepare(sql);
    if (!statement) return tl::unexpected(statement.error());
    return statement->run();
  }
  Result<std::optional<MutationRecord>> read_mutation(sqlite::Statement& statement) {
    const auto row = statement.step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return std::optional<MutationRecord>{};
    return std::optional<MutationRecord>(mutation_at(statement));
  }
  Result<bool> write_new(const TableDef& table, const Row& row, const MergeState* merge);
  Result<bool> write_changes(const TableDef& table, const Value& key,
                             const std::vector<std::pair<std::size_t, Value>>& changes, const MergeState* merge);
  /// The engine's columns that the table has to merge, empty for a table that is not the domain's.
  std::vector<std::string> columns_to_merge(const TableDef& table) const {
    const auto index = domain_.table_index(table.name);
    return index ? merge_columns(domain_, *index) : std::vector<std::string>();
  }
  /// Only delivered tables have the column; setting it with the row saves the trigger's second write.
  bool is_versioned(const TableDef& table) const {
    const auto index = domain_.table_index(table.name);
    return index && domain_.is_delivered(*index);
  }

  std::shared_ptr<const Catalog> catalog_;
  const CompiledDomain& domain_;
  // In this order: the transaction ends before the turn does.
  Writer::Turn turn_;
  sqlite::Connection& connection_;
  sqlite::Transaction transaction_;
  Version version_;
  Timestamp now_;
  WriteMode mode_;
};

Result<std::vector<Row>> SqliteWriteTransaction::find(const QuerySpec& query, const ScopeFilter* scope) {
  if (scope == nullptr) return sqlite::select_rows(connection_, query);
  if (query.table == nullptr) return failure(ErrorCode::internal, "a query was made without a table");
  const auto table = domain_.table_index(query.table->name);
  if (!table) return std::vector<Row>{};
  const auto compiled = compile_query(query);
  if (!compiled) return tl::unexpected(compiled.error());
  // The scope's parameters are numbered after the query's own, however many those are.
  auto sql = query_sql(Dialect::sqlite, *compiled);
  if (!sql) return tl::unexpected(sql.error());
  const int first = static_cast<int>(sql->parameters.size()) + 1;
  const ScopeSql in_scope = scope_sql(domain_, *table, *scope, first);
  sql = query_sql(Dialect::sqlite, *compiled, in_scope.condition);
  if (!sql) return tl::unexpected(sql.error());
  auto statement = connection_.prepare(sql->text);
  if (!statement) return tl::unexpected(statement.error());
  for (std::size_t i = 0; i < sql->parameters.size(); ++i)
    statement->bind_value(static_cast<int>(i) + 1, sql->parameters[i].type, sql->parameters[i].value);
  for (std::size_t i = 0; i < in_scope.parameters.size(); ++i)
    statement->bind_text(first + static_cast<int>(i), in_scope.parameters[i]);
  std::vector<Row> rows;
  for (;;) {
    const auto found = statement->step();
    if (!found) return tl::unexpected(found.error());
    if (!*found) return rows;
    rows.push_back(sqlite::read_row(*statement, *query.table));
  }
}

Result<bool> SqliteWriteTransaction::write_new(const TableDef& table, const Row& row, const MergeState* merge) {
  // Asked first, because an INSERT that does nothing on a conflict fires the triggers of one that replaces.
  const std::string name = quote_identifier(table.name), key = quote_identifier(table.key);
  {
    auto taken = connection_.prepare(fmt::format("SELECT 1 FROM {} WHERE {} = ?1", name, key));
    if (!taken) return tl::unexpected(taken.error());
    const std::size_t index = table.key_index();
    if (index >= row.size())
      return failure(ErrorCode::internal, fmt::format("a row of table \"{}\" lacks its key", table.name));
    taken->bind_value(1, table.columns[index].type, row[index]);
    const auto found = taken->step();
    if (!found) return tl::unexpected(found.error());
    if (*found) return false;
  }
  const std::vector<std::string> kept = merge != nullptr ? columns_to_merge(table) : std::vector<std::string>();
  const bool has_version = is_versioned(table);
  if (!has_version && kept.empty()) return sqlite::insert_row(connection_, table, row);
  if (row.size() != table.columns.size())
    return failure(ErrorCode::internal, fmt::format("a row of table \"{}\" has {} values for {} columns", table.name,
                                                    row.size(), table.columns.size()));
  std::string columns = column_list(table), places;
  if (has_version) columns += fmt::format(", {}", kVersionColumn);
  for (const std::string& column : kept) columns += ", " + column;
  const std::size_t count = row.size() + (has_version ? 1 : 0) + kept.size();
  for (std::size_t i = 1; i <= count; ++i) places += fmt::format("{}?{}", i > 1 ? ", " : "", i);
  auto statement = connection_.prepare(fmt::format("INSERT INTO {} ({}) VALUES ({})", name, columns, places));
  if (!statement) return tl::unexpected(statement.error());
  int next = 1;
  for (std::size_t i = 0; i < row.size(); ++i) statement->bind_value(next++, table.columns[i].type, row[i]);
  if (has_version) statement->bind(next++, to_sql(version_));
  for (const std::string& column : kept) bind_kept(*statement, next++, column, *merge);
  if (auto done = statement->run(); !done) return tl::unexpected(done.error());
  return true;
}

Result<bool> SqliteWriteTransaction::write_changes(const TableDef& table, const Value& key,
                                                   const std::vector<std::pair<std::size_t, Value>>& changes,
                                                   const MergeState* merge) {
  const std::vector<std::string> kept = merge != nullptr ? columns_to_merge(table) : std::vector<std::string>();
  const bool has_version = is_versioned(table);
  if (kept.empty() && (!has_version || (changes.empty() && merge == nullptr)))
    return sqlite::update_row(connection_, table, key, changes);
  std::string assignments;
  int next = 1;
  const auto assign = [&](const std::string& column) {
    assignments += fmt::format("{}{} = ?{}", next > 1 ? ", " : "", column, next);
    ++next;
  };
  for (const auto& [column, value] : changes) {
    if (column >= table.columns.size())
      return failure(ErrorCode::internal, fmt::format("table \"{}\" has no column number {}", table.name, column));
    assign(quote_identifier(table.columns[column].name));
  }
  if (has_version) assign(kVersionColumn);
  for (const std::string& column : kept) assign(column);
  auto statement = connection_.prepare(fmt::format("UPDATE {} SET {} WHERE {} = ?{}", quote_identifier(table.name),
                                                   assignments, quote_identifier(table.key), next));
  if (!statement) return tl::unexpected(statement.error());
  next = 1;
  for (const auto& [column, value] : changes) statement->bind_value(next++, table.columns[column].type, value);
  if (has_version) statement->bind(next++, to_sql(version_));
  for (const std::string& column : kept) bind_kept(*statement, next++, column, *merge);
  statement->bind_value(next, table.key_column().type, key);
  if (auto done = statement->run(); !done) return tl::unexpected(done.error());
  return connection_.changes() > 0;
}

Result<std::optional<MergeRow>> SqliteWriteTransaction::get_to_merge(const TableDef& table, const Value& key) {
  const std::vector<std::string> kept = columns_to_merge(table);
  std::string columns = column_list(table);
  for (const std::string& column : kept) columns += ", " + column;
  auto statement = connection_.prepare(fmt::format("SELECT {} FROM {} WHERE {} = ?1", columns,
                                                   quote_identifier(table.name), quote_identifier(table.key)));
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_value(1, table.key_column().type, key);
  const auto found = statement->step();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<MergeRow>{};
  MergeRow row;
  row.row = sqlite::read_row(*statement, table);
  int next = static_cast<int>(table.columns.size());
  for (const std::string& column : kept)
    (column == kStampsColumn ? row.merge.stamps : row.merge.recent) = bytes_at(*statement, next++);
  return std::optional<MergeRow>(std::move(row));
}

Result<std::int64_t> SqliteWriteTransaction::next_number(const TableDef& table, std::string_view number_column,
                                                         std::string_view bucket_column, const Value& bucket) {
  const std::size_t number_index = table.index_of(number_column), bucket_index = table.index_of(bucket_column);
  if (number_index == TableDef::npos || bucket_index == TableDef::npos)
    return failure(ErrorCode::invalid_args,
                   fmt::format("table \"{}\" has no column \"{}\"", table.name,
                               number_index == TableDef::npos ? number_column : bucket_column));
  const ColumnType number_type = table.columns[number_index].type;
  if (number_type != ColumnType::integer && number_type != ColumnType::bigint)
    return failure(ErrorCode::invalid_args, fmt::format("column \"{}\" of table \"{}\" is {}, not a whole number",
                                                        number_column, table.name, to_string(number_type)));
  if (nizhal::is_null(bucket))
    return failure(
        ErrorCode::invalid_args,
        fmt::format("numbers of table \"{}\" are counted within a bucket, and the bucket is null", table.name));
  std::int64_t last = 0, through = 0;
  const std::string group = key_text(bucket);
  {
    auto counter = connection_.prepare(
        "SELECT last, through FROM nizhal_counter WHERE table_name = ?1 AND number_column = ?2 AND bucket_column = ?3 "
        "AND "
        "bucket = ?4");
    if (!counter) return tl::unexpected(counter.error());
    counter->bind_text(1, table.name).bind_text(2, number_column).bind_text(3, bucket_column).bind_text(4, group);
    const auto found = counter->step();
    if (!found) return tl::unexpected(found.error());
    if (*found) {
      last = is_planted(Planted::forget_a_number) ? 0 : counter->integer(0);
      through = counter->integer(1);
    }
  }
  {
    // Rows may have numbers from elsewhere. Where rows have versions, only those changed since the last look can have a
    // number above the counter: a look then costs what has changed and not what there is.
    std::string sql =
        fmt::format("SELECT max({0}) FROM {1} WHERE {2} = ?1 AND typeof({0}) = 'integer'",
                    quote_identifier(number_column), quote_identifier(table.name), quote_identifier(bucket_column));
    const bool since_last_look = is_versioned(table);
    if (since_last_look) sql += fmt::format(" AND {} > ?2", kVersionColumn);
    auto highest = connection_.prepare(sql);
    if (!highest) return tl::unexpected(highest.error());
    highest->bind_value(1, table.columns[bucket_index].type, bucket);
    if (since_last_look) highest->bind(2, through);
    const auto found = highest->step();
    if (!found) return tl::unexpected(found.error());
    if (*found && !highest->is_null(0)) last = std::max(last, highest->integer(0));
  }
  const std::int64_t most = number_type == ColumnType::integer ? std::numeric_limits<std::int32_t>::max()
                                                               : std::numeric_limits<std::int64_t>::max();
  if (last >= most)
    return failure(ErrorCode::invalid_args,
                   fmt::format("column \"{}\" of table \"{}\" has no higher number left", number_column, table.name));
  auto record = connection_.prepare(
      "INSERT INTO nizhal_counter (table_name, number_column, bucket_column, bucket, last, through) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (table_name, number_column, bucket_column, bucket) "
      "DO UPDATE SET last = excluded.last, through = excluded.through");
  if (!record) return tl::unexpected(record.error());
  record->bind_text(1, table.name)
      .bind_text(2, number_column)
      .bind_text(3, bucket_column)
      .bind_text(4, group)
      .bind(5, last + 1)
      // This transaction may still write rows of its version.
      .bind(6, to_sql(version_) - 1);
  if (auto done = record->run(); !done) return tl::unexpected(done.error());
  return last + 1;
}

Result<void> SqliteWriteTransaction::put_client(const ClientRecord& client) {
  auto statement = connection_.prepare(
      "INSERT INTO nizhal_client (client_id, user_id, owner_id, last_mutation_id, last_client_mutation_id, last_hlc) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (client_id) DO UPDATE SET user_id = excluded.user_id, "
      "owner_id = excluded.owner_id, last_mutation_id = excluded.last_mutation_id, "
      "last_client_mutation_id = excluded.last_client_mutation_id, last_hlc = excluded.last_hlc");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, client.client_id)
      .bind_text(2, client.user_id)
      .bind_text(3, client.owner_id)
      .bind(4, to_sql(client.last_mutation_id))
      .bind_text(5, client.last_client_mutation_id)
      .bind_text(6, client.last_hlc);
  return statement->run();
}

Result<std::optional<MutationRecord>> SqliteWriteTransaction::mutation(std::string_view client_id,
                                                                       MutationId mutation_id) {
  // A server that was restored may be sent an id again, under another client mutation id; the newest counts.
  auto statement =
      connection_.prepare(fmt::format("SELECT {} FROM nizhal_mutation WHERE client_id = ?1 AND mutation_id = ?2 "
                                      "ORDER BY version DESC, seq DESC LIMIT 1",
                                      kMutationColumns));
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, client_id).bind(2, to_sql(mutation_id));
  return read_mutation(*statement);
}

Result<std::optional<MutationRecord>> SqliteWriteTransaction::mutation(const Actor& actor,
                                                                       std::string_view client_mutation_id) {
  auto statement = connection_.prepare(
      fmt::format("SELECT {} FROM nizhal_mutation WHERE user_id = ?1 AND owner_id = ?2 AND client_mutation_id = ?3",
                  kMutationColumns));
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, actor.user_id).bind_text(2, actor.owner_id).bind_text(3, client_mutation_id);
  return read_mutation(*statement);
}

Result<void> SqliteWriteTransaction::put_mutation(const MutationRecord& record) {
  auto statement = connection_.prepare(fmt::format(
      "INSERT INTO nizhal_mutation ({}, version, at_us) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) "
      "ON CONFLICT (user_id, owner_id, client_mutation_id) DO UPDATE SET client_id = excluded.client_id, "
      "mutation_id = excluded.mutation_id, name = excluded.name, applied = excluded.applied, "
      "http_status = excluded.http_status, code = excluded.code, error = excluded.error, "
      "server_id = excluded.server_id, affected_buckets = excluded.affected_buckets, conflicts = excluded.conflicts, "
      "version = excluded.version, at_us = excluded.at_us",
      kMutationColumns));
  if (!statement) return tl::unexpected(statement.error());
  bind_optional(*statement, 1, record.client_id);
  bind_optional(*statement, 2, record.mutation_id);
  statement->bind_text(3, record.client_mutation_id)
      .bind_text(4, record.user_id)
      .bind_text(5, record.owner_id)
      .bind_text(6, record.name)
      .bind(7, std::int64_t{record.applied})
      .bind(8, std::int64_t{record.http_status})
      .bind_text(9, record.code)
      .bind_text(10, record.error);
  bind_optional(*statement, 11, record.server_id);
  if (record.affected_buckets)
    statement->bind_text(12, texts_to_json(*record.affected_buckets));
  else
    statement->bind_null(12);
  statement->bind_text(13, record.conflicts).bind(14, to_sql(version_)).bind(15, now_.microseconds);
  return statement->run();
}

Result<void> SqliteWriteTransaction::put_audit(const AuditRow& row) {
  auto statement = connection_.prepare(
      "INSERT INTO nizhal_audit (version, at_us, user_id, owner_id, client_id, mutation_id, client_mutation_id, "
      "mutator, outcome, unscoped, buckets, changes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind(1, to_sql(version_)).bind(2, now_.microseconds).bind_text(3, row.user_id).bind_text(4, row.owner_id);
  bind_optional(*statement, 5, row.client_id);
  bind_optional(*statement, 6, row.mutation_id);
  statement->bind_text(7, row.client_mutation_id)
      .bind_text(8, row.mutator)
      .bind_text(9, row.outcome)
      .bind(10, std::int64_t{row.unscoped})
      .bind_text(11, texts_to_json(row.buckets))
      .bind_text(12, row.changes);
  return statement->run();
}

Result<std::optional<std::string>> SqliteWriteTransaction::server_id(std::string_view client_id, std::string_view table,
                                                                     std::string_view id) {
  auto statement =
      connection_.prepare("SELECT server_id FROM nizhal_id_map WHERE client_id = ?1 AND table_name = ?2 AND id = ?3");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, client_id).bind_text(2, table).bind_text(3, id);
  const auto found = statement->step();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<std::string>{};
  return optional_text(*statement, 0);
}

Result<void> SqliteWriteTransaction::put_server_id(std::string_view client_id, std::string_view table,
                                                   std::string_view id, std::string_view server_id) {
  auto statement = connection_.prepare(
      "INSERT INTO nizhal_id_map (client_id, table_name, id, server_id) VALUES (?1, ?2, ?3, ?4) "
      "ON CONFLICT (client_id, table_name, id) DO UPDATE SET server_id = excluded.server_id");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, client_id).bind_text(2, table).bind_text(3, id).bind_text(4, server_id);
  return statement->run();
}

}  // namespace

Result<std::unique_ptr<WriteTransaction>> begin_write(std::shared_ptr<const Catalog> catalog, Writer::Turn turn,
                                                      Timestamp now, WriteMode mode) {
  auto transaction = sqlite::Transaction::begin(turn.connection(), sqlite::Transaction::Mode::immediate);
  if (!transaction) return tl::unexpected(transaction.error());
  Version version{};
  {
    auto statement = turn.connection().prepare(
        "UPDATE nizhal_state SET version = version + 1, writing = 1, now_us = ?1 RETURNING version");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind(1, now.microseconds);
    const auto row = statement->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return failure(ErrorCode::corrupt, "the table nizhal_state is empty; restore a backup of the file");
    version = version_at(*statement, 0);
    const auto end = statement->step();
    if (!end) return tl::unexpected(end.error());
  }
  return std::unique_ptr<WriteTransaction>(std::make_unique<SqliteWriteTransaction>(
      std::move(catalog), std::move(turn), *std::move(transaction), version, now, mode));
}

}  // namespace nizhal::storage
