// See pool.hpp.
#include "postgres/pool.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace nizhal::postgres {
namespace {

using Clock = std::chrono::steady_clock;

/// A server that does not answer a connection's "are you there" within this time is not there.
constexpr std::chrono::milliseconds kCheckTimeout{2'000};

class RealPool final : public Pool {
 public:
  explicit RealPool(PoolOptions options) : options_(std::move(options)) {
    if (options_.connections_max == 0) options_.connections_max = 1;
  }

  using Pool::borrow;
  Result<Lease> borrow(Deadline deadline) override;
  void cancel_all() override;

 protected:
  void give_back(std::unique_ptr<Connection> connection) override;

 private:
  struct Idle {
    std::unique_ptr<Connection> connection;
    Clock::time_point since;
  };

  Lease lend(std::unique_ptr<Connection> connection, Deadline deadline);
  void forget_one();
  void forget_idle();

  PoolOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Idle> idle_;  // the last used last
  std::size_t count_ = 0;   // idle, lent, being checked and being made
  std::map<const Connection*, std::function<void()>> lent_;
};

Pool::Lease RealPool::lend(std::unique_ptr<Connection> connection, Deadline deadline) {
  connection->set_deadline(deadline);
  {
    const std::lock_guard lock(mutex_);
    lent_.emplace(connection.get(), connection->canceller());
  }
  return Lease(shared_from_this(), std::move(connection));
}

void RealPool::forget_one() {
  {
    const std::lock_guard lock(mutex_);
    --count_;
  }
  changed_.notify_one();
}

void RealPool::forget_idle() {
  std::vector<Idle> gone;  // closed outside the lock
  {
    const std::lock_guard lock(mutex_);
    gone = std::exchange(idle_, {});
    count_ -= gone.size();
  }
  changed_.notify_all();
}

Result<Pool::Lease> RealPool::borrow(Deadline deadline) {
  const auto turn_until = std::min(Clock::now() + options_.borrow_timeout, deadline.value_or(Clock::time_point::max()));
  const auto at_most = [&deadline](std::chrono::milliseconds time) {
    if (!deadline) return time;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
    return std::max(std::min(left, time), std::chrono::milliseconds(1));
  };
  while (true) {
    std::unique_lock lock(mutex_);
    const bool in_time =
        changed_.wait_until(lock, turn_until, [this] { return !idle_.empty() || count_ < options_.connections_max; });
    if (!in_time)
      return failure(ErrorCode::busy,
                     fmt::format("all {} connections to the database are in use; try again, or allow more",
                                 options_.connections_max));
    if (idle_.empty()) {
      ++count_;
      lock.unlock();
      ConnectOptions connect = options_.connect;
      connect.connect_timeout = at_most(connect.connect_timeout);
      auto made = Connection::connect(connect);
      if (!made) {
        forget_one();
        return tl::unexpected(made.error());
      }
      return lend(std::move(*made), deadline);
    }
    Idle idle = std::move(idle_.back());
    idle_.pop_back();
    lock.unlock();
    if (idle.connection->looks_alive()) {
      if (Clock::now() - idle.since < options_.idle_check || idle.connection->check(at_most(kCheckTimeout)))
        return lend(std::move(idle.connection), deadline);
      forget_idle();  // they would each take as long to tell the same
    }
    idle.connection.reset();
    forget_one();
  }
}

void RealPool::give_back(std::unique_ptr<Connection> connection) {
  {
    const std::lock_guard lock(mutex_);
    lent_.erase(connection.get());
  }
  // A standby that cannot be written may be the wrong one of several hosts: the next connection asks anew.
  const bool is_kept = connection->reset() && connection->sqlstate() != "25006";
  if (!is_kept) {
    connection.reset();
    forget_one();
    return;
  }
  connection->set_deadline(std::nullopt);
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back({std::move(connection), Clock::now()});
  }
  changed_.notify_one();
}

void RealPool::cancel_all() {
  // Outside the lock: asking a server that is gone takes its time.
  std::vector<std::function<void()>> cancellers;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [connection, canceller] : lent_) cancellers.push_back(canceller);
  }
  for (const auto& canceller : cancellers) canceller();
}

}  // namespace

std::shared_ptr<Pool> Pool::create(PoolOptions options) { return std::make_shared<RealPool>(std::move(options)); }

Pool::Lease::Lease(std::shared_ptr<Pool> pool, std::unique_ptr<Connection> connection)
    : pool_(std::move(pool)), connection_(std::move(connection)) {}

Pool::Lease::Lease(Lease&&) noexcept = default;

Pool::Lease::~Lease() {
  if (connection_) pool_->give_back(std::move(connection_));
}

}  // namespace nizhal::postgres
