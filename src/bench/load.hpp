// The load: HTTP/1.1 with keep-alive over plain sockets, small, so that what is measured is the server. One thread
// drives all connections; each sends its next request when the last one is answered.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

#include "bench/plain_socket.hpp"

namespace nizhal::bench {

/// A whole request, header and body.
std::string http_post(std::string_view path, std::string_view token, std::string_view body,
                      std::string_view more_headers = {});

/// Takes an answer apart as its bytes arrive.
class AnswerReader {
 public:
  /// True when an answer is complete; more bytes than one answer, or anything but HTTP/1.1 with a Content-Length, is
  /// an error.
  Result<bool> take(std::string_view bytes);
  int status() const { return status_; }
  std::string_view body() const { return std::string_view(buffer_).substr(header_bytes_); }
  void begin_next();

 private:
  std::string buffer_;
  std::size_t header_bytes_ = 0, body_bytes_ = 0;
  int status_ = 0;
};

/// One connection on which the caller waits for each answer.
class HttpPeer {
 public:
  static Result<HttpPeer> connect(std::uint16_t port);

  struct Answer {
    int status = 0;
    std::string body;
  };
  Result<Answer> exchange(std::string_view request);
  /// The two halves of it, for many connections at once.
  Result<void> send(std::string_view request);
  Result<Answer> receive();

 private:
  explicit HttpPeer(Socket socket) : socket_(std::move(socket)) {}
  Socket socket_;
};

struct LoadPlan {
  std::uint16_t port = 0;
  std::size_t connections = 16;
  std::chrono::milliseconds duration{1'000};
  /// The next whole request of a connection.
  std::function<std::string(std::size_t connection)> next;
  /// The units of work that an answer stands for; an error ends the load.
  std::function<Result<std::uint64_t>(std::size_t connection, int status, std::string_view body)> done;
};

struct LoadResult {
  std::uint64_t units = 0;  // of the answers that came before the time was up; those after are waited for, not counted
  double seconds = 0;
  double per_second() const { return seconds > 0 ? static_cast<double>(units) / seconds : 0; }
};
Result<LoadResult> run_load(const LoadPlan& plan);

}  // namespace nizhal::bench
