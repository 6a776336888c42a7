#include "tests/support/raw_http.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

namespace nizhal::testing {

RawSocket::RawSocket(std::uint16_t port, std::chrono::seconds deadline)
    : deadline_(std::chrono::steady_clock::now() + deadline) {
  descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor_ < 0) return;
  timeval wait{1, 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(descriptor_);
    descriptor_ = -1;
  }
}

RawSocket::~RawSocket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool RawSocket::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void RawSocket::shut_down_sending() { ::shutdown(descriptor_, SHUT_WR); }

bool RawSocket::fill() {
  char chunk[16 * 1024];
  while (std::chrono::steady_clock::now() < deadline_) {
    const ssize_t got = ::recv(descriptor_, chunk, sizeof chunk, 0);
    if (got > 0) {
      buffer_.append(chunk, static_cast<std::size_t>(got));
      return true;
    }
    if (got == 0) return false;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return false;
  }
  return false;
}

std::string RawSocket::read_exactly(std::size_t count) {
  while (buffer_.size() < count && fill()) {
  }
  const std::size_t size = std::min(count, buffer_.size());
  std::string bytes = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return bytes;
}

std::string RawSocket::read_until(std::string_view end) {
  std::size_t at = buffer_.find(end);
  while (at == std::string::npos && fill()) at = buffer_.find(end);
  const std::size_t size = at == std::string::npos ? buffer_.size() : at + end.size();
  std::string bytes = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return bytes;
}

bool RawSocket::closed_by_peer() {
  while (fill()) buffer_.clear();
  return std::chrono::steady_clock::now() < deadline_;
}

RawResponse read_response(RawSocket& socket) {
  RawResponse response;
  std::string head = socket.read_until("\r\n\r\n");
  if (head.size() < 12 || head.compare(0, 7, "HTTP/1.") != 0) return response;
  std::from_chars(head.data() + 9, head.data() + 12, response.status);
  std::size_t at = head.find("\r\n") + 2;
  while (at < head.size()) {
    const std::size_t end = head.find("\r\n", at);
    const std::string line = head.substr(at, end - at);
    at = end + 2;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::size_t value = line.find_first_not_of(' ', colon + 1);
    response.headers[name] = value == std::string::npos ? std::string() : line.substr(value);
  }
  if (const auto length = response.headers.find("content-length"); length != response.headers.end()) {
    std::size_t size = 0;
    std::from_chars(length->second.data(), length->second.data() + length->second.size(), size);
    response.body = socket.read_exactly(size);
  }
  return response;
}

RawResponse send_and_read(RawSocket& socket, std::string_view bytes) {
  // A server may answer and close before it has read everything (413): the answer counts, not the failed send.
  (void)socket.send(bytes);
  return read_response(socket);
}

RawResponse request(std::uint16_t port, std::string_view method, std::string_view target, const Headers& headers,
                    std::string_view body) {
  RawSocket socket(port);
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, target);
  for (const auto& [name, value] : headers) text += fmt::format("{}: {}\r\n", name, value);
  if (!body.empty() || method == "POST") text += fmt::format("Content-Length: {}\r\n", body.size());
  text += "\r\n";
  text += body;
  return send_and_read(socket, text);
}

RawWebSocket::RawWebSocket(std::uint16_t port, std::string_view target, const Headers& headers,
                           std::chrono::seconds deadline)
    : socket_(port, deadline) {
  std::string text = fmt::format(
      "GET {} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
      target);
  for (const auto& [name, value] : headers) text += fmt::format("{}: {}\r\n", name, value);
  response_ = send_and_read(socket_, text + "\r\n");
}

bool RawWebSocket::send_frame(std::uint8_t opcode, std::string_view payload, bool is_masked, bool is_final) {
  std::string frame;
  frame += static_cast<char>((is_final ? 0x80 : 0) | opcode);
  const std::uint8_t mask_bit = is_masked ? 0x80 : 0;
  if (payload.size() < 126) {
    frame += static_cast<char>(mask_bit | payload.size());
  } else if (payload.size() < 65'536) {
    frame += static_cast<char>(mask_bit | 126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size() & 0xff);
  } else {
    frame += static_cast<char>(mask_bit | 127);
    for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>((payload.size() >> shift) & 0xff);
  }
  if (is_masked) {
    const unsigned char mask[4] = {0x12, 0x34, 0x56, 0x78};
    frame.append(reinterpret_cast<const char*>(mask), 4);
    for (std::size_t i = 0; i < payload.size(); ++i)
      frame += static_cast<char>(static_cast<unsigned char>(payload[i]) ^ mask[i % 4]);
  } else {
    frame += payload;
  }
  return socket_.send(frame);
}

int RawWebSocket::Frame::close_code() const {
  if (opcode != 0x8 || payload.size() < 2) return 0;
  return static_cast<unsigned char>(payload[0]) * 256 + static_cast<unsigned char>(payload[1]);
}

std::optional<RawWebSocket::Frame> RawWebSocket::read_frame() {
  for (;;) {
    const std::string head = socket_.read_exactly(2);
    if (head.size() < 2) return std::nullopt;
    Frame frame;
    frame.opcode = static_cast<std::uint8_t>(head[0]) & 0x0f;
    std::uint64_t size = static_cast<std::uint8_t>(head[1]) & 0x7f;
    if (size >= 126) {
      const std::string extended = socket_.read_exactly(size == 126 ? 2 : 8);
      size = 0;
      for (const char byte : extended) size = size << 8 | static_cast<unsigned char>(byte);
    }
    frame.payload = socket_.read_exactly(size);
    if (frame.payload.size() < size) return std::nullopt;
    if (frame.opcode != 0x9) return frame;
    send_frame(0xA, frame.payload);
  }
}

}  // namespace nizhal::testing
