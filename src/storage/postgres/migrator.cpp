// The door of migrations: connects when it is first asked for the live database.
#include <memory>
#include <utility>

#include "postgres/connection.hpp"
#include "storage/postgres/migration.hpp"
#include "storage/postgres/postgres_storage.hpp"
#include "storage/postgres/table_ddl.hpp"

namespace nizhal::storage {
namespace {

class PostgresMigrator : public Migrator {
 public:
  PostgresMigrator(PostgresStorageOptions options, std::shared_ptr<const CompiledDomain> domain, Random& random,
                   Log log)
      : options_(std::move(options)), domain_(std::move(domain)), random_(random), log_(std::move(log)) {}

  std::string plan() const override { return postgres_schema::plan_text(*domain_); }

  Result<std::vector<Difference>> check() override {
    auto connection = connect();
    if (!connection) return tl::unexpected(connection.error());
    return check_database(**connection, *domain_);
  }

  Result<MigrateReport> apply(const MigrateOptions& options) override {
    auto connection = connect();
    if (!connection) return tl::unexpected(connection.error());
    return migrate_database(**connection, *domain_, random_, log_, options);
  }

  Result<void> reset() override {
    auto connection = connect();
    if (!connection) return tl::unexpected(connection.error());
    return reset_database(**connection, *domain_, random_);
  }

 private:
  /// A connection per call: what it holds, such as being the only migration, ends with it.
  Result<std::unique_ptr<postgres::Connection>> connect() const {
    const bool has_direct = !options_.listen_url.empty();
    if (options_.transaction_pooler && !has_direct)
      return failure(ErrorCode::usage,
                     "migrations need a connection of their own, which a pooler in transaction mode does not give: "
                     "name a direct URL with --listen-db, or leave out --pooler");
    postgres::ConnectOptions options;
    options.url = has_direct ? options_.listen_url : options_.url;
    options.connect_timeout = options_.connect_timeout;
    options.statement_timeout = std::chrono::milliseconds(0);  // an index of a large table takes its time
    options.lock_timeout = options_.lock_timeout;
    return postgres::Connection::connect(options);
  }

  const PostgresStorageOptions options_;
  const std::shared_ptr<const CompiledDomain> domain_;
  Random& random_;
  const Log log_;
};

}  // namespace

std::unique_ptr<Migrator> postgres_migrator(PostgresStorageOptions options,
                                            std::shared_ptr<const CompiledDomain> domain, Random& random, Log log) {
  return std::make_unique<PostgresMigrator>(std::move(options), std::move(domain), random, std::move(log));
}

}  // namespace nizhal::storage
