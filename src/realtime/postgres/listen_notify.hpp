// The instances on one PostgreSQL database hear of each other by LISTEN and NOTIFY. Place in the loop: commit ▶ poker ▶
// (realtime) ▶ the other instances' pokers.
//
// The facts that must not break: a NOTIFY never runs inside a writing transaction, whose commit would hold up all
// others of the database; whoever tells never waits; and after the connection was away the listener is told to look
// everywhere.
//
// One thread has one connection of its own. What is told while a NOTIFY is under way goes together in the next one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "realtime/realtime.hpp"

namespace nizhal::realtime {

struct ListenNotifyOptions {
  /// A direct connection: behind a pooler in transaction mode LISTEN is not possible.
  std::string url;
  std::string channel;             // a plain name
  std::int64_t instances_key = 0;  // of the advisory lock by which instances see each other; 0: none
  /// What waits to be sent, keys and presence together. With more all of it is told as "missed".
  std::size_t waiting_bytes_max = 4 << 20;
  std::chrono::milliseconds connect_timeout{3'000};
  std::chrono::milliseconds answer_timeout{3'000};
  std::chrono::milliseconds backoff_first{100};  // between attempts to connect, doubled each time, with full jitter
  std::chrono::milliseconds backoff_max{5'000};
  std::chrono::milliseconds silence_max{10'000};  // then the database is asked whether it is still there
};

/// Connects when it is started, and again for as long as it is not stopped.
std::unique_ptr<Realtime> listen_notify(ListenNotifyOptions options, Random& random, Log log);

}  // namespace nizhal::realtime
