// One notification of PostgreSQL, as instances send it to each other. Place in the loop: commit ▶ poker ▶
// (notification) ▶ the other instances' pokers.
//
// The facts that must not break: a payload stays below PostgreSQL's 8,000 bytes; each carries its number in the line of
// its instance, so that one that is lost is noticed; and whatever anybody sends on the channel is either one of these
// or ignored.
//
//   {"v":1,"from":"<instance>","n":12,"missed":true,"commits":[[7,"team:a","o1"],[8,"o1"]],"presence":[{…},…]}
//
// `missed`, `commits` and `presence` are left out when there is nothing of them. A commit with many buckets comes in
// several notifications, under the same version.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "realtime/realtime.hpp"

namespace nizhal::realtime {

/// Of a payload. PostgreSQL takes less than 8,000.
inline constexpr std::size_t kPayloadBytesMax = 7'900;

struct Notification {
  std::string instance;
  std::uint64_t number = 0;  // 1, 2, 3 … per instance
  bool missed = false;       // more was to be told than could wait: look everywhere
  Message message;
};

/// The payloads of a message, in order; `number` is the last one given and moves on. What fits into no payload (a
/// bucket key of thousands of bytes) is told as missed; a presence object of that size is left out.
std::vector<std::string> encode_notifications(const Message& message, bool missed, std::string_view instance,
                                              std::uint64_t& number);
/// Nothing: it is none of ours.
std::optional<Notification> decode_notification(std::string_view payload);

}  // namespace nizhal::realtime
