#include "storage/postgres/migration_session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "storage/postgres/live_schema.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

/// An error that the server has reported, not one of ours.
bool is_servers(const Error& error) { return error.message.starts_with("PostgreSQL reports"); }

/// lock_not_available, deadlock_detected, serialization_failure.
bool is_worth_another_try(const Error& error, std::string_view sqlstate) {
  return is_servers(error) && (sqlstate == "55P03" || sqlstate == "40P01" || sqlstate == "40001");
}

}  // namespace

MigrationSession::~MigrationSession() {
  if (!is_the_only_one_ || !connection_.reset()) return;
  static_cast<void>(run(fmt::format("RESET lock_timeout; SELECT pg_catalog.pg_advisory_unlock({})", kMigrationLock)));
}

Result<void> MigrationSession::become_the_only_one() {
  bool has_told = false;
  for (;;) {
    auto taken = query(fmt::format("SELECT pg_catalog.pg_try_advisory_lock({})", kMigrationLock));
    if (!taken) return tl::unexpected(taken.error());
    is_the_only_one_ = taken->boolean(0, 0);
    if (is_the_only_one_) return {};
    if (!has_told) tell("another migration of this database is under way; waiting for it");
    has_told = true;
    // A statement that waited in the lock's queue would hold a snapshot, for which the other's indexes would wait.
    if (auto done = run("SELECT pg_catalog.pg_sleep(0.2)"); !done) return done;
  }
}

Result<void> MigrationSession::in_transaction(std::string_view what, const std::function<Result<void>()>& step) {
  for (int attempt = 1;; ++attempt) {
    Error error;
    {
      // Whatever the database's defaults: steps see what was committed while they waited for their locks.
      auto transaction = Transaction::begin(connection_, "ISOLATION LEVEL READ COMMITTED READ WRITE");
      if (!transaction) return tl::unexpected(explained(what, transaction.error()));
      Result<void> done = run(fmt::format("SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = {}",
                                          tuning_.lock_timeout.count()));
      if (done) done = step();
      if (done) done = transaction->commit();
      if (done) return {};
      error = done.error();
      if (!is_worth_another_try(error, connection_.sqlstate())) return tl::unexpected(explained(what, error));
    }
    if (attempt == tuning_.lock_attempts)
      return failure(ErrorCode::busy,
                     fmt::format("{} could not be locked in {} attempts: long transactions hold it (see "
                                 "pg_stat_activity). What was done stays; run `nizhal migrate` again",
                                 what, attempt));
    if (attempt == 1) tell(fmt::format("{} is in use; trying again until its lock is to be had", what));
    if (auto paused = pause(attempt); !paused) return paused;
  }
}

Result<void> MigrationSession::concurrently(std::string_view what, const std::string& sql) {
  if (auto done = run(fmt::format("SET lock_timeout = {}", tuning_.index_lock_timeout.count())); !done) return done;
  if (auto done = connection_.execute(sql); !done) {
    if (is_worth_another_try(done.error(), connection_.sqlstate()))
      return failure(ErrorCode::busy, fmt::format("{}: older transactions did not end in time (see pg_stat_activity). "
                                                  "What was done stays; run `nizhal migrate` again",
                                                  what));
    return tl::unexpected(explained(what, done.error()));
  }
  return {};
}

Result<void> MigrationSession::run(const std::string& sql) {
  if (auto done = connection_.execute(sql); !done) return tl::unexpected(done.error());
  return {};
}

Result<postgres::Rows> MigrationSession::query(const std::string& sql) { return connection_.execute(sql); }

Error MigrationSession::explained(std::string_view what, const Error& error) const {
  if (!is_servers(error)) return error;
  return Error{error.code, fmt::format("{}: {}", what, connection_.error_text())};
}

Result<void> MigrationSession::pause(int attempt) {
  // Growing, and never the same for two.
  const int most = std::min(50 * attempt, 1'000);
  const auto milliseconds = 10 + random_.next() % static_cast<std::uint64_t>(most);
  return run(fmt::format("SELECT pg_catalog.pg_sleep({}e-3)", milliseconds));
}

}  // namespace nizhal::storage::postgres_schema
