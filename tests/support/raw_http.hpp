// HTTP and WebSocket over a plain POSIX socket, for tests that must be able to send what no well-behaved client would.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace nizhal::testing {

/// How long a connection of a test may last: longer than anything takes, sanitizers and a busy machine included.
inline constexpr std::chrono::seconds kRawDeadline{300};

/// A TCP connection to loopback. Reads give up after the deadline.
class RawSocket {
 public:
  explicit RawSocket(std::uint16_t port, std::chrono::seconds deadline = kRawDeadline);
  ~RawSocket();
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;
  bool is_open() const { return descriptor_ >= 0; }
  bool send(std::string_view bytes);
  void shut_down_sending();
  /// Up to `count` bytes; fewer when the other side closed or the deadline passed.
  std::string read_exactly(std::size_t count);
  /// Through the first occurrence of `end`; what came, when it never does.
  std::string read_until(std::string_view end);
  /// True when the other side closed (or reset) the connection before the deadline; discards what comes before.
  bool closed_by_peer();

 private:
  bool fill();
  int descriptor_ = -1;
  std::string buffer_;
  std::chrono::steady_clock::time_point deadline_;
};

struct RawResponse {
  int status = 0;                              // 0: no answer that could be read
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

/// Sends bytes as they are and reads one response.
RawResponse send_and_read(RawSocket& socket, std::string_view bytes);
RawResponse read_response(RawSocket& socket);

using Headers = std::multimap<std::string, std::string>;
/// One request on its own connection.
RawResponse request(std::uint16_t port, std::string_view method, std::string_view target, const Headers& headers = {},
                    std::string_view body = {});

/// A WebSocket client that can also send broken frames.
class RawWebSocket {
 public:
  /// Connects and upgrades; `response().status` is 101 when that worked.
  RawWebSocket(std::uint16_t port, std::string_view target, const Headers& headers = {},
               std::chrono::seconds deadline = kRawDeadline);
  const RawResponse& response() const { return response_; }
  bool send_text(std::string_view text) { return send_frame(0x1, text); }
  bool send_frame(std::uint8_t opcode, std::string_view payload, bool is_masked = true, bool is_final = true);
  bool send_bytes(std::string_view bytes) { return socket_.send(bytes); }
  struct Frame {
    std::uint8_t opcode = 0;
    std::string payload;
    /// Of a close frame; 0 when it has none.
    int close_code() const;
  };
  /// The next frame that is not a ping (pings are answered); nothing when the connection ended or the deadline passed.
  std::optional<Frame> read_frame();

 private:
  RawSocket socket_;
  RawResponse response_;
};

}  // namespace nizhal::testing
