// One WebSocket to /sync/stream on which the caller waits for frames: small, so that what is measured is the server.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nizhal/result.hpp>

#include "bench/plain_socket.hpp"

namespace nizhal::bench {

class StreamPeer {
 public:
  static Result<StreamPeer> open(std::uint16_t port, std::string_view token);
  Result<void> send(std::string_view text);
  /// The next text frame; pings of the server are answered on the way.
  Result<std::string> receive();

 private:
  explicit StreamPeer(Socket socket) : socket_(std::move(socket)) {}
  Result<void> fill(std::size_t bytes);
  Result<void> send_frame(unsigned char opcode, std::string_view payload);

  Socket socket_;
  std::string received_;  // not yet taken apart
};

}  // namespace nizhal::bench
