// How a device reaches its server: settings that its HTTP connection and its WebSocket share.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "net/url.hpp"

namespace nizhal::net {

struct ClientNetOptions {
  Url server = {};
  std::string ca_file = {};  // PEM, trusted beside the system's authorities
  std::chrono::milliseconds connect_timeout{10'000};
  std::size_t answer_bytes_max = 256u << 20;  // a page of the largest limit with large rows; bounds memory
  std::size_t frame_bytes_max = 1u << 20;
  std::size_t frames_waiting_bytes_max = 1u << 20;  // for a server that does not read; then the socket ends
  // Above the interval at which servers ping, so that a healthy quiet socket stays; a dead one is noticed after it.
  std::chrono::milliseconds socket_idle_timeout{75'000};
};

}  // namespace nizhal::net
