// The engine's own records in a write transaction: grants, clients, outcomes of mutations, audit rows, id maps. What is
// written waits for the commit; what is read was mostly read ahead.
#include <algorithm>

#include "storage/postgres/postgres_write_transaction.hpp"
#include "storage/postgres/record_sql.hpp"
#include "storage/postgres/values.hpp"

namespace nizhal::storage::pg {
namespace {

using postgres::Rows;

/// Who asks for one record will ask for the next ones, too.
constexpr std::uint64_t kMutationsAhead = 99;

}  // namespace

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

}  // namespace nizhal::storage::pg
