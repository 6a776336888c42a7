// Which pulls are about to come: of a poke that went to many streams, about one for each. Place in the loop: poker ▶
// (expected_pulls) ▶ waiting_pulls.
//
// The fact that must not break: a pull is one of the expected only when its user's streams were poked, and only once
// for each of them; nobody else waits for a crowd.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <unordered_map>

namespace nizhal::server {

/// By user: how many streams are poked.
using PokedStreams = std::unordered_map<std::string, std::size_t>;

/// Counts only; its owner has the lock and the time.
class ExpectedPulls {
 public:
  using Time = std::chrono::microseconds;  // of Clock::monotonic

  /// `until`: whoever has not come by then is not expected any more.
  void expect(const PokedStreams& poked, Time until);
  /// A pull of this user has come. True: an expected one, which waits from here on.
  bool take(const std::string& user_id, Time now);
  /// Nobody is expected who is not waiting.
  bool are_all_here() const { return to_come_ == 0; }
  std::size_t to_come() const { return to_come_; }
  /// Those that waited are being answered.
  void released();
  void forget();

 private:
  struct Pulls {
    std::size_t to_come = 0, waiting = 0;
    std::size_t again = 0;  // of the waiting ones: poked meanwhile, so they come once more when they are answered
  };
  std::unordered_map<std::string, Pulls> users_;
  std::size_t to_come_ = 0;  // of all
  Time until_{};
};

}  // namespace nizhal::server
