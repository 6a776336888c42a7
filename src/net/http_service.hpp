// What a server of sockets serves: the door between the transports and the server core, or a test's stand-in.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include <nizhal/result.hpp>

#include "protocol/transport.hpp"
#include "server/server_sync.hpp"

namespace nizhal::net {

/// One open stream as the service sees it. Called by one thread at a time, never on an I/O thread.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  /// After the upgrade, before any frame. `peer` may outlive the socket.
  virtual void opened(std::shared_ptr<server::StreamPeer> peer) = 0;
  /// A text frame; an empty text stands for a binary frame, which no client of this protocol sends.
  virtual void frame(std::string_view text) = 0;
  /// Last, and once, for every handler that was opened.
  virtual void closed() = 0;
};

class HttpService {
 public:
  virtual ~HttpService() = default;
  /// True: `handle` answers from memory and may run on an I/O thread.
  virtual bool is_immediate(const protocol::HttpRequest& request) const = 0;
  /// A body above the limit comes as any text above the limit, so that the service's own order of checks decides.
  virtual protocol::HttpResponse handle(const protocol::HttpRequest& request) = 0;
  /// Called first, on an I/O thread; must not block. True: `answer` is called once, on any thread; with nothing, the
  /// request goes to `handle`. False: to `handle` at once.
  virtual bool try_defer(const protocol::HttpRequest& /*request*/,
                         std::function<void(std::optional<protocol::HttpResponse>)> /*answer*/) {
    return false;
  }
  virtual tl::expected<std::shared_ptr<StreamHandler>, protocol::HttpResponse> authorize_stream(
      const protocol::HttpRequest& request) = 0;
};

}  // namespace nizhal::net
