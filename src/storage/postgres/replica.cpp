#include "storage/postgres/replica.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "storage/postgres/snapshot.hpp"

namespace nizhal::storage::pg {
namespace {

constexpr const char* kPlace =
    "SELECT pg_is_in_recovery(), (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())";
constexpr const char* kCluster = "SELECT system_identifier FROM pg_control_system()";

/// What has been written to the log whose effects somebody may have seen. Not what is on disk: with
/// synchronous_commit = off that comes later.
constexpr const char* kWritten = "SELECT pg_current_wal_insert_lsn()";
constexpr const char* kLastVersion = "SELECT last_value FROM nizhal.version_seq";
constexpr const char* kHasReplayed = "SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= $1::text::pg_lsn";

/// As nizhal.horizon() makes the epoch, with the timeline that is replayed: another cluster, and a standby that follows
/// an old primary after a failover, have another.
constexpr const char* kEpoch =
    "SELECT left(encode(sha256(convert_to(s.epoch || '/' || nizhal.cluster_identity() || '/' || "
    "lpad(upper(to_hex(greatest((SELECT c.timeline_id FROM pg_control_checkpoint() AS c), "
    "(SELECT r.min_recovery_end_timeline FROM pg_control_recovery() AS r)))), 8, '0'), 'UTF8')), 'hex'), 32) "
    "FROM nizhal.state AS s";

}  // namespace

Result<void> check_replica(const postgres::ConnectOptions& connect, postgres::Connection& primary, const Log& log) {
  const std::string where = postgres::describe_url(connect.url);
  auto opened = postgres::Connection::connect(connect);
  if (!opened) {
    const ErrorCode code = opened.error().code;
    if (code != ErrorCode::unreachable && code != ErrorCode::busy) return tl::unexpected(opened.error());
    log.warning("storage", fmt::format("the replica does not answer, the primary serves backfills too: {}",
                                       opened.error().message));
    return {};
  }
  const auto replicas = (*opened)->query(kPlace);
  if (!replicas) return tl::unexpected(replicas.error());
  const auto primaries = primary.query(kPlace);
  if (!primaries) return tl::unexpected(primaries.error());
  if (!replicas->boolean(0, 0))
    return failure(ErrorCode::usage, fmt::format("{} is no streaming replica, it can be written; give the URL of a "
                                                 "standby of the database, or none",
                                                 where));
  // Where ordinary users are not told the cluster, each snapshot still tells by its epoch.
  const auto replicas_cluster = (*opened)->query(kCluster), cluster = primary.query(kCluster);
  const bool is_other = replicas_cluster && cluster && replicas_cluster->text(0, 0) != cluster->text(0, 0);
  if (is_other || replicas->text(0, 1) != primaries->text(0, 1))
    return failure(ErrorCode::usage, fmt::format("{} is a replica of another cluster or another database; give the URL "
                                                 "of a standby of the database itself",
                                                 where));
  return {};
}

Replica::Replica(ReplicaOptions options, std::shared_ptr<const Catalog> catalog,
                 std::shared_ptr<postgres::Pool> primary, Log log)
    : options_(std::move(options)),
      catalog_(std::move(catalog)),
      primary_(std::move(primary)),
      pool_(postgres::Pool::create(options_.pool)),
      log_(std::move(log)) {}

std::unique_ptr<Snapshot> Replica::open_snapshot(const Position& settled) {
  if (Steady::now().time_since_epoch().count() < rests_until_) return nullptr;
  auto opened = try_open(settled);
  if (!opened) {
    rest(opened.error().message);
    return nullptr;
  }
  is_reported_ = false;
  return *std::move(opened);
}

void Replica::rest(std::string_view why) {
  rests_until_ = (Steady::now() + options_.rest).time_since_epoch().count();
  if (!is_reported_.exchange(true))
    log_.warning("storage", fmt::format("the primary serves backfills until the replica can: {}", why));
}

Result<std::string> Replica::ask_primary(const char* sql) {
  auto lease = primary_->borrow();
  if (!lease) return tl::unexpected(lease.error());
  postgres::Connection& connection = **lease;
  const auto rows = connection.query(sql);
  if (!rows) return tl::unexpected(rows.error());
  return std::string(rows->text(0, 0));
}

Result<std::unique_ptr<Snapshot>> Replica::try_open(const Position& settled) {
  // After `settled` was read, as S12 wants it, and after whatever anybody was told before the pull came.
  const auto written = ask_primary(kWritten);
  if (!written) return tl::unexpected(written.error());
  auto lease = pool_->borrow();
  if (!lease) return tl::unexpected(lease.error());
  const auto until = Steady::now() + options_.wait_max;
  const Parameters parameters{*written};
  for (auto pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, std::chrono::milliseconds(20))) {
    const auto replayed = (*lease)->query(kHasReplayed, postgres::parameters_of(parameters));
    if (!replayed) return tl::unexpected(replayed.error());
    if (replayed->boolean(0, 0)) break;
    if (Steady::now() + pause > until) return failure(ErrorCode::busy, "it is behind");
    std::this_thread::sleep_for(pause);
  }
  // Nothing was lent before the snapshot is taken, so only a failure in its use tells of a standby that went.
  auto taken = take_replica_snapshot(catalog_, *std::move(lease), settled, kEpoch,
                                     [self = shared_from_this()] { self->rest("a pull from it failed"); });
  if (!taken) return tl::unexpected(taken.error());
  // The standby's own sequence runs ahead of what was handed out.
  const auto last = ask_primary(kLastVersion);
  if (!last) return tl::unexpected(last.error());
  set_last(**taken, Version{std::strtoull(last->c_str(), nullptr, 10)});
  return taken;
}

}  // namespace nizhal::storage::pg
