// The connections of an embedded storage: one for writing, whose turn is waited for, and a pool for reading.
//
// Threads: both are thread-safe; what they hand out belongs to one thread at a time and gives itself back when dropped.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nizhal/result.hpp>

#include "sqlite/connection.hpp"

namespace nizhal::storage {

class ReaderPool {
 public:
  ReaderPool(std::string path, std::size_t readers_max, std::chrono::milliseconds timeout)
      : path_(std::move(path)), readers_max_(readers_max > 0 ? readers_max : 1), timeout_(timeout) {}

  /// A borrowed connection. The pool must outlive it; whoever borrows holds the pool.
  class Reader {
   public:
    Reader(std::shared_ptr<ReaderPool> pool, std::unique_ptr<sqlite::Connection> connection)
        : pool_(std::move(pool)), connection_(std::move(connection)) {}
    Reader(Reader&&) noexcept = default;
    Reader& operator=(Reader&&) = delete;
    ~Reader();
    sqlite::Connection& connection() const { return *connection_; }

   private:
    std::shared_ptr<ReaderPool> pool_;
    std::unique_ptr<sqlite::Connection> connection_;
  };
  /// Waits while all are borrowed, up to the timeout: then `busy`.
  static Result<Reader> borrow(const std::shared_ptr<ReaderPool>& pool);

 private:
  void give_back(std::unique_ptr<sqlite::Connection> connection);

  const std::string path_;
  const std::size_t readers_max_;
  const std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<sqlite::Connection>> idle_;
  std::size_t borrowed_ = 0;
};

/// The one writing connection of this process.
class Writer {
 public:
  Writer(std::unique_ptr<sqlite::Connection> connection, std::chrono::milliseconds timeout)
      : connection_(std::move(connection)), timeout_(timeout) {}

  class Turn {
   public:
    explicit Turn(std::shared_ptr<Writer> writer) : writer_(std::move(writer)) {}
    Turn(Turn&&) noexcept = default;
    Turn& operator=(Turn&&) = delete;
    ~Turn();
    sqlite::Connection& connection() const { return *writer_->connection_; }
    Writer& writer() const { return *writer_; }

   private:
    std::shared_ptr<Writer> writer_;
  };
  /// Waits for its turn up to the timeout, then `busy`. What is left of the timeout is how long SQLite then waits for
  /// other processes.
  static Result<Turn> take_turn(const std::shared_ptr<Writer>& writer);
  /// From now on there are no turns: whoever waits or asks for one is told `busy`.
  void interrupt();

  /// Transactions of the engine that this process has committed; they took as many versions.
  std::uint64_t commits() const { return commits_; }
  void count_commit() { ++commits_; }

 private:
  void end_turn();

  const std::unique_ptr<sqlite::Connection> connection_;
  const std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool is_taken_ = false;
  bool is_interrupted_ = false;
  std::atomic<std::uint64_t> commits_{0};
};

}  // namespace nizhal::storage
