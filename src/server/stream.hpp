// One open /sync/stream as the server core sees it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nizhal::server {

/// Implemented by whatever holds the socket; both calls are thread-safe and do not block.
class StreamPeer {
 public:
  virtual ~StreamPeer() = default;
  virtual void send(std::string frame) = 0;
  virtual void close(int code, std::string_view reason) = 0;
};
enum class StreamId : std::uint64_t {};

}  // namespace nizhal::server
