#include "bench/stream_peer.hpp"

#include <fmt/format.h>

#include <utility>

#include "protocol/transport.hpp"

namespace nizhal::bench {
namespace {

constexpr unsigned char kText = 1, kClose = 8, kPing = 9, kPong = 10;
constexpr std::size_t kShortFrame = 125;

}  // namespace

Result<StreamPeer> StreamPeer::open(std::uint16_t port, std::string_view token) {
  auto socket = connect_to(port);
  if (!socket) return tl::unexpected(socket.error());
  StreamPeer peer(std::move(*socket));
  const std::string request = fmt::format(
      "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
      protocol::kStreamPath, token);
  if (auto sent = send_all(peer.socket_.number(), request); !sent) return tl::unexpected(sent.error());
  std::size_t end = std::string::npos;
  while ((end = peer.received_.find("\r\n\r\n")) == std::string::npos)
    if (auto more = peer.fill(peer.received_.size() + 1); !more) return tl::unexpected(more.error());
  if (!peer.received_.starts_with("HTTP/1.1 101 "))
    return failure(ErrorCode::bad_request,
                   fmt::format("a stream was refused: {}", peer.received_.substr(0, peer.received_.find('\r'))));
  peer.received_.erase(0, end + 4);
  return peer;
}

Result<void> StreamPeer::fill(std::size_t bytes) {
  std::array<char, 65'536> buffer;
  while (received_.size() < bytes) {
    const auto more = bench::receive(socket_.number(), buffer);
    if (!more) return tl::unexpected(more.error());
    received_ += *more;
  }
  return {};
}

Result<void> StreamPeer::send_frame(unsigned char opcode, std::string_view payload) {
  if (payload.size() > kShortFrame) return failure(ErrorCode::usage, "a benchmark sends short frames only");
  std::string frame{static_cast<char>(0x80 | opcode), static_cast<char>(0x80 | payload.size())};
  frame.append(4, '\0');  // a mask of zeros changes nothing
  frame += payload;
  return send_all(socket_.number(), frame);
}

Result<void> StreamPeer::send(std::string_view text) { return send_frame(kText, text); }

Result<std::string> StreamPeer::receive() {
  for (;;) {
    if (auto head = fill(2); !head) return tl::unexpected(head.error());
    std::size_t header = 2;
    std::size_t length = static_cast<unsigned char>(received_[1]) & 0x7F;
    const std::size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (more > 0) {
      header += more;
      if (auto rest = fill(header); !rest) return tl::unexpected(rest.error());
      length = 0;
      for (std::size_t i = 2; i < header; ++i) length = length * 256 + static_cast<unsigned char>(received_[i]);
    }
    if (auto rest = fill(header + length); !rest) return tl::unexpected(rest.error());
    const auto opcode = static_cast<unsigned char>(received_[0] & 0x0F);
    std::string payload = received_.substr(header, length);
    received_.erase(0, header + length);
    if (opcode == kText) return payload;
    if (opcode == kClose)
      return failure(ErrorCode::unreachable, fmt::format("the server closed a stream: {}", payload.substr(2)));
    if (opcode == kPing)
      if (auto sent = send_frame(kPong, payload); !sent) return tl::unexpected(sent.error());
  }
}

}  // namespace nizhal::bench
