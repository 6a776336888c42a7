// The end of the commands that go on until a signal: what they follow is told on the store's thread, and the main
// thread waits here.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nizhal::cli {

/// Until SIGINT, SIGTERM or end_watch(), at most for `limit`. After keep_signals_for_watch(). False: the time is up.
bool wait_for_end(std::optional<std::chrono::milliseconds> limit = {});
/// Ends the wait. Any thread.
void end_watch();

/// Counts the lines, and ends the watch after the last one that was asked for. 0: never.
class WatchLines {
 public:
  explicit WatchLines(std::uint64_t count) : count_(count) {}
  void print(std::string_view line);

 private:
  const std::uint64_t count_;
  std::uint64_t printed_ = 0;  // on the store's thread only
};

}  // namespace nizhal::cli
