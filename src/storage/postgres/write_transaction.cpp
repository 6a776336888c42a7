#include "storage/postgres/write_transaction.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/merge_triggers.hpp"
#include "storage/postgres/postgres_write_transaction.hpp"
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
constexpr const char* kSavepoint = "SAVEPOINT nizhal_mutation";
constexpr const char* kRelease = "RELEASE SAVEPOINT nizhal_mutation";
constexpr const char* kRollbackTo = "ROLLBACK TO SAVEPOINT nizhal_mutation";
// What a deferred constraint has to say is said while it is known whose write it was.
constexpr const char* kCheckConstraints = "SET CONSTRAINTS ALL IMMEDIATE";
constexpr const char* kDeferConstraints = "SET CONSTRAINTS ALL DEFERRED";

}  // namespace

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
      known_mutations_[std::string(records.text(row, 2))] = mutation_from(records, row);
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
      const Statement& one = waiting_[first];
      while (one.inserts_into && next < end && waiting_[next].inserts_into == one.inserts_into &&
             waiting_[next].with_merge == one.with_merge)
        ++next;
      if (next - first > 1)
        send_inserts(first, next);
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
void PostgresWriteTransaction::send_inserts(std::size_t first, std::size_t end) {
  const TableDef& table = *waiting_[first].inserts_into;
  std::vector<InsertColumn> columns;
  for (const ColumnDef& column : table.columns)
    columns.push_back({quote_identifier(column.name), postgres_type(column.type)});
  if (waiting_[first].with_merge)
    for (const std::string& column : columns_to_merge(table))
      columns.push_back({column, postgres_schema::merge_column_type(column)});
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
  // Where there is an answer, what failed was queued behind it.
  if (!rows) return failed(finished ? rows.error() : finished.error());
  if (!all_worked) {
    is_aborted_ = true;
    return must_rise(WriteMode::careful, "a write that was sent ahead found no row, or its key taken");
  }
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
  const Ticket commit = connection_.queue("COMMIT");
  const auto changes_of_grants = queue_look_at_grants();
  auto committed = answer(commit);
  // Whoever watches the database has to look when the answer is lost: it may have been yes.
  if (!committed) {
    if (!connection_.is_open()) entry_.disown();
    return tl::unexpected(committed.error());
  }
  // Behind a pooler the backend may be somebody else's from here on.
  entry_ = OwnWriters::Entry();
  learn_grants(changes_of_grants);
  return {};
}

/// Behind the COMMIT, whose transaction it is not part of: it sees everything that was committed before, by anybody.
/// Not through a pooler, which hides that the database went, and where no settings hold outside a transaction.
std::optional<PostgresWriteTransaction::Ticket> PostgresWriteTransaction::queue_look_at_grants() {
  if (!has_memberships(domain_) || connection_.is_pooled()) return std::nullopt;
  const auto after = grants_standing_->unsettled_after();
  if (!after) return std::nullopt;
  return queue(kReadGrantChanges, {to_sql(*after)});
}

/// That they could not be read is no failure of the commit.
void PostgresWriteTransaction::learn_grants(const std::optional<Ticket>& changes) {
  if (connection_.is_pooled()) return;
  std::vector<Version> versions;
  if (changes) {
    const auto rows = connection_.take(*changes);
    if (!rows) return;
    for (int row = 0; row < rows->size(); ++row) versions.push_back(version_at(*rows, row, 0));
  } else if (has_memberships(domain_)) {
    return;
  }
  grants_mark_ = grants_standing_->mark(connection_.opened_at(), versions);
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

Result<std::unique_ptr<WriteTransaction>> begin_write(WriteOutside outside, OwnWriters::Entry entry,
                                                      postgres::Pool::Lease lease, Timestamp now,
                                                      const WriteOptions& options) {
  auto transaction = std::make_unique<PostgresWriteTransaction>(std::move(outside), std::move(entry), std::move(lease),
                                                                now, options.mode);
  if (auto begun = transaction->begin(options.intent); !begun) return tl::unexpected(begun.error());
  return std::unique_ptr<WriteTransaction>(std::move(transaction));
}

}  // namespace nizhal::storage::pg