#include "storage/postgres/watcher.hpp"

#include <algorithm>
#include <utility>

#include "storage/postgres/horizon.hpp"
#include "storage/postgres/reads.hpp"

namespace nizhal::storage::pg {

Result<void> Watcher::connect() {
  {
    const std::lock_guard lock(connection_mutex_);
    if (connection_ && connection_->is_open()) return {};
  }
  auto opened = postgres::Connection::connect(connect_);
  if (!opened) return tl::unexpected(opened.error());
  const std::lock_guard lock(connection_mutex_);
  connection_ = *std::move(opened);
  return {};
}

void Watcher::cancel() {
  std::shared_ptr<postgres::Connection> connection;
  {
    const std::lock_guard lock(connection_mutex_);
    connection = connection_;
  }
  if (connection) connection->cancel();
}

void Watcher::note_missed() {
  has_missed_ = true;
  grants_->lost();
}

Result<ChangeMark> Watcher::look() {
  const std::lock_guard lock(mutex_);
  for (int attempt = 1;; ++attempt) {
    if (auto connected = connect(); !connected) {
      note_missed();
      return tl::unexpected(connected.error());
    }
    auto mark = look_once();
    if (mark) return mark;
    note_missed();
    const bool has_died = !connection_->is_open();  // it may have died long before this look
    if (!connection_->reset()) {
      const std::lock_guard connection_lock(connection_mutex_);
      connection_.reset();
    }
    if (!has_died || attempt == 2) return mark;
  }
}

Result<ChangeMark> Watcher::look_once() {
  const auto began = std::chrono::steady_clock::now();
  own_writers_->look_begins();
  // In this order, and each statement with a snapshot of its own: whatever the first calls settled the second sees.
  postgres::Connection& connection = *connection_;
  connection.queue("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY");
  if (!connection.transaction_settings().empty()) connection.queue(connection.transaction_settings());
  const auto standing_ticket = connection.queue(kStandingSql);
  const Parameters parameters{to_sql(grants_settled_)};
  const auto grants_ticket = connection.queue(kReadGrantChanges, postgres::parameters_of(parameters));
  connection.queue("COMMIT");
  if (auto finished = connection.finish(); !finished) return tl::unexpected(finished.error());
  const auto rows = connection.take(standing_ticket);
  if (!rows) return tl::unexpected(rows.error());
  const auto grants = connection.take(grants_ticket);
  if (!grants) return tl::unexpected(grants.error());
  if (rows->size() != 1) return failure(ErrorCode::schema_mismatch, "nizhal.state has no row; run `nizhal migrate`");
  const Standing standing = standing_from(*rows);

  const bool is_anew = has_looked_ && (has_missed_ || standing.epoch != epoch_ || standing.last < mark_.last);
  if (is_anew) own_writers_->forget();
  const bool others_committed = own_writers_->others_committed({standing.last, standing.writers});
  if (is_anew || others_committed) ++mark_.foreign;

  std::set<std::uint64_t> seen;
  bool has_new = false;
  for (int row = 0; row < grants->size(); ++row) {
    const std::uint64_t version = number(version_at(*grants, row, 0));
    has_new = has_new || !grants_seen_.contains(version);
    seen.insert(version);
  }
  if (has_looked_ && (is_anew || has_new)) ++mark_.grants;
  // What a crash may take back is not built upon, unless the crash would show as a connection that broke.
  if (is_anew) grants_settled_ = Version{};
  if (standing.durable || !connection.is_pooled()) grants_settled_ = std::max(grants_settled_, standing.settled);
  seen.erase(seen.begin(), seen.upper_bound(number(grants_settled_)));
  grants_seen_ = std::move(seen);

  mark_.last = standing.last;
  mark_.settled = standing.settled;
  mark_.min_client_version = standing.min_client_version;
  epoch_ = standing.epoch;
  has_looked_ = true;
  has_missed_ = false;
  grants_->looked(began, mark_.grants, grants_settled_, grants_seen_);
  return mark_;
}

}  // namespace nizhal::storage::pg
