// A device's requests: one keep-alive connection, one request at a time, in order of sending.
//
// Threads: all members and callbacks on the thread that runs the io_context.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>

#include <nizhal/result.hpp>

#include "net/client_net.hpp"
#include "protocol/transport.hpp"

namespace nizhal::net {

class HttpClient {
 public:
  /// Any answer of the server is a value, whatever its status. Errors say what was tried: unreachable when nothing of
  /// the request left, outcome_unknown when the server may have seen it, closed when it was cancelled.
  using Done = std::function<void(Result<protocol::HttpResponse>)>;

  HttpClient(boost::asio::io_context& io, ClientNetOptions options);
  ~HttpClient();  // callbacks of what is under way are not called any more
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// `timeout` counts from the request's turn, connecting included. A request whose kept connection turns out to be
  /// closed, with nothing received, is sent once more on a new one: whoever sends must be ready for the server to see
  /// it twice.
  void send(protocol::HttpRequest request, std::chrono::milliseconds timeout, Done done);
  /// Fails all that is under way (closed) and drops the connection.
  void cancel();

 private:
  struct State;
  boost::asio::io_context& io_;
  ClientNetOptions options_;
  std::shared_ptr<State> state_;
};

}  // namespace nizhal::net
