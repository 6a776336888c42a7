#include "storage/sqlite/connections.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>

namespace nizhal::storage {

ReaderPool::Reader::~Reader() {
  if (pool_) pool_->give_back(std::move(connection_));
}

Result<ReaderPool::Reader> ReaderPool::borrow(const std::shared_ptr<ReaderPool>& pool) {
  const auto until = std::chrono::steady_clock::now() + pool->timeout_;
  std::unique_lock lock(pool->mutex_);
  if (!pool->returned_.wait_until(lock, until, [&] { return pool->borrowed_ < pool->readers_max_; }))
    return failure(ErrorCode::busy, fmt::format("all {} read connections were in use for {} ms", pool->readers_max_,
                                                pool->timeout_.count()));
  ++pool->borrowed_;
  if (!pool->idle_.empty()) {
    auto connection = std::move(pool->idle_.back());
    pool->idle_.pop_back();
    return Reader(pool, std::move(connection));
  }
  lock.unlock();
  sqlite::OpenOptions options;
  options.read_only = true;
  options.create = false;
  options.busy_timeout_ms = static_cast<int>(pool->timeout_.count());
  auto opened = sqlite::Connection::open(pool->path_, options);
  if (!opened) {
    pool->give_back(nullptr);
    return tl::unexpected(opened.error());
  }
  return Reader(pool, std::move(*opened));
}

void ReaderPool::give_back(std::unique_ptr<sqlite::Connection> connection) {
  {
    const std::lock_guard lock(mutex_);
    --borrowed_;
    if (connection) idle_.push_back(std::move(connection));
  }
  returned_.notify_one();
}

Writer::Turn::~Turn() {
  if (writer_) writer_->end_turn();
}

Result<Writer::Turn> Writer::take_turn(const std::shared_ptr<Writer>& writer) {
  const auto until = std::chrono::steady_clock::now() + writer->timeout_;
  std::unique_lock lock(writer->mutex_);
  if (!writer->ended_.wait_until(lock, until, [&] { return !writer->is_taken_ || writer->is_interrupted_; }))
    return failure(ErrorCode::busy,
                   fmt::format("other writers of this server kept the database for {} ms", writer->timeout_.count()));
  if (writer->is_interrupted_) return failure(ErrorCode::busy, "the server is stopping");
  writer->is_taken_ = true;
  lock.unlock();
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  // At least a millisecond: 0 would switch waiting off.
  sqlite3_busy_timeout(writer->connection_->handle(), static_cast<int>(std::max<std::int64_t>(left.count(), 1)));
  return Turn(writer);
}

void Writer::interrupt() {
  {
    const std::lock_guard lock(mutex_);
    is_interrupted_ = true;
  }
  ended_.notify_all();
}

void Writer::end_turn() {
  {
    const std::lock_guard lock(mutex_);
    is_taken_ = false;
  }
  ended_.notify_one();
}

}  // namespace nizhal::storage
