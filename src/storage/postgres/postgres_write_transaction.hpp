// The transaction's class, shared by the files that implement it: write_transaction.cpp (begin, savepoints, commit, and
// what waits to be sent), write_rows.cpp (the domain's rows) and write_records.cpp (the engine's own records).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "query/to_sql.hpp"
#include "storage/postgres/record_sql.hpp"
#include "storage/postgres/values.hpp"
#include "storage/postgres/write_transaction.hpp"

namespace nizhal::storage::pg {

class PostgresWriteTransaction : public WriteTransaction {
  using Rows = postgres::Rows;
  using Ticket = postgres::Connection::Ticket;

 public:
  PostgresWriteTransaction(WriteOutside outside, OwnWriters::Entry entry, postgres::Pool::Lease lease, Timestamp now,
                           WriteMode mode)
      : catalog_(std::move(outside.catalog)),
        domain_(*catalog_->domain),
        searched_(std::move(outside.searched)),
        grants_standing_(std::move(outside.grants)),
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
  std::optional<std::uint64_t> grants_mark() const override { return grants_mark_; }

 private:
  struct ServerId {
    std::string client_id, table, id, server_id;
  };
  struct Statement {
    std::string sql;
    Parameters parameters;
    std::uint64_t rows = 0;  // that it must affect; that it did not is found out when it is answered. 0: any
    const TableDef* inserts_into = nullptr;  // one row, of which the parameters are the columns
    bool with_merge = false;                 // and those that are kept to merge
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
  void send_inserts(std::size_t first, std::size_t end);
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
  Result<bool> write_new(const TableDef& table, const Row& row, const MergeState* merge);
  Result<bool> write_changes(const TableDef& table, const Value& key,
                             const std::vector<std::pair<std::size_t, Value>>& changes, const MergeState* merge);
  std::vector<std::string> columns_to_merge(const TableDef& table) const;
  Result<void> check_usable() const;
  tl::unexpected<Error> failed(Error error);
  tl::unexpected<Error> must_rise(WriteMode mode, std::string why);
  Result<Parameters> row_parameters(const TableDef& table, const Row& row) const;
  std::optional<std::string> key_parameter(const TableDef& table, const Value& key) const;
  Result<void> before_write(const TableDef& table);

  const MutationRecord* written_mutation(const Actor& actor, std::string_view client_mutation_id) const;
  void remember_clients(const std::vector<std::string>& asked, const Rows& rows);
  void queue_records();
  std::optional<Ticket> queue_look_at_grants();
  void learn_grants(const std::optional<Ticket>& changes);

  std::shared_ptr<const Catalog> catalog_;
  const CompiledDomain& domain_;
  std::shared_ptr<SearchedTables> searched_;
  std::shared_ptr<const GrantsStanding> grants_standing_;
  OwnWriters::Entry entry_;  // outlives the lease
  postgres::Pool::Lease lease_;
  postgres::Connection& connection_;
  Version version_{};
  Timestamp now_;
  WriteMode mode_, retry_mode_;
  bool is_aborted_ = false;  // only a rollback to a savepoint works, or none at all
  bool is_over_ = false;
  std::optional<std::uint64_t> grants_mark_;  // after the commit

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

}  // namespace nizhal::storage::pg
