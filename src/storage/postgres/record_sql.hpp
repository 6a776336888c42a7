// The engine's own records in SQL: clients, mutations, audit rows and id maps, as a write transaction reads and writes
// them; and rows of any table as one INSERT.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "postgres/connection.hpp"
#include "storage/postgres/statements.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

// Reads. $1: a client id, or an array of them. Columns as client_from reads them, then whether the client has server
// ids.
extern const char* const kReadClient;
extern const char* const kReadClients;
inline constexpr int kHasServerIds = 6;
// Columns as mutation_from reads them. $1: a client mutation id, or an array of them, $2 and $3 the actor; or $1 a
// client id and $2 to $3 the mutation ids, the newest record first.
extern const char* const kReadMutation;
extern const char* const kReadMutations;
extern const char* const kReadMutationsOfClient;
// $1 client id, $2 table, $3 id.
extern const char* const kReadServerId;

MutationRecord mutation_from(const postgres::Rows& rows, int row);

/// A statement with its parameters.
struct RecordStatement {
  std::string sql;
  Parameters parameters;
};

RecordStatement put_client_statement(const ClientRecord& client, bool is_new);
RecordStatement put_server_id_statement(std::string_view client_id, std::string_view table, std::string_view id,
                                        std::string_view server_id);
/// At least one record.
RecordStatement put_mutations_statement(const std::vector<MutationRecord>& records, Version version, Timestamp at);
RecordStatement put_audit_statement(const std::vector<AuditRow>& rows, Version version, Timestamp at);

/// A column of rows that are inserted together. What is `often_shared` by all rows then goes as one value and not as an
/// array of many equal ones.
struct InsertColumn {
  std::string name;  // as SQL
  std::string type;
  bool often_shared = false;
};
/// One row as VALUES, for which PostgreSQL keeps a plan; many from arrays, with one text for any number of them.
RecordStatement insert_statement(std::string_view table, const std::vector<InsertColumn>& columns,
                                 std::vector<Parameters> rows);

/// Texts as one array parameter, each made storable.
std::string array_of(const std::vector<std::string>& texts);

}  // namespace nizhal::storage::pg
