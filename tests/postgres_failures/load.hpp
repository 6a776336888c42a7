// Four devices that write and read as fast as they are answered, while a test does its worst to the database.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/postgres_failures/harness.hpp"

namespace nizhal::testing {

class Load {
 public:
  explicit Load(Host& host);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  /// Until so many more mutations have been acknowledged.
  void wait_for_more(std::size_t mutations);
  /// Sends what is left, then compares the database with what was acknowledged and devices with the database.
  void finish_and_compare(const std::string& url);

 private:
  void run(Sender& sender, std::size_t number);
  void end();

  Host& host_;
  std::vector<Sender> senders_;
  std::vector<std::thread> threads_;
  std::atomic<bool> is_over_{false};
  std::mutex mutex_;
  std::condition_variable advanced_;
  std::size_t acknowledged_ = 0;
};

}  // namespace nizhal::testing
