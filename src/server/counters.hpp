// What the server has done since it started, for /nizhal/stats.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace nizhal::server {

/// Edits that lost (Merge::Field), by table. Thread-safe.
class ConflictCounts {
 public:
  void add(const std::string& table) {
    const std::lock_guard lock(mutex_);
    ++by_table_[table];
  }
  std::map<std::string, std::uint64_t> by_table() const {
    const std::lock_guard lock(mutex_);
    return by_table_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> by_table_;
};

struct Counters {
  std::atomic<std::uint64_t> pulls{0}, pushes{0};
  std::atomic<std::uint64_t> mutations_applied{0}, mutations_rejected{0}, mutations_repeated{0};
  std::atomic<std::uint64_t> retries{0};  // batches tried again after a transient failure
  ConflictCounts conflicts;
};

}  // namespace nizhal::server
