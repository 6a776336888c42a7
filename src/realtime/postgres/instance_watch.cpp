#include "realtime/postgres/instance_watch.hpp"

#include <fmt/format.h>

#include <utility>

namespace nizhal::realtime {
namespace {

postgres::ConnectOptions quick(std::string url) {
  postgres::ConnectOptions options;
  options.url = std::move(url);
  options.statement_timeout = options.lock_timeout = std::chrono::milliseconds(3'000);
  return options;
}

}  // namespace

InstanceWatch::InstanceWatch(std::string url, std::int64_t key, Log log)
    : options_(quick(std::move(url))), key_(key), log_(std::move(log)) {}

Result<std::size_t> InstanceWatch::look() {
  if (connection_ && !connection_->looks_alive()) connection_.reset();
  if (!connection_) {
    auto opened = postgres::Connection::connect(options_);
    if (!opened) return tl::unexpected(opened.error());
    if (auto locked = (*opened)->query(fmt::format("SELECT pg_catalog.pg_advisory_lock_shared({})", key_)); !locked)
      return tl::unexpected(locked.error());
    connection_ = *std::move(opened);
  }
  // A key of 64 bits is shown as two halves, and told from a pair of keys by objsubid.
  const auto rows = connection_->query(
      fmt::format("SELECT count(DISTINCT pid) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
                  "AND granted AND "
                  "classid = {} AND objid = {} AND pid <> pg_catalog.pg_backend_pid() AND database = (SELECT oid FROM "
                  "pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
                  key_ >> 32, key_ & 0xffffffff));
  if (!rows) {
    connection_.reset();
    return tl::unexpected(rows.error());
  }
  const auto others = static_cast<std::size_t>(rows->integer(0, 0));
  if (others > 0 && !std::exchange(has_warned_, true))
    log_.warning("realtime",
                 fmt::format("{} other instance{} on this database, and this one does not hear of {}: pokes of commits "
                             "there come late and presence is not shared; start all with --realtime listen-notify",
                             others, others == 1 ? " serves devices" : "s serve devices", others == 1 ? "it" : "them"));
  return others;
}

}  // namespace nizhal::realtime
