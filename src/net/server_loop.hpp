// What the server's connections share: the I/O thread's state. Only http_server.cpp, http_connection.cpp and
// stream_connection.cpp include this. All members belong to the I/O thread but `io` (for posting) and `workers`.
#pragma once

#include <memory>
#include <unordered_set>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "net/http_server.hpp"
#include "server/origins.hpp"

namespace nizhal::net {

namespace asio = boost::asio;

/// A socket with a protocol on it. Kept alive by Loop::connections until it leaves that set.
class Connection {
 public:
  virtual ~Connection() = default;
  /// The server stops: finish what is under way, begin nothing new.
  virtual void begin_stop() = 0;
  /// End now.
  virtual void abort() = 0;
};

struct HttpServer::Loop {
  Loop(HttpServerOptions given, HttpService& given_service, WorkerPool& given_workers, Log given_log)
      : options(std::move(given)),
        service(given_service),
        workers(given_workers),
        log(std::move(given_log)),
        origins(options.allowed_origins) {}

  HttpServerOptions options;
  HttpService& service;
  WorkerPool& workers;
  Log log;
  const server::Origins origins;
  asio::io_context io{1};
  asio::ip::tcp::acceptor acceptor{io};
  asio::signal_set signals{io};
  asio::steady_timer accept_pause{io};
  asio::steady_timer stop_deadline{io};
  std::vector<std::unique_ptr<asio::steady_timer>> periodic_timers;
  std::unordered_set<std::shared_ptr<Connection>> connections;
  std::uint16_t port = 0;
  bool stopping = false;
  bool cannot_accept = false;  // the last time, and the log has been told

  void accept();
  void run_periodic(std::size_t index, milliseconds after);
  void begin_stop();
  void add(std::shared_ptr<Connection> connection) { connections.insert(std::move(connection)); }
  void remove(const std::shared_ptr<Connection>& connection) {
    connections.erase(connection);
    if (stopping && connections.empty()) stop_deadline.cancel();
  }
};

/// Begins to serve HTTP on a socket.
void start_http_connection(HttpServer::Loop& loop, asio::ip::tcp::socket socket);

}  // namespace nizhal::net
