#include "storage/postgres/horizon.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace nizhal::storage::pg {

const char* const kStandingSql =
    "SELECT last_version, settled, durable, epoch, pruned_through, min_client_version, "
    "array_to_string(writers, ',') FROM nizhal.horizon()";

namespace {

/// Commits a transaction that has written nothing but a message to the log, and waits until that is on this server's
/// disk. Not for its standbys: a promoted one begins a new epoch.
constexpr const char* kFlush =
    "SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'nizhal', ''::text)";

constexpr const char* kDescribeBackend =
    "SELECT to_char(coalesce(xact_start, backend_start), 'YYYY-MM-DD HH24:MI:SSOF'), "
    "coalesce(nullif(application_name, ''), 'an unnamed program'), coalesce(usename, '?') "
    "FROM pg_stat_activity WHERE pid = $1::integer";
// A prepared transaction has no backend, but holds the lock of its own number.
constexpr const char* kDescribePrepared =
    "SELECT to_char(p.prepared, 'YYYY-MM-DD HH24:MI:SSOF'), p.gid, p.owner FROM pg_prepared_xacts AS p JOIN pg_locks "
    "AS l ON l.locktype = 'transactionid' AND l.transactionid = p.transaction AND l.pid IS NULL "
    "WHERE l.virtualtransaction = $1";

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    parts.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return parts;
}

Version version_of(std::int64_t number) {
  return Version{static_cast<std::uint64_t>(std::max<std::int64_t>(number, 0))};
}

}  // namespace

Standing standing_from(const postgres::Rows& rows) {
  Standing standing;
  standing.last = version_of(rows.integer(0, 0));
  // Nothing settled, rather than too much, should the function ever answer less than it promises.
  standing.settled = std::min(version_of(rows.integer(0, 1)), standing.last);
  standing.durable = rows.boolean(0, 2);
  standing.epoch = std::string(rows.text(0, 3));
  standing.pruned_through = version_of(rows.integer(0, 4));
  standing.min_client_version = std::string(rows.text(0, 5));
  standing.writers = split(rows.text(0, 6));
  return standing;
}

Result<Position> Horizon::read() {
  const auto until = std::chrono::steady_clock::now() + options_.wait_max;
  std::unique_lock lock(mutex_);
  // The read under way, if any, began too early; the one after it will do.
  const std::uint64_t wanted = begun_ + 1;
  ++waiting_;
  const bool in_time = finished_one_.wait_until(lock, until, [&] { return !is_reading_ || finished_ >= wanted; });
  --waiting_;
  if (!in_time) return failure(ErrorCode::busy, "the database did not say in time how far it is");
  if (finished_ >= wanted) return newest_;
  is_reading_ = true;
  const std::uint64_t mine = ++begun_;
  lock.unlock();
  auto position = read_database();
  lock.lock();
  is_reading_ = false;
  finished_ = mine;
  newest_ = position;
  finished_one_.notify_all();
  return position;
}

std::uint64_t Horizon::reads() const {
  const std::lock_guard lock(mutex_);
  return begun_;
}

std::size_t Horizon::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

void Horizon::cancel() {
  std::shared_ptr<postgres::Connection> connection;
  {
    const std::lock_guard lock(connection_mutex_);
    connection = connection_;
  }
  if (connection) connection->cancel();
}

Result<std::shared_ptr<postgres::Connection>> Horizon::connection(bool& is_new) {
  {
    const std::lock_guard lock(connection_mutex_);
    is_new = !connection_;
    if (connection_) return connection_;
  }
  auto opened = postgres::Connection::connect(options_.connect);
  if (!opened) return tl::unexpected(opened.error());
  const std::lock_guard lock(connection_mutex_);
  connection_ = *std::move(opened);
  return connection_;
}

void Horizon::drop_connection() {
  const std::lock_guard lock(connection_mutex_);
  connection_.reset();
}

Result<Standing> Horizon::ask() {
  for (;;) {
    bool is_new = false;
    auto connected = connection(is_new);
    if (!connected) return tl::unexpected(connected.error());
    postgres::Connection& connection = **connected;
    const auto rows = connection.query(kStandingSql);
    if (rows && rows->size() == 1) {
      Standing standing = standing_from(*rows);
      report_old_bounds(connection, standing);
      return standing;
    }
    // A connection that has lain idle may have died long ago; a fresh one says what is the matter.
    const bool has_died = !connection.is_open();
    if (has_died) drop_connection();
    if (has_died && !is_new) continue;
    if (rows) return failure(ErrorCode::schema_mismatch, "nizhal.state has no row; run `nizhal migrate`");
    return tl::unexpected(rows.error());
  }
}

Result<Position> Horizon::read_database() {
  auto standing = ask();
  if (!standing) return tl::unexpected(standing.error());
  if (standing->epoch != epoch_ || standing->last < durable_) {
    epoch_ = standing->epoch;
    durable_ = settled_ = Version{};
  }
  if (!standing->durable && standing->last > durable_) {
    bool is_new = false;
    auto connected = connection(is_new);
    if (!connected) return tl::unexpected(connected.error());
    // On another connection than the one that was asked, the database may have crashed in between.
    if (is_new) return failure(ErrorCode::busy, "the connection to the database broke");
    if (auto flushed = (*connected)->query(kFlush); !flushed) {
      if (!(*connected)->is_open()) drop_connection();
      return tl::unexpected(flushed.error());
    }
  }
  durable_ = std::max(durable_, standing->last);
  // Whoever publishes a bound late publishes a low one, though it takes a version above all that is settled. And only
  // what was settled is ever pruned.
  settled_ = std::min(std::max({settled_, standing->settled, standing->pruned_through}), standing->last);
  return Position{std::move(standing->epoch), settled_, standing->last, standing->pruned_through};
}

void Horizon::report_old_bounds(postgres::Connection& connection, const Standing& standing) {
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(holders_, [&](const auto& entry) {
    return std::find(standing.writers.begin(), standing.writers.end(), entry.first) == standing.writers.end();
  });
  for (const std::string& writer : standing.writers) {
    Holder& holder = holders_.try_emplace(writer, Holder{now}).first->second;
    if (holder.reported || now - holder.since < options_.report_after) continue;
    holder.reported = true;
    const std::string_view text = writer;
    const std::size_t colon = text.find(':');
    const std::string_view pid = text.substr(0, colon);
    const bool is_prepared = pid.empty();
    const postgres::Parameter parameters[] = {is_prepared ? text.substr(colon + 1) : pid};
    const auto rows = connection.query(is_prepared ? kDescribePrepared : kDescribeBackend, parameters);
    if (!rows || rows->size() == 0) continue;
    log_.warning("storage", is_prepared ? fmt::format("the prepared transaction '{}' of role {} has written synced "
                                                      "tables and is open since {}; devices are told changes "
                                                      "repeatedly until it is committed or rolled back",
                                                      rows->text(0, 1), rows->text(0, 2), rows->text(0, 0))
                                        : fmt::format("the database's backend {} ({}, role {}) has written synced "
                                                      "tables and its transaction is open since {}; devices are told "
                                                      "changes repeatedly until it ends",
                                                      pid, rows->text(0, 1), rows->text(0, 2), rows->text(0, 0)));
  }
}

}  // namespace nizhal::storage::pg
