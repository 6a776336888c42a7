#include "storage/sqlite/sqlite_storage.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <mutex>

#include "base/ids.hpp"
#include "storage/sqlite/changes.hpp"
#include "storage/sqlite/connections.hpp"
#include "storage/sqlite/gc.hpp"
#include "storage/sqlite/provision.hpp"
#include "storage/sqlite/reads.hpp"
#include "storage/sqlite/snapshot.hpp"
#include "storage/sqlite/write_transaction.hpp"

namespace nizhal::storage {
namespace {

class SqliteStorage : public Storage {
 public:
  SqliteStorage(const SqliteStorageOptions& options, std::shared_ptr<const CompiledDomain> domain, Random& random,
                Log log, std::unique_ptr<sqlite::Connection> writing)
      : path_(options.path),
        random_(random),
        log_(std::move(log)),
        catalog_(std::make_shared<const Catalog>(std::move(domain))),
        writer_(std::make_shared<Writer>(std::move(writing), std::chrono::milliseconds(options.lock_timeout_ms))),
        readers_(std::make_shared<ReaderPool>(options.path, options.readers_max,
                                              std::chrono::milliseconds(options.lock_timeout_ms))) {}

  Result<ProvisionReport> provision() override {
    auto turn = Writer::take_turn(writer_);
    if (!turn) return tl::unexpected(turn.error());
    return provision_database(turn->connection(), *catalog_->domain, random_, log_);
  }

  Result<Position> position() override {
    auto reader = ReaderPool::borrow(readers_);
    if (!reader) return tl::unexpected(reader.error());
    return read_position(reader->connection());
  }

  Result<std::unique_ptr<Snapshot>> open_snapshot(const std::optional<Position>& /*settled*/) override {
    // With one writer, whatever the snapshot sees is settled.
    auto reader = ReaderPool::borrow(readers_);
    if (!reader) return tl::unexpected(reader.error());
    return storage::open_snapshot(catalog_, *std::move(reader));
  }

  Result<std::optional<RecentChanges>> changes_since(const Position& /*settled*/, const ChangesQuery& query) override {
    auto reader = ReaderPool::borrow(readers_);
    if (!reader) return tl::unexpected(reader.error());
    auto changes = read_changes(reader->connection(), *catalog_, query);
    if (!changes) return tl::unexpected(changes.error());
    return std::optional(*std::move(changes));
  }

  Result<std::unique_ptr<WriteTransaction>> begin_write(Timestamp now, const WriteOptions& options) override {
    auto turn = Writer::take_turn(writer_);
    if (!turn) return tl::unexpected(turn.error());
    return storage::begin_write(catalog_, *std::move(turn), now, options.mode);
  }

  Result<ChangeMark> change_mark() override {
    const std::lock_guard lock(mark_mutex_);
    if (!mark_connection_) {
      auto opened = sqlite::Connection::open(path_, {.read_only = true, .create = false});
      if (!opened) return tl::unexpected(opened.error());
      mark_connection_ = *std::move(opened);
    }
    auto statement = mark_connection_->prepare("SELECT version, grants_version FROM nizhal_state");
    if (!statement) return tl::unexpected(statement.error());
    const auto row = statement->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return failure(ErrorCode::corrupt, "the table nizhal_state is empty; restore a backup of the file");
    ChangeMark mark;
    mark.last = version_at(*statement, 0);
    mark.settled = mark.last;  // one writer
    mark.grants = number(version_at(*statement, 1));
    // Every commit takes one version, ours are counted, and what is left is others'. One of ours may be counted just
    // before or after the version is read: a look too many.
    mark.foreign = number(mark.last) - writer_->commits();
    return mark;
  }

  Result<GcReport> gc(Timestamp before) override { return collect_garbage(writer_, *catalog_->domain, before); }

  Result<std::string> rotate_epoch() override {
    auto turn = Writer::take_turn(writer_);
    if (!turn) return tl::unexpected(turn.error());
    std::string epoch = random_uuid(random_);
    // It counts as a commit, so that whoever looks for changes sees it.
    auto statement = turn->connection().prepare("UPDATE nizhal_state SET epoch = ?1, version = version + 1");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind_text(1, epoch);
    if (auto done = statement->run(); !done) return tl::unexpected(done.error());
    return epoch;
  }

  Result<void> run_script(std::string_view sql) override {
    auto turn = Writer::take_turn(writer_);
    if (!turn) return tl::unexpected(turn.error());
    auto transaction = sqlite::Transaction::begin(turn->connection(), sqlite::Transaction::Mode::immediate);
    if (!transaction) return tl::unexpected(transaction.error());
    // A script that ended the transaction would keep the half of it that has run.
    bool ends_transaction = false;
    sqlite3_set_authorizer(
        turn->connection().handle(),
        [](void* ends, int action, const char*, const char*, const char*, const char*) {
          if (action != SQLITE_TRANSACTION) return SQLITE_OK;
          *static_cast<bool*>(ends) = true;
          return SQLITE_DENY;
        },
        &ends_transaction);
    auto done = turn->connection().execute(std::string(sql));
    sqlite3_set_authorizer(turn->connection().handle(), nullptr, nullptr);
    if (ends_transaction)
      return failure(ErrorCode::usage,
                     "the script has a BEGIN, COMMIT or ROLLBACK of its own and nothing of it was kept; it runs in one "
                     "transaction, leave them out");
    if (!done) {
      // What SQLite calls an error of its caller is here one of whoever wrote the script.
      const ErrorCode code = done.error().code;
      const bool is_scripts = code == ErrorCode::internal || code == ErrorCode::constraint_violated;
      return failure(is_scripts ? ErrorCode::usage : code,
                     fmt::format("the script failed and nothing of it was kept: {}", done.error().message));
    }
    return transaction->commit();
  }

  /// Reads of an embedded file are short; what takes long is many writes in a row.
  void interrupt() override { writer_->interrupt(); }

  std::string describe() const override { return "sqlite:" + path_; }

 private:
  const std::string path_;
  Random& random_;
  const Log log_;
  const std::shared_ptr<const Catalog> catalog_;
  const std::shared_ptr<Writer> writer_;
  const std::shared_ptr<ReaderPool> readers_;
  std::mutex mark_mutex_;
  std::unique_ptr<sqlite::Connection> mark_connection_;
};

}  // namespace

Result<std::unique_ptr<Storage>> open_sqlite_storage(SqliteStorageOptions options,
                                                     std::shared_ptr<const CompiledDomain> domain, Random& random,
                                                     Log log) {
  if (options.path.empty() || options.path == ":memory:")
    return failure(ErrorCode::usage, "a server's database must be a file: several connections read and write it");
  sqlite::OpenOptions writing;
  writing.busy_timeout_ms = options.lock_timeout_ms;
  auto connection = sqlite::Connection::open(options.path, writing);
  if (!connection) return tl::unexpected(connection.error());
  return std::unique_ptr<Storage>(
      std::make_unique<SqliteStorage>(options, std::move(domain), random, std::move(log), *std::move(connection)));
}

}  // namespace nizhal::storage
