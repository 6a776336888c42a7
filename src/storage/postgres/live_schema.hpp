// What a live database has of the plan, read from the catalogs in one snapshot: the engine's schema, the domain's
// tables and what the last migration noted about them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>

#include "domain/compiled_domain.hpp"
#include "postgres/connection.hpp"

namespace nizhal::storage::postgres_schema {

struct LiveColumn {
  std::string name;
  std::string type;  // format_type()
  bool not_null = false;
  bool has_default = false;
  bool is_generated = false;     // or an identity
  bool by_bytes = false;         // collation "C"
  bool is_deterministic = true;  // of its collation
};

struct LiveIndex {
  std::string name;
  std::string method;
  std::vector<std::string> columns;  // an expression is an empty name
  std::vector<bool> by_bytes;
  bool is_unique = false;
  bool is_valid = false;  // and ready
  bool is_plain = false;  // no predicate, no expression, ascending, checked at once, nothing included
};

struct LiveTrigger {
  std::string name;
  std::string function;  // in the schema `nizhal`; empty for another's
  int type = 0;
  bool is_plain = false;    // enabled as usual, without condition, arguments, columns or deferral
  bool is_enabled = false;  // fires in ordinary sessions
};

struct LiveTable {
  std::uint64_t oid = 0;
  char kind = 'r';            // pg_class.relkind
  char persistence = 'p';     // pg_class.relpersistence
  bool is_inherited = false;  // has a parent or children
  bool hides_rows = false;    // row security holds for this role
  bool has_rows = false;      // synced tables only
  std::vector<LiveColumn> columns;
  std::vector<LiveIndex> indexes;
  std::vector<LiveTrigger> triggers;
  const LiveColumn* column(std::string_view name) const;
  const LiveIndex* index(std::string_view name) const;
};

struct LiveFunction {
  std::string language;
  std::string body;
  bool security_definer = false;
  std::string settings;  // comma-separated
};

/// A row of nizhal.synced_table. Columns: type and whether null is allowed.
struct RecordedTable {
  std::vector<std::pair<std::string, std::string>> columns;  // name → "integer null"
  bool delivered = false, was_delivered = false, ready = false;
  std::string triggers;
  std::vector<std::string> definitions;
  const std::string* column(std::string_view name) const;
};

struct LiveSequence {
  std::string settings;  // "bigint 1 1 9223372036854775807 1 f": type, increment, least, greatest, cache, cycle
  std::int64_t last_value = 0;
  bool is_used = false;
};

struct LiveSchema {
  std::string schema;    // where synced tables are
  std::string encoding;  // of the database
  bool has_engine_schema = false;
  bool has_state = false;
  std::string domain, epoch, min_client_version;
  std::int64_t format = 0;
  std::int64_t greatest_version = 0;  // that some record of the engine carries
  std::optional<LiveSequence> sequence;
  std::map<std::string, LiveTable> engine_tables;
  std::map<std::string, LiveFunction> functions;  // in the schema `nizhal`
  std::map<std::string, LiveTable> tables;        // of the domain, and those recorded
  std::map<std::string, RecordedTable> recorded;
  std::vector<std::string> elsewhere;  // "schema.table" with triggers of the engine in another schema
};

/// Reads in a transaction of its own; nothing is changed.
Result<LiveSchema> read_live_schema(postgres::Connection& connection, const CompiledDomain& domain);

/// Rolls back what is not committed when it goes.
class Transaction {
 public:
  /// `modes`: as in BEGIN, e.g. "ISOLATION LEVEL REPEATABLE READ READ ONLY".
  static Result<Transaction> begin(postgres::Connection& connection, std::string_view modes = {});
  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(postgres::Connection& connection) : connection_(&connection) {}
  postgres::Connection* connection_;
};

}  // namespace nizhal::storage::postgres_schema
