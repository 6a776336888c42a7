// Connections that are kept and lent. A connection that broke is replaced; one that has been idle for long is tried
// before it is lent, so that a restarted server costs nobody an error.
//
// Threads: thread-safe. What is lent belongs to one thread at a time and goes back when it is dropped: rolled back if
// it is in a transaction, thrown away if it broke.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include <nizhal/result.hpp>

#include "postgres/connection.hpp"

namespace nizhal::postgres {

struct PoolOptions {
  ConnectOptions connect;
  std::size_t connections_max = 16;
  std::chrono::milliseconds borrow_timeout{3'000};  // while all are lent
  std::chrono::milliseconds idle_check{5'000};      // idle for longer: asked whether it lives before it is lent
};

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  static std::shared_ptr<Pool> create(PoolOptions options);
  virtual ~Pool() = default;

  class Lease {
   public:
    Lease(std::shared_ptr<Pool> pool, std::unique_ptr<Connection> connection);
    Lease(Lease&&) noexcept;
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }

   private:
    std::shared_ptr<Pool> pool_;
    std::unique_ptr<Connection> connection_;
  };
  /// `busy`: all are lent for too long; unreachable and unauthorized: a new connection could not be made. The deadline
  /// is for the borrowing and for all that is done with the connection until it goes back.
  virtual Result<Lease> borrow(Deadline deadline) = 0;
  Result<Lease> borrow() { return borrow(std::nullopt); }
  /// Cancels what runs on the lent connections.
  virtual void cancel_all() = 0;

 protected:
  Pool() = default;
  virtual void give_back(std::unique_ptr<Connection> connection) = 0;
};

}  // namespace nizhal::postgres
