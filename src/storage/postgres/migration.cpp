#include "storage/postgres/migration.hpp"

#include <fmt/format.h>

#include "base/ids.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/table_ddl.hpp"

namespace nizhal::storage {
namespace {

namespace pg = postgres_schema;

/// One migration of a database at a time. A single-key advisory lock, which the two-key ones of versions never meet.
constexpr const char* kMigrationLock = "7923450218736547";

/// Rolls back what is not committed.
class Transaction {
 public:
  static Result<Transaction> begin(postgres::Connection& connection) {
    if (auto done = connection.query("BEGIN"); !done) return tl::unexpected(done.error());
    Transaction transaction(connection);
    if (!connection.transaction_settings().empty())
      if (auto done = connection.query(connection.transaction_settings()); !done) return tl::unexpected(done.error());
    return transaction;
  }
  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  ~Transaction() {
    if (connection_ != nullptr && connection_->is_open() && connection_->in_transaction())
      static_cast<void>(connection_->query("ROLLBACK"));
  }
  Result<void> commit() {
    if (auto done = connection_->query("COMMIT"); !done) return tl::unexpected(done.error());
    connection_ = nullptr;
    return {};
  }

 private:
  explicit Transaction(postgres::Connection& connection) : connection_(&connection) {}
  postgres::Connection* connection_;
};

}  // namespace

Result<ProvisionReport> provision_database(postgres::Connection& connection, const CompiledDomain& domain,
                                           Random& random, const Log& log) {
  auto transaction = Transaction::begin(connection);
  if (!transaction) return tl::unexpected(transaction.error());
  if (auto done = connection.query(fmt::format("SELECT pg_advisory_xact_lock({})", kMigrationLock)); !done)
    return tl::unexpected(done.error());
  std::string names;
  for (const auto& table : domain.tables())
    names += (names.empty() ? "" : ", ") + pg::text_literal(table->name) + "::name";
  auto found = connection.query(fmt::format(
      "SELECT current_schema(), to_regnamespace('nizhal') IS NOT NULL, (SELECT count(*) FROM pg_catalog.pg_class AS c "
      "WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relname = ANY (ARRAY[{}]::name[]))",
      names));
  if (!found) return tl::unexpected(found.error());
  if (found->is_null(0, 0))
    return failure(ErrorCode::schema_mismatch,
                   "the search path of this database's user names no schema that exists; create one, or set "
                   "search_path for the user");
  const bool is_empty = !found->boolean(0, 1) && found->integer(0, 2) == 0;
  ProvisionReport report;
  if (!is_empty) return report;
  std::string script;
  const std::string epoch = pg::text_literal(random_uuid(random));
  for (const std::string& sql : pg::create_all(domain, found->text(0, 0), epoch)) script += sql + ";\n";
  if (auto done = connection.execute(script); !done) return tl::unexpected(done.error());
  if (auto done = transaction->commit(); !done) return tl::unexpected(done.error());
  log.info("storage", fmt::format("created the tables of the domain \"{}\"", domain.domain().name()));
  report.created = true;
  return report;
}

}  // namespace nizhal::storage
