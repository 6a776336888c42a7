// Carries the device's requests to a SyncTarget on a thread of its own, because the app's calls may block.
//
// The facts that must not break: one call at a time, also after a cancel; and the end waits for a call that is running,
// because what it uses belongs to the app.
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>

#include <nizhal/result.hpp>

#include "base/log.hpp"
#include "net/target_adapter.hpp"
#include "protocol/transport.hpp"

namespace nizhal::net {

/// All members on the thread that runs the io_context, is_own_thread() on any.
class TargetTransport {
 public:
  using Done = std::function<void(Result<protocol::HttpResponse>)>;

  TargetTransport(boost::asio::io_context& io, std::unique_ptr<TargetAdapter> adapter);
  ~TargetTransport();  // `done` of what is under way is not called any more
  TargetTransport(const TargetTransport&) = delete;
  TargetTransport& operator=(const TargetTransport&) = delete;

  void send(protocol::HttpRequest request, Done done);
  /// Fails what is under way (closed). A call that is running goes on and its answer is dropped.
  void cancel();
  bool is_own_thread() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::net
