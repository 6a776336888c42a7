#include "storage/postgres/postgres_storage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/ids.hpp"
#include "postgres/connection.hpp"
#include "postgres/pool.hpp"
#include "storage/postgres/changes.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/gc.hpp"
#include "storage/postgres/grants_standing.hpp"
#include "storage/postgres/horizon.hpp"
#include "storage/postgres/migration.hpp"
#include "storage/postgres/own_writers.hpp"
#include "storage/postgres/reads.hpp"
#include "storage/postgres/replica.hpp"
#include "storage/postgres/snapshot.hpp"
#include "storage/postgres/watcher.hpp"
#include "storage/postgres/write_transaction.hpp"

namespace nizhal::storage {
namespace {

constexpr int kServerVersionMin = 130'000;

postgres::ConnectOptions connect_options(const PostgresStorageOptions& options) {
  postgres::ConnectOptions connect;
  connect.url = options.url;
  connect.connect_timeout = options.connect_timeout;
  connect.statement_timeout = options.statement_timeout;
  connect.lock_timeout = options.lock_timeout;
  connect.transaction_pooler = options.transaction_pooler;
  return connect;
}

/// For reads that take less than a millisecond, and that everybody waits for.
constexpr std::chrono::milliseconds kQuickTimeout{2'000};
postgres::ConnectOptions quick(postgres::ConnectOptions connect) {
  connect.statement_timeout = std::min(connect.statement_timeout, kQuickTimeout);
  connect.lock_timeout = std::min(connect.lock_timeout, kQuickTimeout);
  return connect;
}

/// The watcher must notice when the database goes, which a pooler hides.
postgres::ConnectOptions watcher_options(const PostgresStorageOptions& options) {
  postgres::ConnectOptions connect = quick(connect_options(options));
  if (options.listen_url.empty()) return connect;
  connect.url = options.listen_url;
  connect.transaction_pooler = false;
  return connect;
}

postgres::PoolOptions pool_options(const PostgresStorageOptions& options) {
  postgres::PoolOptions pool;
  pool.connect = connect_options(options);
  pool.connections_max = options.connections_max;
  return pool;
}

postgres::ConnectOptions replica_options(const PostgresStorageOptions& options) {
  postgres::ConnectOptions connect = connect_options(options);
  connect.url = options.read_url;
  connect.standby = true;
  // Others' pulls must not wait long for a replica that does not answer.
  connect.connect_timeout = std::min(connect.connect_timeout, std::chrono::milliseconds(1'000));
  return connect;
}

/// Scripts and migrations take their time.
postgres::ConnectOptions patient(postgres::ConnectOptions connect) {
  connect.statement_timeout = std::chrono::milliseconds(0);
  return connect;
}

class PostgresStorage : public Storage {
 public:
  PostgresStorage(PostgresStorageOptions options, std::shared_ptr<const CompiledDomain> domain, std::string schema,
                  Random& random, Log log)
      : options_(std::move(options)),
        random_(random),
        log_(std::move(log)),
        catalog_(std::make_shared<const pg::Catalog>(std::move(domain), std::move(schema))),
        searched_(std::make_shared<pg::SearchedTables>(catalog_->domain->tables().size())),
        own_writers_(std::make_shared<pg::OwnWriters>()),
        grants_standing_(std::make_shared<pg::GrantsStanding>()),
        pool_(postgres::Pool::create(pool_options(options_))),
        changes_(connect_options(options_), catalog_),
        horizon_({.connect = quick(connect_options(options_))}, log_),
        watcher_(watcher_options(options_), own_writers_, grants_standing_) {
    if (options_.read_url.empty()) return;
    pg::ReplicaOptions replica;
    replica.pool = pool_options(options_);
    replica.pool.connect = replica_options(options_);
    replica_ = std::make_shared<pg::Replica>(std::move(replica), catalog_, pool_, log_);
  }

  Result<ProvisionReport> provision() override {
    auto connection = postgres::Connection::connect(patient(connect_options(options_)));
    if (!connection) return tl::unexpected(connection.error());
    return provision_database(**connection, *catalog_->domain, random_, log_);
  }

  Result<Position> position() override {
    if (stopping_) return is_stopping();
    return horizon_.read();
  }

  Result<std::unique_ptr<Snapshot>> open_snapshot(const std::optional<Position>& settled) override {
    if (stopping_) return is_stopping();
    if (settled) return pg::open_snapshot(catalog_, pool_, *settled);
    const auto position = horizon_.read();
    if (!position) return tl::unexpected(position.error());
    return pg::open_snapshot(catalog_, pool_, *position);
  }

  Result<std::unique_ptr<Snapshot>> open_backfill_snapshot(const std::optional<Position>& settled) override {
    if (stopping_) return is_stopping();
    if (!replica_) return open_snapshot(settled);
    const auto position = settled ? Result<Position>(*settled) : horizon_.read();
    if (!position) return tl::unexpected(position.error());
    if (auto snapshot = replica_->open_snapshot(*position)) return snapshot;
    return open_snapshot(*position);
  }

  Result<std::optional<RecentChanges>> changes_since(const Position& settled, const ChangesQuery& query) override {
    if (stopping_) return is_stopping();
    auto changes = changes_.read(settled, query);
    if (!changes) return tl::unexpected(changes.error());
    return std::optional(*std::move(changes));
  }

  Result<std::unique_ptr<WriteTransaction>> begin_write(Timestamp now, const WriteOptions& options) override {
    if (stopping_) return is_stopping();
    pg::OwnWriters::Entry entry = own_writers_->begin();
    postgres::Deadline deadline;
    if (options.time_max.count() > 0) deadline = std::chrono::steady_clock::now() + options.time_max;
    auto lease = pool_->borrow(deadline);
    if (!lease) return tl::unexpected(lease.error());
    return pg::begin_write({catalog_, searched_, grants_standing_}, std::move(entry), *std::move(lease), now, options);
  }

  Result<ChangeMark> change_mark() override {
    if (stopping_) return is_stopping();
    return watcher_.look();
  }

  Result<GcReport> gc(Timestamp before) override {
    if (stopping_) return is_stopping();
    return pg::collect_garbage(pool_, *catalog_, horizon_, own_writers_, before, stopping_);
  }

  Result<std::string> rotate_epoch() override {
    auto lease = pool_->borrow();
    if (!lease) return tl::unexpected(lease.error());
    const pg::Parameters parameters{random_uuid(random_)};
    const auto done = (*lease)->query("UPDATE nizhal.state SET epoch = $1", postgres::parameters_of(parameters));
    if (!done) return tl::unexpected(done.error());
    // What devices are told is made of the stored epoch and of the cluster's identity.
    const auto position = horizon_.read();
    if (!position) return tl::unexpected(position.error());
    return position->epoch;
  }

  Result<void> run_script(std::string_view sql) override;

  void interrupt() override {
    stopping_ = true;
    pool_->cancel_all();
    if (replica_) replica_->cancel();
    changes_.cancel();
    horizon_.cancel();
    watcher_.cancel();
  }

  std::string describe() const override { return postgres::describe_url(options_.url); }

 private:
  static tl::unexpected<Error> is_stopping() { return failure(ErrorCode::busy, "the server is stopping"); }

  const PostgresStorageOptions options_;
  Random& random_;
  const Log log_;
  const std::shared_ptr<const pg::Catalog> catalog_;
  const std::shared_ptr<pg::SearchedTables> searched_;
  const std::shared_ptr<pg::OwnWriters> own_writers_;
  const std::shared_ptr<pg::GrantsStanding> grants_standing_;
  const std::shared_ptr<postgres::Pool> pool_;
  std::shared_ptr<pg::Replica> replica_;  // null: there is none
  pg::ChangesReader changes_;
  pg::Horizon horizon_;
  pg::Watcher watcher_;
  std::atomic<bool> stopping_{false};
};

Result<void> PostgresStorage::run_script(std::string_view sql) {
  // A connection of its own: the script may change the session's settings.
  auto connected = postgres::Connection::connect(patient(connect_options(options_)));
  if (!connected) return tl::unexpected(connected.error());
  postgres::Connection& connection = **connected;
  connection.queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
  if (!connection.transaction_settings().empty()) connection.queue(connection.transaction_settings());
  if (auto begun = connection.finish(); !begun) return tl::unexpected(begun.error());
  // Where EXECUTE runs it, it cannot end the transaction. Each of its statements sees what those before it have made.
  const std::string block =
      fmt::format("DO {}", postgres_schema::dollar_quoted(
                               fmt::format("BEGIN EXECUTE {}; END", postgres_schema::dollar_quoted(std::string(sql)))));
  Result<void> done;
  if (auto run = connection.execute(block); !run) done = tl::unexpected(run.error());
  if (done)
    if (auto committed = connection.query("COMMIT"); !committed) done = tl::unexpected(committed.error());
  if (done) return {};
  const std::string& state = connection.sqlstate();
  if (state == "0A000" || state == "2D000")
    return failure(ErrorCode::usage,
                   "the script ends the transaction that it runs in, and nothing of it was kept; leave out BEGIN, "
                   "COMMIT and ROLLBACK");
  const ErrorCode code = done.error().code;
  const bool is_scripts = code != ErrorCode::busy && code != ErrorCode::disk_full;
  // Whoever wrote the script may read what the server says about it.
  return failure(is_scripts ? ErrorCode::usage : code,
                 fmt::format("the script failed and nothing of it was kept: {}",
                             connection.error_text().empty() ? done.error().message : connection.error_text()));
}

}  // namespace

Result<std::unique_ptr<Storage>> open_postgres_storage(PostgresStorageOptions options,
                                                       std::shared_ptr<const CompiledDomain> domain, Random& random,
                                                       Log log) {
  const std::string where = postgres::describe_url(options.url);
  auto connection = postgres::Connection::connect(connect_options(options));
  if (!connection) return tl::unexpected(connection.error());
  if ((*connection)->server_version() < kServerVersionMin)
    return failure(ErrorCode::usage, fmt::format("{} is PostgreSQL {}; it must be 13 or newer", where,
                                                 (*connection)->server_version() / 10'000));
  const auto about = (*connection)->query("SELECT coalesce(current_schema(), ''), current_setting('server_encoding')");
  if (!about) return tl::unexpected(about.error());
  std::string schema(about->text(0, 0));
  if (schema.empty())
    return failure(ErrorCode::usage,
                   fmt::format("the search_path at {} names no schema that exists: create it, or set the role's "
                               "search_path to where the synced tables are",
                               where));
  if (about->text(0, 1) != "UTF8")
    return failure(ErrorCode::usage,
                   fmt::format("the database at {} is encoded in {}; create one with UTF8", where, about->text(0, 1)));
  if (!options.read_url.empty())
    if (auto checked = pg::check_replica(replica_options(options), **connection, log); !checked)
      return tl::unexpected(checked.error());
  connection->reset();
  return std::unique_ptr<Storage>(std::make_unique<PostgresStorage>(std::move(options), std::move(domain),
                                                                    std::move(schema), random, std::move(log)));
}

}  // namespace nizhal::storage
