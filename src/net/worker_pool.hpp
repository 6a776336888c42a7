// Threads for what may block: storage work and mutators. The number of waiting requests is bounded, so overload becomes
// an immediate "no" and never memory.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/environment.hpp"
#include "base/log.hpp"

namespace nizhal::net {

/// Work runs in order of posting; with several threads, side by side. What it throws is logged and dropped.
class WorkerPool : public Executor {
 public:
  WorkerPool(std::size_t threads, std::size_t queue_max, Log log);
  ~WorkerPool() override;
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// For requests. False, and nothing is kept, when `queue_max` requests wait already.
  [[nodiscard]] bool try_post(std::function<void()> work);
  /// For what follows from work that was let in: never refused.
  void post(std::function<void()> work) override;
  /// Ends what is running, drops what waits, joins. Afterwards posted work is dropped. Not from a worker.
  void stop();

 private:
  struct Item {
    std::function<void()> work;
    bool is_request = false;
  };
  void run();

  const std::size_t queue_max_;
  Log log_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> queue_;
  std::size_t requests_waiting_ = 0;
  std::size_t free_;  // threads that run nothing
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace nizhal::net
