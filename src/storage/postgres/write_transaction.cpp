#include "storage/postgres/write_transaction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "domain/value_json.hpp"
#include "query/to_sql.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/record_sql.hpp"
#include "storage/postgres/values.hpp"

namespace nizhal::storage::pg {
namespace {

using postgres::Rows;
using Ticket = postgres::Connection::Ticket;

// The level is named because a role or a database may have another by default.
constexpr const char* kBegin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
constexpr const char* kBeginSerializable = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE";
// Outside every savepoint, so that a rollback to one leaves the version.
constexpr const char* kTakeVersion =
    "SELECT nizhal.begin_version(), pg_backend_pid(), set_config('nizhal.now_us', $1, true)";

// Locks the counter, whether it was there or not: whoever counts in the same group waits.
constexpr const char* kLockCounter =
    "INSERT INTO nizhal.counter AS c (table_name, number_column, bucket_column, bucket, last, through) "
    "VALUES ($1, $2, $3, $4, 0, -1) ON CONFLICT (table_name, number_column, bucket_column, bucket) "
    "DO UPDATE SET last = c.last RETURNING last";
constexpr const char* kCountOn =
    "UPDATE nizhal.counter SET last = $5 WHERE table_name = $1 AND number_column = $2 AND bucket_column = $3 "
    "AND bucket = $4";
constexpr const char* kCountOnThrough =
    "UPDATE nizhal.counter SET last = $5, through = $6 WHERE table_name = $1 AND number_column = $2 AND "
    "bucket_column = $3 AND bucket = $4";
/// From so many rows on a look at the numbers is worth a look at the horizon, which shortens the next ones.
constexpr std::int64_t kRowsLookedAtMax = 100;

constexpr const char* kSavepoint = "SAVEPOINT nizhal_mutation";
constexpr const char* kRelease = "RELEASE SAVEPOINT nizhal_mutation";
constexpr const char* kRollbackTo = "ROLLBACK TO SAVEPOINT nizhal_mutation";
// What a deferred constraint has to say is said while it is known whose write it was.
constexpr const char* kCheckConstraints = "SET CONSTRAINTS ALL IMMEDIATE";
constexpr const char* kDeferConstraints = "SET CONSTRAINTS ALL DEFERRED";

std::string text_of(const Rows& rows, int row, int column) { return std::string(rows.text(row, column)); }

/// Who asks for one record will ask for the next ones, too.
constexpr std::uint64_t kMutationsAhead = 99;

bool has_memberships(const CompiledDomain& domain) {
  const auto& definitions = domain.definitions();
  return !std::all_of(definitions.begin(), definitions.end(),
                      [](const BucketDefinition& definition) { return definition.is_static(); });
}

struct ServerId {
  std::string client_id, table, id, server_id;
};

class PostgresWriteTransaction : public WriteTransaction {
 public:
  PostgresWriteTransaction(std::shared_ptr<const Catalog> catalog, std::shared_ptr<SearchedTables> searched,
                           OwnWriters::Entry entry, postgres::Pool::Lease lease, Timestamp now, WriteMode mode)
      : catalog_(std::move(catalog)),
        domain_(*catalog_->domain),
        searched_(std::move(searched)),
        entry_(std::move(entry)),
        lease_(std::move(lease)),
        connection_(*lease_),
        now_(now),
        mode_(mode),
        retry_mode_(mode) {}

  Result<void> begin(const PushIntent* intent);

  Version version() const override { return version_; }
  WriteMode retry_mode() const override { return retry_mode_; }

  Result<void> savepoint() override;
  Result<void> release_savepoint() override;
  Result<void> rollback_to_savepoint() override;

  Result<std::optional<Row>> get(const TableDef& table, const Value& key) override;
  Result<std::vector<Row>> find(const QuerySpec& query, const ScopeFilter* scope) override;
  Result<bool> insert(const TableDef& table, const Row& row) override;
  Result<bool> update(const TableDef& table, const Value& key,
                      const std::vector<std::pair<std::size_t, Value>>& changes) override;
  Result<bool> remove(const TableDef& table, const Value& key) override;
  Result<std::int64_t> next_number(const TableDef& table, std::string_view number_column,
                                   std::string_view bucket_column, const Value& bucket) override;

  Result<std::vector<Grant>> grants(const Actor& actor) override;

  Result<std::optional<ClientRecord>> client(std::string_view client_id) override;
  Result<void> put_client(const ClientRecord& client) override;
  Result<std::optional<MutationRecord>> mutation(std::string_view client_id, MutationId mutation_id) override;
  Result<std::optional<MutationRecord>> mutation(const Actor& actor, std::string_view client_mutation_id) override;
  Result<std::optional<MutationRecord>> likely_new_mutation(const Actor& actor,
                                                            std::string_view client_mutation_id) override;
  Result<void> put_mutation(const MutationRecord& record) override;
  Result<void> put_audit(const AuditRow& row) override;
  Result<std::optional<std::string>> server_id(std::string_view client_id, std::string_view table,
                                               std::string_view id) override;
  Result<void> put_server_id(std::string_view client_id, std::string_view table, std::string_view id,
                             std::string_view server_id) override;
  Result<void> commit() override;

 private:
  struct Statement {
    std::string sql;
    Parameters parameters;
    std::uint64_t rows = 0;  // that it must affect; that it did not is found out when it is answered. 0: any
    const TableDef* inserts_into = nullptr;  // one row, of which the parameters are the columns
  };
  /// How much there was of everything when it was made.
  struct Savepoint {
    bool sent = false;
    std::size_t statements = 0;  // of those that wait; without meaning once it is sent
    std::size_t mutations = 0, audit_rows = 0, clients = 0, server_ids = 0;
  };

  bool is_pipelined() const { return mode_ == WriteMode::pipelined; }
  std::string table_name(const TableDef& table) const {
    return fmt::format("{}.{}", quote_identifier(catalog_->schema), quote_identifier(table.name));
  }

  Ticket queue(const std::string& sql, const Parameters& parameters) {
    return connection_.queue(sql, postgres::parameters_of(parameters));
  }
  void send_waiting();
  void send_inserts(const TableDef& table, std::size_t first, std::size_t end);
  Ticket queue_clients(const std::vector<std::string>& ids) {
    if (ids.size() == 1) return queue(kReadClient, {storable_text(ids.front())});
    return queue(kReadClients, {array_of(ids)});
  }
  Ticket queue_mutations(const Actor& actor, const std::vector<std::string>& ids) {
    const bool one = ids.size() == 1;
    return queue(one ? kReadMutation : kReadMutations, {one ? storable_text(ids.front()) : array_of(ids),
                                                        storable_text(actor.user_id), storable_text(actor.owner_id)});
  }
  Result<Rows> ask(const std::string& sql, const Parameters& parameters);
  Result<Rows> answer(Ticket ticket);
  Result<bool> write(const TableDef& table, Statement statement);
  Result<void> check_usable() const;
  tl::unexpected<Error> failed(Error error);
  tl::unexpected<Error> must_rise(WriteMode mode, std::string why);
  Result<Parameters> row_parameters(const TableDef& table, const Row& row) const;
  std::optional<std::string> key_parameter(const TableDef& table, const Value& key) const;
  Result<void> before_write(const TableDef& table);

  const MutationRecord* written_mutation(const Actor& actor, std::string_view client_mutation_id) const;
  void remember_clients(const std::vector<std::string>& asked, const Rows& rows);
  void queue_records();

  std::shared_ptr<const Catalog> catalog_;
  const CompiledDomain& domain_;
  std::shared_ptr<SearchedTables> searched_;
  OwnWriters::Entry entry_;  // outlives the lease
  postgres::Pool::Lease lease_;
  postgres::Connection& connection_;
  Version version_{};
  Timestamp now_;
  WriteMode mode_, retry_mode_;
  bool is_aborted_ = false;  // only a rollback to a savepoint works, or none at all
  bool is_over_ = false;

  std::vector<Statement> waiting_;
  std::vector<std::pair<Ticket, std::uint64_t>> sent_;  // of writes: how many rows they must have affected
  std::vector<Savepoint> savepoints_;

  // Read ahead.
  std::map<std::string, std::optional<ClientRecord>, std::less<>> known_clients_;
  std::optional<Actor> known_actor_;  // whose grants and mutations are known
  std::map<std::string, std::optional<MutationRecord>, std::less<>> known_mutations_;
  bool has_presumed_ = false;  // that a mutation is new, which the commit will tell
  std::optional<std::vector<Grant>> known_grants_;
  std::set<std::string, std::less<>> without_server_ids_;  // clients that have none
  std::map<std::pair<std::string, std::uint64_t>, std::optional<MutationRecord>> known_client_mutations_;

  // To be written at the commit.
  std::vector<MutationRecord> mutations_;
  std::vector<AuditRow> audit_rows_;
  std::vector<ClientRecord> clients_;
  std::vector<ServerId> server_ids_;
};

// ---- Beginning, ending, and the way in between

Result<void> PostgresWriteTransaction::begin(const PushIntent* intent) {
  std::vector<Ticket> tickets;
  tickets.push_back(connection_.queue(mode_ == WriteMode::serializable ? kBeginSerializable : kBegin));
  if (const std::string& settings = connection_.transaction_settings(); !settings.empty())
    tickets.push_back(connection_.queue(settings));
  const std::size_t taken = tickets.size();
  tickets.push_back(queue(kTakeVersion, {fmt::to_string(now_.microseconds)}));
  // The mutations after the clients: whoever held those has committed by then, and what it recorded is seen.
  std::optional<std::size_t> clients, mutations, granted;
  if (intent && !intent->client_ids.empty()) {
    clients = tickets.size();
    tickets.push_back(queue_clients(intent->client_ids));
  }
  std::vector<std::string> mutation_ids;
  if (intent) {
    mutation_ids = intent->client_mutation_ids;
    if (!is_pipelined())
      mutation_ids.insert(mutation_ids.end(), intent->new_client_mutation_ids.begin(),
                          intent->new_client_mutation_ids.end());
  }
  if (!mutation_ids.empty()) {
    mutations = tickets.size();
    tickets.push_back(queue_mutations(intent->actor, mutation_ids));
  }
  if (intent && has_memberships(domain_)) {
    granted = tickets.size();
    tickets.push_back(grants_query(*catalog_, intent->actor, Lock::for_key_share).queue(connection_));
  }

  const auto finished = connection_.finish();
  std::vector<Result<Rows>> answers;
  for (const Ticket ticket : tickets) answers.push_back(connection_.take(ticket));
  if (!finished) return failed(finished.error());
  for (const auto& answered : answers)
    if (!answered) return failed(answered.error());

  if (answers[taken]->size() != 1) return failure(ErrorCode::internal, "PostgreSQL gave a transaction no version");
  version_ = version_at(*answers[taken], 0, 0);
  entry_.took(version_, static_cast<int>(answers[taken]->integer(0, 1)));
  if (!intent) return {};

  known_actor_ = intent->actor;
  if (clients) remember_clients(intent->client_ids, *answers[*clients]);
  if (mutations) {
    for (const std::string& id : mutation_ids) known_mutations_[storable_text(id)];
    const Rows& records = *answers[*mutations];
    for (int row = 0; row < records.size(); ++row)
      known_mutations_[text_of(records, row, 2)] = mutation_from(records, row);
  }
  known_grants_ = granted ? grants_from(*catalog_, intent->actor, *answers[*granted])
                          : grants_from(*catalog_, intent->actor, Rows());
  return {};
}

/// Queues the writes that wait, each savepoint before the first write inside it.
void PostgresWriteTransaction::send_waiting() {
  std::size_t next = 0;
  const auto send_until = [&](std::size_t end) {
    while (next < end) {
      const std::size_t first = next++;
      const TableDef* table = waiting_[first].inserts_into;
      while (table && next < end && waiting_[next].inserts_into == table) ++next;
      if (next - first > 1)
        send_inserts(*table, first, next);
      else
        sent_.emplace_back(queue(waiting_[first].sql, waiting_[first].parameters), waiting_[first].rows);
    }
  };
  for (Savepoint& savepoint : savepoints_) {
    if (savepoint.sent) continue;
    if (savepoint.statements == waiting_.size()) break;  // nothing was written inside it
    send_until(savepoint.statements);
    sent_.emplace_back(connection_.queue(kSavepoint), 0);
    savepoint.sent = true;
  }
  send_until(waiting_.size());
  waiting_.clear();
  for (Savepoint& savepoint : savepoints_) savepoint.statements = 0;
}

/// Those that wait at [first, end) as one statement.
void PostgresWriteTransaction::send_inserts(const TableDef& table, std::size_t first, std::size_t end) {
  std::vector<InsertColumn> columns;
  for (const ColumnDef& column : table.columns)
    columns.push_back({quote_identifier(column.name), postgres_type(column.type)});
  std::vector<Parameters> rows;
  for (std::size_t i = first; i < end; ++i) rows.push_back(std::move(waiting_[i].parameters));
  const std::size_t count = rows.size();
  const RecordStatement insert = insert_statement(table_name(table), columns, std::move(rows));
  sent_.emplace_back(queue(insert.sql, insert.parameters), count);
}

/// Waits for everything that was sent.
Result<Rows> PostgresWriteTransaction::answer(Ticket ticket) {
  auto finished = connection_.finish();
  bool all_worked = true;
  for (const auto& [sent, expected] : sent_) {
    if (sent == ticket) continue;
    const auto rows = connection_.take(sent);
    if (rows && expected > 0 && rows->affected() != expected) all_worked = false;
  }
  sent_.clear();
  auto rows = connection_.take(ticket);
  if (!finished) return failed(finished.error());
  if (!all_worked) {
    is_aborted_ = true;
    return must_rise(WriteMode::careful, "a write that was sent ahead found no row, or its key taken");
  }
  if (!rows) return failed(rows.error());
  return rows;
}

Result<Rows> PostgresWriteTransaction::ask(const std::string& sql, const Parameters& parameters) {
  send_waiting();
  return answer(queue(sql, parameters));
}

Result<void> PostgresWriteTransaction::check_usable() const {
  if (is_over_) return failure(ErrorCode::internal, "a transaction was used after its end");
  if (is_aborted_) return failure(ErrorCode::busy, "the transaction has failed before; drop it");
  return {};
}

/// What a statement's failure means to the caller.
tl::unexpected<Error> PostgresWriteTransaction::failed(Error error) {
  is_aborted_ = true;
  if (error.code != ErrorCode::constraint_violated) return tl::unexpected(std::move(error));
  // The engine's own tables have no constraints but keys: somebody else was first.
  if (connection_.error_schema() == "nizhal") {
    if (has_presumed_ && connection_.error_table() == "mutation")
      return must_rise(WriteMode::careful, "a mutation that was taken for a new one has a record");
    error.code = ErrorCode::busy;
    return tl::unexpected(std::move(error));
  }
  if (is_pipelined())
    return must_rise(WriteMode::careful, "a write that was sent ahead did not work: " + error.message);
  return tl::unexpected(std::move(error));
}

tl::unexpected<Error> PostgresWriteTransaction::must_rise(WriteMode mode, std::string why) {
  retry_mode_ = std::max(retry_mode_, mode);
  return failure(ErrorCode::busy, std::move(why));
}

Result<void> PostgresWriteTransaction::savepoint() {
  if (auto usable = check_usable(); !usable) return usable;
  if (!is_pipelined()) waiting_.push_back({kDeferConstraints, {}});
  savepoints_.push_back(
      {false, waiting_.size(), mutations_.size(), audit_rows_.size(), clients_.size(), server_ids_.size()});
  return {};
}

Result<void> PostgresWriteTransaction::release_savepoint() {
  if (auto usable = check_usable(); !usable) return usable;
  if (savepoints_.empty()) return failure(ErrorCode::internal, "a savepoint was released that is not there");
  const Savepoint savepoint = savepoints_.back();
  if (!is_pipelined() && (savepoint.sent || savepoint.statements < waiting_.size())) {
    if (auto checked = ask(kCheckConstraints, {}); !checked) return tl::unexpected(checked.error());
  }
  if (savepoints_.back().sent) waiting_.push_back({kRelease, {}});
  savepoints_.pop_back();
  return {};
}

Result<void> PostgresWriteTransaction::rollback_to_savepoint() {
  if (is_over_ || savepoints_.empty())
    return failure(ErrorCode::internal, "a rollback to a savepoint that is not there");
  Savepoint& savepoint = savepoints_.back();
  if (is_aborted_ && (is_pipelined() || !savepoint.sent || !connection_.is_open()))
    return failure(ErrorCode::busy, "the transaction has failed before; drop it");
  if (savepoint.sent) {
    waiting_.clear();
    waiting_.push_back({kRollbackTo, {}});
    savepoint.statements = 0;
  } else {
    waiting_.resize(savepoint.statements);
  }
  mutations_.resize(savepoint.mutations);
  audit_rows_.resize(savepoint.audit_rows);
  clients_.resize(savepoint.clients);
  server_ids_.resize(savepoint.server_ids);
  known_grants_.reset();
  is_aborted_ = false;
  return {};
}

Result<void> PostgresWriteTransaction::commit() {
  if (auto usable = check_usable(); !usable) return usable;
  is_over_ = true;
  savepoints_.clear();
  send_waiting();
  queue_records();
  auto committed = answer(connection_.queue("COMMIT"));
  // Whoever watches the database has to look when the answer is lost: it may have been yes.
  if (!committed) {
    if (!connection_.is_open()) entry_.disown();
    return tl::unexpected(committed.error());
  }
  // Behind a pooler the backend may be somebody else's from here on.
  entry_ = OwnWriters::Entry();
  return {};
}

void PostgresWriteTransaction::queue_records() {
  const auto send = [this](const RecordStatement& statement) {
    sent_.emplace_back(queue(statement.sql, statement.parameters), 0);
  };
  for (const ServerId& id : server_ids_) send(put_server_id_statement(id.client_id, id.table, id.id, id.server_id));
  if (!mutations_.empty()) send(put_mutations_statement(mutations_, version_, now_));
  if (!audit_rows_.empty()) send(put_audit_statement(audit_rows_, version_, now_));
  // The last record of each client counts.
  std::map<std::string_view, const ClientRecord*> last;
  for (const ClientRecord& client : clients_) last[client.client_id] = &client;
  for (const auto& [id, client] : last) {
    const auto known = known_clients_.find(id);
    send(put_client_statement(*client, known == known_clients_.end() || !known->second));
  }
}

// ---- Rows

/// Nothing: no row can have this key.
std::optional<std::string> PostgresWriteTransaction::key_parameter(const TableDef& table, const Value& key) const {
  const std::size_t index = table.key_index();
  if (index == TableDef::npos) return std::nullopt;
  const ColumnType type = table.columns[index].type;
  if (!check_value(ColumnDef{table.key, type, false, std::nullopt}, key, nullptr)) return std::nullopt;
  return parameter_text(type, key);
}

Result<Parameters> PostgresWriteTransaction::row_parameters(const TableDef& table, const Row& row) const {
  Parameters parameters;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto* text = std::get_if<std::string>(&row[i]);
    if (text && text->find('\0') != std::string::npos) {
      return failure(ErrorCode::constraint_violated,
                     fmt::format("table \"{}\", column \"{}\": PostgreSQL holds no text with a NUL character",
                                 table.name, table.columns[i].name));
    }
    parameters.push_back(parameter_text(table.columns[i].type, row[i]));
  }
  return parameters;
}

/// `$n` of the type that the column is compared with.
std::string compared(const TableDef& table, std::size_t column, std::size_t parameter) {
  const ColumnType type = table.columns[column].type;
  return fmt::format("{} = ${}::{}", quote_identifier(table.columns[column].name), parameter,
                     postgres_type(type == ColumnType::integer ? ColumnType::bigint : type));
}

Row row_from(const Rows& rows, int row, const TableDef& table) {
  Row values;
  values.reserve(table.columns.size());
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const int column = static_cast<int>(i);
    if (rows.is_null(row, column))
      values.emplace_back();
    else
      values.push_back(value_from_text(table.columns[i].type, rows.text(row, column)));
  }
  return values;
}

Result<std::optional<Row>> PostgresWriteTransaction::get(const TableDef& table, const Value& key) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto parameter = key_parameter(table, key);
  if (!parameter) return std::optional<Row>{};
  auto rows = ask(fmt::format("SELECT {} FROM {} WHERE {} FOR NO KEY UPDATE", column_list(table), table_name(table),
                              compared(table, table.key_index(), 1)),
                  {parameter});
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return std::optional<Row>{};
  return std::optional<Row>(row_from(*rows, 0, table));
}

Result<std::vector<Row>> PostgresWriteTransaction::find(const QuerySpec& query, const ScopeFilter* scope) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  if (query.table == nullptr) return failure(ErrorCode::internal, "a query was made without a table");
  const auto table = domain_.table_index(query.table->name);
  auto sql = query_sql(Dialect::postgres, query, {}, catalog_->schema);
  if (!sql) return tl::unexpected(sql.error());  // a mistake of the mutator, in every mode
  if (scope && !table) return std::vector<Row>{};
  if (table) searched_->add(*table);
  if (mode_ != WriteMode::serializable) {
    is_aborted_ = true;
    return must_rise(WriteMode::serializable, "a search needs a serializable transaction");
  }
  Parameters parameters;
  for (const SqlParameter& parameter : sql->parameters)
    parameters.push_back(parameter_text(parameter.type, parameter.value));
  if (scope) {
    ScopeSql in_scope = scope_sql(domain_, *table, *scope, parameters.size() + 1);
    sql = query_sql(Dialect::postgres, query, in_scope.condition, catalog_->schema);
    if (!sql) return tl::unexpected(sql.error());
    std::move(in_scope.parameters.begin(), in_scope.parameters.end(), std::back_inserter(parameters));
  }
  const auto found = ask(sql->text, parameters);
  if (!found) return tl::unexpected(found.error());
  std::vector<Row> rows;
  rows.reserve(static_cast<std::size_t>(found->size()));
  for (int row = 0; row < found->size(); ++row) rows.push_back(row_from(*found, row, *query.table));
  return rows;
}

/// What other transactions have found by searching must not change behind their backs.
Result<void> PostgresWriteTransaction::before_write(const TableDef& table) {
  const auto index = domain_.table_index(table.name);
  if (index && domain_.is_membership(*index)) known_grants_.reset();
  if (mode_ == WriteMode::serializable || !index || !searched_->contains(*index)) return {};
  is_aborted_ = true;
  return must_rise(WriteMode::serializable, fmt::format("table \"{}\" is one that mutators search", table.name));
}

/// True: a row was written. A pipelined write is taken to have worked until it is known.
Result<bool> PostgresWriteTransaction::write(const TableDef& table, Statement statement) {
  if (auto raised = before_write(table); !raised) return tl::unexpected(raised.error());
  if (is_pipelined()) {
    statement.rows = 1;
    waiting_.push_back(std::move(statement));
    return true;
  }
  waiting_.push_back(std::move(statement));
  send_waiting();
  const Ticket ticket = sent_.back().first;
  const auto rows = answer(ticket);
  if (!rows) return tl::unexpected(rows.error());
  return rows->affected() > 0;
}

Result<bool> PostgresWriteTransaction::insert(const TableDef& table, const Row& row) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  if (row.size() != table.columns.size())
    return failure(ErrorCode::internal, fmt::format("a row of table \"{}\" has {} values for {} columns", table.name,
                                                    row.size(), table.columns.size()));
  auto parameters = row_parameters(table, row);
  if (!parameters) return tl::unexpected(parameters.error());
  std::string places;
  for (std::size_t i = 0; i < row.size(); ++i) places += fmt::format("{}${}", i > 0 ? ", " : "", i + 1);
  std::string sql = fmt::format("INSERT INTO {} ({}) VALUES ({})", table_name(table), column_list(table), places);
  if (!is_pipelined()) sql += fmt::format(" ON CONFLICT ({}) DO NOTHING", quote_identifier(table.key));
  Statement statement{std::move(sql), *std::move(parameters)};
  if (is_pipelined()) statement.inserts_into = &table;
  return write(table, std::move(statement));
}

Result<bool> PostgresWriteTransaction::update(const TableDef& table, const Value& key,
                                              const std::vector<std::pair<std::size_t, Value>>& changes) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto key_text = key_parameter(table, key);
  if (!key_text) return false;
  std::string assignments;
  Parameters parameters;
  for (const auto& [column, value] : changes) {
    if (column >= table.columns.size())
      return failure(ErrorCode::internal, fmt::format("table \"{}\" has no column number {}", table.name, column));
    const auto* text = std::get_if<std::string>(&value);
    if (text && text->find('\0') != std::string::npos) {
      return failure(ErrorCode::constraint_violated,
                     fmt::format("table \"{}\", column \"{}\": PostgreSQL holds no text with a NUL character",
                                 table.name, table.columns[column].name));
    }
    parameters.push_back(parameter_text(table.columns[column].type, value));
    assignments += fmt::format("{}{} = ${}", assignments.empty() ? "" : ", ",
                               quote_identifier(table.columns[column].name), parameters.size());
  }
  // An update that changes nothing is one all the same: the row gets its version.
  if (assignments.empty()) assignments = fmt::format("{0} = {0}", quote_identifier(table.key));
  parameters.push_back(key_text);
  return write(table, {fmt::format("UPDATE {} SET {} WHERE {}", table_name(table), assignments,
                                   compared(table, table.key_index(), parameters.size())),
                       std::move(parameters)});
}

Result<bool> PostgresWriteTransaction::remove(const TableDef& table, const Value& key) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto key_text = key_parameter(table, key);
  if (!key_text) return false;
  return write(table, {fmt::format("DELETE FROM {} WHERE {}", table_name(table), compared(table, table.key_index(), 1)),
                       {key_text}});
}

Result<std::int64_t> PostgresWriteTransaction::next_number(const TableDef& table, std::string_view number_column,
                                                           std::string_view bucket_column, const Value& bucket) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const std::size_t number_index = table.index_of(number_column), bucket_index = table.index_of(bucket_column);
  if (number_index == TableDef::npos || bucket_index == TableDef::npos)
    return failure(ErrorCode::invalid_args,
                   fmt::format("table \"{}\" has no column \"{}\"", table.name,
                               number_index == TableDef::npos ? number_column : bucket_column));
  const ColumnType number_type = table.columns[number_index].type;
  if (number_type != ColumnType::integer && number_type != ColumnType::bigint)
    return failure(ErrorCode::invalid_args, fmt::format("column \"{}\" of table \"{}\" is {}, not a whole number",
                                                        number_column, table.name, to_string(number_type)));
  const ColumnDef& group_column = table.columns[bucket_index];
  std::string why;
  if (!check_value(ColumnDef{group_column.name, group_column.type, false, std::nullopt}, bucket, &why))
    return failure(
        ErrorCode::invalid_args,
        fmt::format("numbers of table \"{}\" are counted within a group, and the group {}", table.name, why));

  const Parameters counter = {table.name, std::string(number_column), std::string(bucket_column), key_text(bucket)};
  const auto index = domain_.table_index(table.name);
  const bool has_versions = index && (domain_.is_delivered(*index) || domain_.is_membership(*index));
  // Rows may have numbers from elsewhere. Where rows have versions, only those above what earlier looks have settled
  // can have a number above the counter: a look then costs what has changed and not what there is.
  std::string sql = fmt::format("SELECT max({}), count(*) FROM {} WHERE {}", quote_identifier(number_column),
                                table_name(table), compared(table, bucket_index, 1));
  Parameters parameters = {parameter_text(group_column.type, bucket)};
  if (has_versions) {
    sql += fmt::format(
        " AND {} > (SELECT c.through FROM nizhal.counter AS c WHERE c.table_name = $2 AND c.number_column = $3 AND "
        "c.bucket_column = $4 AND c.bucket = $5)",
        postgres_schema::kVersionColumn);
    parameters.insert(parameters.end(), counter.begin(), counter.end());
  }
  send_waiting();
  const Ticket locked = queue(kLockCounter, counter);
  const auto looked = answer(queue(sql, parameters));
  const auto counted = connection_.take(locked);
  if (!looked) return tl::unexpected(looked.error());
  if (!counted) return failed(counted.error());
  std::int64_t last = std::max(counted->integer(0, 0), looked->integer(0, 0));

  std::optional<std::string> through;
  if (has_versions && mode_ != WriteMode::serializable && looked->integer(0, 1) > kRowsLookedAtMax) {
    // The horizon is read first: what it has settled is in the look that follows it. It lies below this transaction,
    // which may still write rows of its version.
    const Ticket settled = queue("SELECT settled FROM nizhal.horizon()", {});
    const auto again = answer(queue(sql, parameters));
    const auto horizon = connection_.take(settled);
    if (!again) return tl::unexpected(again.error());
    if (!horizon) return failed(horizon.error());
    last = std::max(last, again->integer(0, 0));
    through = std::string(horizon->text(0, 0));
  }
  const std::int64_t most = number_type == ColumnType::integer ? std::numeric_limits<std::int32_t>::max()
                                                               : std::numeric_limits<std::int64_t>::max();
  if (last >= most)
    return failure(ErrorCode::invalid_args,
                   fmt::format("column \"{}\" of table \"{}\" has no higher number left", number_column, table.name));
  Parameters count_on = counter;
  count_on.emplace_back(fmt::to_string(last + 1));
  if (through) count_on.push_back(through);
  waiting_.push_back({through ? kCountOnThrough : kCountOn, std::move(count_on), 1});
  return last + 1;
}

// ---- The engine's own tables

Result<std::vector<Grant>> PostgresWriteTransaction::grants(const Actor& actor) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const bool is_known = known_actor_ && same_principal(*known_actor_, actor) && known_actor_->claims == actor.claims;
  if (is_known && known_grants_) return *known_grants_;
  if (!has_memberships(domain_)) return grants_from(*catalog_, actor, Rows());
  const Query query = grants_query(*catalog_, actor, Lock::for_key_share);
  send_waiting();
  const auto rows = answer(query.queue(connection_));
  if (!rows) return tl::unexpected(rows.error());
  auto grants = grants_from(*catalog_, actor, *rows);
  if (is_known) known_grants_ = grants;
  return grants;
}

void PostgresWriteTransaction::remember_clients(const std::vector<std::string>& asked, const Rows& rows) {
  for (const std::string& asked_id : asked) {
    const std::string id = storable_text(asked_id);
    known_clients_[id];
    without_server_ids_.insert(id);
  }
  for (int row = 0; row < rows.size(); ++row) {
    ClientRecord record = client_from(rows, row);
    if (rows.boolean(row, kHasServerIds)) without_server_ids_.erase(record.client_id);
    std::string id = record.client_id;
    known_clients_[std::move(id)] = std::move(record);
  }
}

Result<std::optional<ClientRecord>> PostgresWriteTransaction::client(std::string_view client_id) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto written = std::find_if(clients_.rbegin(), clients_.rend(),
                                    [&](const ClientRecord& client) { return client.client_id == client_id; });
  if (written != clients_.rend()) return std::optional<ClientRecord>(*written);
  const std::string id = storable_text(client_id);
  if (const auto known = known_clients_.find(id); known != known_clients_.end()) return known->second;
  send_waiting();
  const auto rows = answer(queue_clients({id}));
  if (!rows) return tl::unexpected(rows.error());
  remember_clients({id}, *rows);
  return known_clients_[id];
}

Result<void> PostgresWriteTransaction::put_client(const ClientRecord& client) {
  // Whether it is to be inserted or updated.
  if (auto known = this->client(client.client_id); !known) return tl::unexpected(known.error());
  clients_.push_back(client);
  return {};
}

Result<std::optional<MutationRecord>> PostgresWriteTransaction::mutation(std::string_view client_id,
                                                                         MutationId mutation_id) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto written = std::find_if(mutations_.rbegin(), mutations_.rend(), [&](const MutationRecord& record) {
    return record.client_id == client_id && record.mutation_id == mutation_id;
  });
  if (written != mutations_.rend()) return std::optional<MutationRecord>(*written);
  const std::string id = storable_text(client_id);
  const std::uint64_t first = number(mutation_id);
  if (const auto known = known_client_mutations_.find({id, first}); known != known_client_mutations_.end())
    return known->second;
  const auto rows = ask(kReadMutationsOfClient, {id, to_sql(first), to_sql(first + kMutationsAhead)});
  if (!rows) return tl::unexpected(rows.error());
  for (std::uint64_t ahead = first; ahead <= first + kMutationsAhead; ++ahead) known_client_mutations_[{id, ahead}];
  for (int row = 0; row < rows->size(); ++row) {
    MutationRecord record = mutation_from(*rows, row);
    auto& known = known_client_mutations_[{id, number(*record.mutation_id)}];
    if (!known) known = std::move(record);
  }
  return known_client_mutations_[{id, first}];
}

const MutationRecord* PostgresWriteTransaction::written_mutation(const Actor& actor,
                                                                 std::string_view client_mutation_id) const {
  const auto written = std::find_if(mutations_.rbegin(), mutations_.rend(), [&](const MutationRecord& record) {
    return record.client_mutation_id == client_mutation_id && record.user_id == actor.user_id &&
           record.owner_id == actor.owner_id;
  });
  return written == mutations_.rend() ? nullptr : &*written;
}

Result<std::optional<MutationRecord>> PostgresWriteTransaction::mutation(const Actor& actor,
                                                                         std::string_view client_mutation_id) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  if (const MutationRecord* written = written_mutation(actor, client_mutation_id))
    return std::optional<MutationRecord>(*written);
  const std::string id = storable_text(client_mutation_id);
  if (known_actor_ && same_principal(*known_actor_, actor)) {
    if (const auto known = known_mutations_.find(id); known != known_mutations_.end()) return known->second;
  }
  send_waiting();
  const auto rows = answer(queue_mutations(actor, {id}));
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return std::optional<MutationRecord>{};
  return std::optional<MutationRecord>(mutation_from(*rows, 0));
}

Result<std::optional<MutationRecord>> PostgresWriteTransaction::likely_new_mutation(
    const Actor& actor, std::string_view client_mutation_id) {
  if (!is_pipelined()) return mutation(actor, client_mutation_id);
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  if (const MutationRecord* written = written_mutation(actor, client_mutation_id))
    return std::optional<MutationRecord>(*written);
  if (known_actor_ && same_principal(*known_actor_, actor)) {
    const auto known = known_mutations_.find(storable_text(client_mutation_id));
    if (known != known_mutations_.end()) return known->second;
  }
  has_presumed_ = true;
  return std::optional<MutationRecord>{};
}

Result<void> PostgresWriteTransaction::put_mutation(const MutationRecord& record) {
  if (auto usable = check_usable(); !usable) return usable;
  mutations_.push_back(record);
  return {};
}

Result<void> PostgresWriteTransaction::put_audit(const AuditRow& row) {
  if (auto usable = check_usable(); !usable) return usable;
  audit_rows_.push_back(row);
  return {};
}

Result<std::optional<std::string>> PostgresWriteTransaction::server_id(std::string_view client_id,
                                                                       std::string_view table, std::string_view id) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto written = std::find_if(server_ids_.rbegin(), server_ids_.rend(), [&](const ServerId& known) {
    return known.client_id == client_id && known.table == table && known.id == id;
  });
  if (written != server_ids_.rend()) return std::optional<std::string>(written->server_id);
  if (without_server_ids_.contains(client_id)) return std::optional<std::string>{};
  const auto rows = ask(kReadServerId, {storable_text(client_id), storable_text(table), storable_text(id)});
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return std::optional<std::string>{};
  return optional_text(*rows, 0, 0);
}

Result<void> PostgresWriteTransaction::put_server_id(std::string_view client_id, std::string_view table,
                                                     std::string_view id, std::string_view server_id) {
  if (auto usable = check_usable(); !usable) return usable;
  server_ids_.push_back({std::string(client_id), std::string(table), std::string(id), std::string(server_id)});
  return {};
}

}  // namespace

Result<std::unique_ptr<WriteTransaction>> begin_write(std::shared_ptr<const Catalog> catalog,
                                                      std::shared_ptr<SearchedTables> searched, OwnWriters::Entry entry,
                                                      postgres::Pool::Lease lease, Timestamp now,
                                                      const WriteOptions& options) {
  auto transaction = std::make_unique<PostgresWriteTransaction>(std::move(catalog), std::move(searched),
                                                                std::move(entry), std::move(lease), now, options.mode);
  if (auto begun = transaction->begin(options.intent); !begun) return tl::unexpected(begun.error());
  return std::unique_ptr<WriteTransaction>(std::move(transaction));
}

}  // namespace nizhal::storage::pg
