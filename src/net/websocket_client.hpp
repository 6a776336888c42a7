// A device's ear: one WebSocket to /sync/stream, on which the server says when to pull.
//
// Threads: all members and callbacks on the thread that runs the io_context.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>

#include "net/client_net.hpp"

namespace nizhal::net {

struct WebSocketEvents {
  std::function<void()> opened;
  std::function<void(std::string_view text)> frame;
  std::function<void(std::string reason)> closed;  // also when opening failed; once per open()
};

class WebSocketClient {
 public:
  WebSocketClient(boost::asio::io_context& io, ClientNetOptions options, WebSocketEvents events);
  ~WebSocketClient();  // as close()
  WebSocketClient(const WebSocketClient&) = delete;
  WebSocketClient& operator=(const WebSocketClient&) = delete;

  /// Opens a socket in place of the one that is open. `target` is the path with its query, below the base path.
  void open(std::string target, std::string token);
  /// A text frame, after those that wait already. Ignored when nothing is open.
  void send(std::string text);
  /// No callback comes after this.
  void close();

  struct Session;

 private:
  boost::asio::io_context& io_;
  ClientNetOptions options_;
  WebSocketEvents events_;
  std::shared_ptr<Session> session_;
};

}  // namespace nizhal::net
