// The server's sockets: HTTP/1.1 with keep-alive, and the upgrade of /sync/stream to a WebSocket.
//
// Place in the loop: it carries push, pull and poke between devices and the service and knows nothing of them. One I/O
// thread owns all sockets; what may block runs on the worker pool. The fact that must not break: nothing that a peer
// sends, and nothing that the service throws, ends the process, and every buffer and queue is bounded.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nizhal/result.hpp>

#include "base/log.hpp"
#include "net/http_service.hpp"
#include "net/worker_pool.hpp"

namespace nizhal::net {

using std::chrono::milliseconds;

struct StreamLimits {
  std::size_t frame_bytes_max = 64 * 1024;  // longer frames: 1009
  // A reader behind by this much is told to pull instead (1013). Pokes are some tens of bytes.
  std::size_t outgoing_bytes_max = 64 * 1024;
  // Reads, messages and control frames of one peer; more than that closes it with 1008. A device sends some frames a
  // minute; after a reconnect it may have a hundred buckets to be present in.
  std::size_t events_burst = 1'000;
  double events_per_second = 100;
  milliseconds handshake_timeout{10'000};
  milliseconds idle_timeout{60'000};  // pinged after half of it, dropped after all of it
  milliseconds close_timeout{2'000};  // for the closing handshake
  int send_buffer_bytes = 0;          // SO_SNDBUF; 0: the system's own
};

/// Work on a worker thread every `interval`, never beside itself.
struct Periodic {
  milliseconds interval{};
  std::function<void()> work;
  milliseconds first_after = interval;
  WorkerPool* workers = nullptr;  // where it runs when it may take long; null: where requests do
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::size_t body_bytes_max = 1 << 20;
  std::uint32_t header_bytes_max = 16 * 1024;
  std::uint64_t descriptors_wanted =
      10'500;                           // ten thousand devices, and what a server has open itself; fewer: a warning
  milliseconds idle_timeout{75'000};    // between requests; above the 60 s of common proxies
  milliseconds header_timeout{10'000};  // from its first byte to its last
  milliseconds body_timeout{60'000};    // a full body over a slow mobile link
  milliseconds write_timeout{30'000};   // without any progress
  milliseconds answer_timeout{10'000};  // then 503, whatever the service still does
  milliseconds linger_timeout{2'000};   // to let a client read the answer while it is still sending
  milliseconds stop_timeout{10'000};    // for requests under way when stopping
  std::vector<std::string> allowed_origins = {};  // of pages that CORS lets in, as server::parse_origin gives them
  StreamLimits stream = {};
  std::vector<Periodic> periodic = {};
  std::function<void()> on_stopping = {};  // once, on the I/O thread, before anything is closed
  bool handle_signals = false;             // SIGTERM and SIGINT stop it
};

class HttpServer {
 public:
  /// Binds and listens. Errors (unreachable) name the address. `service` and `workers` must outlive the server; the
  /// workers must be stopped before it is destroyed.
  static Result<std::unique_ptr<HttpServer>> open(HttpServerOptions options, HttpService& service, WorkerPool& workers,
                                                  Log log);
  ~HttpServer();

  std::uint16_t port() const;
  /// Serves on this thread until stopped and all connections are done, or the stop timeout has passed.
  void run();
  /// Any thread, any number of times, also before run().
  void stop();
  /// As Timers::after, on the I/O thread: behind what the sockets already have for it.
  void after(std::chrono::microseconds delay, std::function<void()> work);

  struct Loop;

 private:
  explicit HttpServer(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace nizhal::net
