// For the tests of net: a service that says what a test tells it to, a server in a thread, and a socket that sends
// bytes as they are. Waiting is for events, up to a deadline that only a failing test reaches.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "net/http_server.hpp"

namespace nizhal::net::test {

/// Longer than anything takes, sanitizers and a busy machine included: only a failing test reaches it.
inline constexpr std::chrono::seconds kDeadline{120};

/// A few bytes changed, added, taken away or cut off.
inline std::string damage(Random& random, std::string bytes) {
  for (std::uint64_t n = 1 + random.below(4); n > 0 && !bytes.empty(); --n) {
    const auto at = static_cast<std::size_t>(random.below(bytes.size()));
    switch (random.below(4)) {
      case 0:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        bytes.insert(at, 1 + static_cast<std::size_t>(random.below(8)), static_cast<char>(random.below(256)));
        break;
      case 2:
        bytes.erase(at, 1 + static_cast<std::size_t>(random.below(8)));
        break;
      default:
        bytes.resize(random.below(4) == 0 ? at : bytes.size());
    }
  }
  return bytes;
}

/// A gate that one thread opens and others wait at.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();  // under the lock: whoever waits may destroy this at once
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kDeadline, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

/// Values from other threads, in order.
template <class T>
class Mailbox {
 public:
  void put(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    changed_.notify_all();  // under the lock: whoever waits may destroy this at once
  }
  std::optional<T> take() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kDeadline, [this] { return !values_.empty(); })) return std::nullopt;
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }
  bool is_empty() {
    const std::lock_guard lock(mutex_);
    return values_.empty();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> values_;
};

inline protocol::HttpResponse text_response(int status, std::string body) {
  protocol::HttpResponse response;
  response.status = status;
  response.headers["content-type"] = "text/plain";
  response.body = std::move(body);
  return response;
}

/// A service made of functions. By default it echoes the body.
class FakeService : public HttpService {
 public:
  std::function<bool(const protocol::HttpRequest&)> immediate = [](const auto&) { return false; };
  std::function<protocol::HttpResponse(const protocol::HttpRequest&)> answer = [](const auto& request) {
    return text_response(200, request.body);
  };
  using Later = std::function<void(std::optional<protocol::HttpResponse>)>;
  std::function<bool(const protocol::HttpRequest&, Later)> defer = [](const auto&, Later) { return false; };
  std::function<bool(const protocol::HttpRequest&)> may_stream = [](const auto&) { return true; };
  std::function<void()> on_opened = [] {};
  std::function<void(std::string_view)> on_frame = [](std::string_view) {};

  Mailbox<std::shared_ptr<server::StreamPeer>> opened;
  Mailbox<std::string> frames;
  Mailbox<bool> closed;

  bool is_immediate(const protocol::HttpRequest& request) const override { return immediate(request); }
  protocol::HttpResponse handle(const protocol::HttpRequest& request) override { return answer(request); }
  bool try_defer(const protocol::HttpRequest& request, Later later) override {
    return defer(request, std::move(later));
  }
  tl::expected<std::shared_ptr<StreamHandler>, protocol::HttpResponse> authorize_stream(
      const protocol::HttpRequest& request) override {
    if (!may_stream(request)) return tl::unexpected(text_response(401, "no"));
    return std::make_shared<Handler>(*this);
  }

 private:
  class Handler : public StreamHandler {
   public:
    explicit Handler(FakeService& service) : service_(service) {}
    void opened(std::shared_ptr<server::StreamPeer> peer) override {
      service_.opened.put(std::move(peer));
      service_.on_opened();
    }
    void frame(std::string_view text) override {
      service_.frames.put(std::string(text));
      service_.on_frame(text);
    }
    void closed() override { service_.closed.put(true); }

   private:
    FakeService& service_;
  };
};

class TestServer {
 public:
  struct Settings {
    HttpServerOptions http = {};
    std::size_t workers = 2;
    std::size_t queue_max = 16;
  };
  explicit TestServer(FakeService& service) : TestServer(service, Settings{}) {}
  TestServer(FakeService& service, Settings settings) : workers_(settings.workers, settings.queue_max, Log()) {
    auto opened = HttpServer::open(std::move(settings.http), service, workers_, Log());
    if (!opened) {
      ADD_FAILURE() << opened.error().message;
      std::abort();
    }
    server_ = std::move(*opened);
    thread_ = std::thread([this] {
      server_->run();
      ended_.open();
    });
  }
  ~TestServer() {
    stop();
    thread_.join();
    workers_.stop();
  }
  void stop() { server_->stop(); }
  bool wait_until_ended() { return ended_.wait(); }
  std::uint16_t port() const { return server_->port(); }

 private:
  WorkerPool workers_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
  Gate ended_;
};

/// A blocking socket. Reads give up at the deadline.
class RawSocket {
 public:
  explicit RawSocket(std::uint16_t port, int receive_buffer_bytes = 0) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer_bytes > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) close();
  }
  /// One that was accepted.
  struct Accepted {
    int fd;
  };
  explicit RawSocket(Accepted accepted) : fd_(accepted.fd) {}
  RawSocket(RawSocket&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), received_(std::move(other.received_)), ended_(other.ended_) {}
  RawSocket& operator=(RawSocket&&) = delete;
  ~RawSocket() { close(); }

  bool is_open() const { return fd_ >= 0; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// With a reset instead of an orderly end.
  void reset() {
    const linger hard{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }
  void end_sending() { shutdown(fd_, SHUT_WR); }
  /// False when the peer is gone before all was sent.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  /// One HTTP answer, header and body; empty when the connection ended before a whole one.
  std::string read_response(bool has_body = true) {
    const auto end = read_until("\r\n\r\n");
    if (end == std::string::npos) return "";
    std::size_t length = 0;
    const auto at = received_.find("Content-Length: ");
    const auto lower = received_.find("content-length: ");
    const auto found = std::min(at, lower);
    if (has_body && found < end)
      length = static_cast<std::size_t>(std::strtoul(received_.c_str() + found + 16, nullptr, 10));
    while (received_.size() < end + length)
      if (!receive()) return "";
    std::string response = received_.substr(0, end + length);
    received_.erase(0, end + length);
    return response;
  }
  std::string read_bytes(std::size_t count) {
    while (received_.size() < count)
      if (!receive()) break;
    std::string bytes = received_.substr(0, count);
    received_.erase(0, bytes.size());
    return bytes;
  }
  /// Through `mark`; npos when the connection ended first.
  std::size_t read_until(std::string_view mark) {
    for (;;) {
      const auto found = received_.find(mark);
      if (found != std::string::npos) return found + mark.size();
      if (!receive()) return std::string::npos;
    }
  }
  /// True when the peer ends the connection, orderly or not, with nothing more sent.
  bool is_ended_by_peer() {
    while (receive()) {
    }
    return ended_ && received_.empty();
  }
  std::string take_received() { return std::exchange(received_, {}); }

 private:
  bool receive() {
    if (fd_ < 0 || ended_) return false;
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, static_cast<int>(std::chrono::milliseconds(kDeadline).count())) <= 0) return false;
    char bytes[65536];
    const ssize_t count = recv(fd_, bytes, sizeof bytes, 0);
    if (count <= 0) {
      ended_ = true;
      return false;
    }
    received_.append(bytes, static_cast<std::size_t>(count));
    return true;
  }

  int fd_;
  std::string received_;
  bool ended_ = false;
};

/// A WebSocket client's side by hand, so that frames can be wrong.
class RawWebSocket : public RawSocket {
 public:
  using RawSocket::RawSocket;
  /// The server's answer to the upgrade.
  std::string upgrade(std::string_view target = "/sync/stream") {
    send("GET " + std::string(target) +
         " HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    return read_response();
  }
  /// A masked frame. `first` is FIN and opcode: 0x81 text, 0x82 binary, 0x88 close, 0x89 ping.
  bool send_frame(unsigned char first, std::string_view payload) {
    std::string frame(1, static_cast<char>(first));
    if (payload.size() < 126) {
      frame.push_back(static_cast<char>(0x80 | payload.size()));
    } else if (payload.size() < 65536) {
      frame.push_back(static_cast<char>(0x80 | 126));
      frame.push_back(static_cast<char>(payload.size() >> 8));
      frame.push_back(static_cast<char>(payload.size()));
    } else {
      frame.push_back(static_cast<char>(0x80 | 127));
      for (int shift = 56; shift >= 0; shift -= 8) frame.push_back(static_cast<char>(payload.size() >> shift));
    }
    frame.append(4, '\0');  // a mask of zeros changes nothing
    frame += payload;
    return send(frame);
  }
  struct Frame {
    int opcode = -1;  // -1: the connection ended
    std::string payload;
    int close_code() const {
      if (opcode != 8 || payload.size() < 2) return 0;
      return static_cast<unsigned char>(payload[0]) * 256 + static_cast<unsigned char>(payload[1]);
    }
  };
  Frame read_frame() {
    const std::string head = read_bytes(2);
    if (head.size() < 2) return {};
    std::size_t length = static_cast<unsigned char>(head[1]) & 0x7f;
    for (std::size_t more = length == 126   ? 2
                            : length == 127 ? 8
                                            : 0,
                     i = (length = more ? 0 : length, 0);
         i < more; ++i) {
      const std::string byte = read_bytes(1);
      if (byte.empty()) return {};
      length = length * 256 + static_cast<unsigned char>(byte[0]);
    }
    return {static_cast<unsigned char>(head[0]) & 0x0f, read_bytes(length)};
  }
  /// The next frame that is no ping.
  Frame read_message() {
    for (;;) {
      Frame frame = read_frame();
      if (frame.opcode != 9) return frame;
    }
  }
};

}  // namespace nizhal::net::test
