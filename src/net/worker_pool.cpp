#include "net/worker_pool.hpp"

#include <exception>
#include <string>
#include <utility>

namespace nizhal::net {

WorkerPool::WorkerPool(std::size_t threads, std::size_t queue_max, Log log)
    : queue_max_(queue_max), log_(std::move(log)), free_(threads) {
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

WorkerPool::~WorkerPool() { stop(); }

bool WorkerPool::try_post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    // What a free thread is about to take does not count as waiting.
    if (stopped_ || requests_waiting_ >= queue_max_ + free_) return false;
    queue_.push_back({std::move(work), true});
    ++requests_waiting_;
  }
  wake_.notify_one();
  return true;
}

void WorkerPool::post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    queue_.push_back({std::move(work), false});
  }
  wake_.notify_one();
}

void WorkerPool::stop() {
  std::deque<Item> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    dropped.swap(queue_);
    requests_waiting_ = 0;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_)
    if (thread.joinable()) thread.join();
}

void WorkerPool::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
    if (stopped_) return;
    --free_;
    Item item = std::move(queue_.front());
    queue_.pop_front();
    if (item.is_request) --requests_waiting_;
    lock.unlock();
    try {
      item.work();
    } catch (const std::exception& error) {
      log_.error("server", std::string("work on a worker thread threw: ") + error.what());
    } catch (...) {
      log_.error("server", "work on a worker thread threw something that is no std::exception");
    }
    item.work = nullptr;  // what it captured goes before the lock is taken
    lock.lock();
    ++free_;
  }
}

}  // namespace nizhal::net
