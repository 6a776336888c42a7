// /sync/stream on one socket: pokes out, frames in. An idle one holds a few kilobytes, so that ten thousand fit: no
// buffer but Beast's own, no timer but Beast's own, and a socket type without type erasure.
//
// The fact that must not break: what a peer sends, or does not read, ends at most its own connection.
#include <array>
#include <exception>
#include <list>
#include <mutex>
#include <utility>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "net/http_connection.hpp"

namespace nizhal::net {
namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using asio::ip::tcp;
using beast::error_code;

class StreamConnection;

/// What a peer may make the server do: each read of its socket, each message and each control frame takes one. Read
/// by read, because a frame may be cut into any number of pieces, and some of them are seen by nobody but Beast.
class Allowance {
 public:
  explicit Allowance(const StreamLimits& limits) : limits_(limits), left_(static_cast<double>(limits.events_burst)) {}
  /// False: too many.
  bool take() {
    if (left_ < 1) {
      const auto now = std::chrono::steady_clock::now();
      const double seconds = std::chrono::duration<double>(now - filled_at_).count();
      left_ = std::min(static_cast<double>(limits_.events_burst), left_ + seconds * limits_.events_per_second);
      filled_at_ = now;
    }
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  const StreamLimits& limits_;
  double left_;
  std::chrono::steady_clock::time_point filled_at_ = std::chrono::steady_clock::now();
};

using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                         asio::io_context::executor_type>;
using PlainSocket = asio::basic_stream_socket<tcp, asio::io_context::executor_type>;

/// A socket that counts how often it is read, and tells once when that is too often.
class CountedSocket : public PlainSocket {
 public:
  CountedSocket(PlainSocket socket, const StreamLimits& limits) : PlainSocket(std::move(socket)), allowance_(limits) {}
  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    count();
    return PlainSocket::async_read_some(buffers, std::forward<Token>(token));
  }
  void count() {
    if (on_excess && !allowance_.take()) std::exchange(on_excess, nullptr)();
  }

  std::function<void()> on_excess;

 private:
  Allowance allowance_;
};

// Beast finds this by its argument's type: how such a socket is shut down.
template <class Handler>
void async_teardown(beast::role_type role, CountedSocket& socket, Handler&& handler) {
  websocket::async_teardown(role, static_cast<PlainSocket&>(socket), std::forward<Handler>(handler));
}
/// Without the executor that can be any.
PlainSocket plain(HttpServer::Loop& loop, tcp::socket socket) {
  PlainSocket own(loop.io.get_executor());
  error_code error;
  const auto protocol = socket.local_endpoint(error).protocol();
  const auto descriptor = socket.release(error);
  if (!error) own.assign(protocol, descriptor, error);  // one that is not open fails in the upgrade's answer
  return own;
}

/// What the service holds: it may outlive the socket and the loop, so it only names the connection.
class Peer : public server::StreamPeer {
 public:
  explicit Peer(std::weak_ptr<StreamConnection> connection) : connection_(std::move(connection)) {}
  void send(std::string frame) override;
  void close(int code, std::string_view reason) override;
  std::size_t waiting_bytes() const override;

 private:
  std::weak_ptr<StreamConnection> connection_;
};

class StreamConnection : public Connection, public std::enable_shared_from_this<StreamConnection> {
  /// A completion that does not keep this alive; the loop does, until it is finished. Beast holds operations back while
  /// others are under way (a close, an answer to a frame), and those are never completed once the socket is gone: they
  /// would keep the connection for ever, and the server from ending.
  template <class Handle>
  auto while_alive(Handle handle) {
    return [weak = weak_from_this(), handle](auto... results) {
      if (const auto self = weak.lock()) handle(*self, results...);
    };
  }

 public:
  StreamConnection(HttpServer::Loop& loop, tcp::socket socket, std::shared_ptr<StreamHandler> handler)
      : loop_(loop), socket_(plain(loop, std::move(socket)), loop.options.stream), handler_(std::move(handler)) {}

  void start(const beast::http::request<beast::http::empty_body>& upgrade) {
    loop_.add(shared_from_this());
    const StreamLimits& limits = loop_.options.stream;
    websocket::stream_base::timeout timeout{};
    timeout.handshake_timeout = limits.handshake_timeout;
    timeout.idle_timeout = limits.idle_timeout;
    timeout.keep_alive_pings = true;
    socket_.set_option(timeout);
    socket_.read_message_max(limits.frame_bytes_max);
    socket_.auto_fragment(false);
    socket_.text(true);
    next_layer().on_excess = [this] { too_much(); };
    socket_.control_callback([this](websocket::frame_type kind, beast::string_view) {
      if (kind == websocket::frame_type::close) return on_close_frame();
      next_layer().count();
    });
    if (limits.send_buffer_bytes > 0) {
      error_code ignored;
      next_layer().set_option(asio::socket_base::send_buffer_size(limits.send_buffer_bytes), ignored);
    }
    socket_.async_accept(upgrade, while_alive([](StreamConnection& self, error_code error) {
                           if (error) return self.finish();
                           if (self.closing_) return self.send_close();
                           self.opened_ = true;
                           self.call_handler([](StreamConnection& connection) {
                             connection.handler_->opened(std::make_shared<Peer>(connection.weak_from_this()));
                           });
                         }));
  }

  void begin_stop() override { begin_close(websocket::close_code::going_away, "the server is stopping"); }
  void abort() override { finish(); }

  /// Any thread.
  void send(std::string frame) {
    bool too_slow = false;
    {
      const std::lock_guard lock(mutex_);
      if (refuses_frames_) return;
      // A poke only says "pull": one that still waits says it for both.
      if (frame.starts_with("repull:"))
        for (const std::string& waiting : outgoing_)
          if (waiting == frame) return;
      outgoing_bytes_ += frame.size();
      too_slow = outgoing_bytes_ > loop_.options.stream.outgoing_bytes_max;
      if (too_slow) {
        refuses_frames_ = true;
        outgoing_.clear();
      } else {
        outgoing_.push_back(std::move(frame));
        if (std::exchange(flush_posted_, true)) return;
      }
    }
    asio::post(loop_.io, [self = shared_from_this(), too_slow] {
      if (too_slow) return self->begin_close(websocket::close_code::try_again_later, "too slow; reconnect and pull");
      self->flush();
    });
  }

  /// Any thread.
  std::size_t waiting_bytes() {
    const std::lock_guard lock(mutex_);
    return outgoing_bytes_;
  }

  /// Any thread.
  void close(int code, std::string reason) {
    asio::post(loop_.io, [self = shared_from_this(), code, reason = std::move(reason)] {
      self->begin_close(static_cast<websocket::close_code>(code), reason);
    });
  }

 private:
  CountedSocket& next_layer() { return socket_.next_layer(); }

  /// On a worker; reading goes on only afterwards, so a stream has at most one frame in work.
  template <class Call>
  void call_handler(Call call) {
    loop_.workers.post([self = shared_from_this(), call = std::move(call)] {
      bool failed = true;
      try {
        call(*self);
        failed = false;
      } catch (const std::exception& error) {
        self->loop_.log.error("stream", std::string("the stream's handler threw: ") + error.what());
      } catch (...) {
        self->loop_.log.error("stream", "the stream's handler threw something that is no std::exception");
      }
      asio::post(self->loop_.io, [self, failed] {
        self->handler_busy_ = false;
        if (self->done_) return self->tell_closed();
        if (failed) self->begin_close(websocket::close_code::internal_error, "the server met a bug");
        self->read();
      });
    });
    handler_busy_ = true;
  }

  /// Into a small piece of this object: a buffer that waits for a message would be most of what an idle stream holds.
  void read() {
    socket_.async_read_some(asio::buffer(piece_),
                            while_alive([](StreamConnection& self, error_code error, std::size_t bytes) {
                              // Beast has sent the close code that fits: 1002, 1007, 1009
                              if (error) return self.finish();
                              self.on_piece(bytes);
                            }));
  }

  void on_piece(std::size_t bytes) {
    message_.append(piece_.data(), bytes);
    if (!socket_.is_message_done()) return read();
    next_layer().count();
    std::string text = std::exchange(message_, {});
    if (closing_) return read();
    if (!socket_.got_text()) text.clear();
    call_handler([text = std::move(text)](StreamConnection& connection) { connection.handler_->frame(text); });
  }

  void too_much() {
    asio::post(loop_.io, [self = shared_from_this()] {
      self->begin_close(websocket::close_code::policy_error, "too many frames; reconnect later");
    });
  }

  /// Inside a read. Beast answers the frame and then waits for the peer to hang up, which may never happen.
  void on_close_frame() {
    if (closing_) return asio::post(loop_.io, [self = shared_from_this()] { self->finish(); });
    end_soon();
  }

  void end_soon() {
    close_timer_ = std::make_unique<Timer>(loop_.io, loop_.options.stream.close_timeout);
    close_timer_->async_wait(while_alive([](StreamConnection& self, error_code cancelled) {
      if (!cancelled) self.finish();
    }));
  }

  void flush() {
    {
      const std::lock_guard lock(mutex_);
      flush_posted_ = false;
      if (writing_ || closing_ || done_ || !opened_ || outgoing_.empty()) return;
      current_ = std::move(outgoing_.front());
      outgoing_.pop_front();
    }
    writing_ = true;
    socket_.async_write(asio::buffer(current_), while_alive([](StreamConnection& self, error_code error, std::size_t) {
                          self.writing_ = false;
                          if (error) return self.finish();
                          {
                            // A frame counts until the kernel has it.
                            const std::lock_guard lock(self.mutex_);
                            if (!self.refuses_frames_) self.outgoing_bytes_ -= self.current_.size();
                          }
                          self.current_ = std::string();
                          if (self.closing_) return self.send_close();
                          self.flush();
                        }));
  }

  void begin_close(websocket::close_code code, std::string_view reason) {
    if (done_ || closing_) return;
    closing_ = true;
    {
      const std::lock_guard lock(mutex_);
      refuses_frames_ = true;
      outgoing_.clear();
    }
    close_code_ = code;
    close_text_ = reason.substr(0, kReasonMax);
    end_soon();  // a peer that does not read blocks the close frame too
    if (!writing_ && opened_) send_close();
  }

  void send_close() {
    const websocket::close_reason reason(close_code_, beast::string_view(close_text_.data(), close_text_.size()));
    socket_.async_close(reason, while_alive([](StreamConnection& self, error_code) { self.finish(); }));
  }

  void finish() {
    if (done_) return;
    done_ = true;
    if (close_timer_) close_timer_->cancel();
    {
      const std::lock_guard lock(mutex_);
      refuses_frames_ = true;
      outgoing_.clear();
    }
    error_code ignored;
    next_layer().close(ignored);
    if (!handler_busy_) tell_closed();
    loop_.remove(shared_from_this());
  }

  void tell_closed() {
    if (!opened_) return;
    loop_.workers.post([handler = std::move(handler_), log = loop_.log] {
      try {
        handler->closed();
      } catch (...) {
        log.error("stream", "the stream's handler threw when it was closed");
      }
    });
  }

  static constexpr std::size_t kPieceBytes = 128;  // most messages fit: "ping", a heartbeat of presence
  static constexpr std::size_t kReasonMax = 120;   // a control frame holds 125 bytes, two of them the code

  HttpServer::Loop& loop_;
  websocket::stream<CountedSocket, false> socket_;  // false: no permessage-deflate, 100 KB per socket
  std::unique_ptr<Timer> close_timer_;              // while it is closing
  std::array<char, kPieceBytes> piece_;
  std::string message_;  // as far as it came
  std::shared_ptr<StreamHandler> handler_;
  std::string current_;  // being written
  websocket::close_code close_code_ = websocket::close_code::none;
  std::string close_text_;
  bool opened_ = false;
  bool writing_ = false;
  bool closing_ = false;
  bool done_ = false;
  bool handler_busy_ = false;

  std::mutex mutex_;                 // for what follows, which senders touch
  std::list<std::string> outgoing_;  // not a deque: that allocates even when empty
  std::size_t outgoing_bytes_ = 0;
  bool flush_posted_ = false;
  bool refuses_frames_ = false;
};

void Peer::send(std::string frame) {
  if (const auto connection = connection_.lock()) connection->send(std::move(frame));
}

void Peer::close(int code, std::string_view reason) {
  if (const auto connection = connection_.lock()) connection->close(code, std::string(reason));
}

std::size_t Peer::waiting_bytes() const {
  const auto connection = connection_.lock();
  return connection ? connection->waiting_bytes() : 0;
}

}  // namespace

void start_stream_connection(HttpServer::Loop& loop, tcp::socket socket,
                             const beast::http::request<beast::http::empty_body>& upgrade,
                             std::shared_ptr<StreamHandler> handler) {
  std::make_shared<StreamConnection>(loop, std::move(socket), std::move(handler))->start(upgrade);
}

}  // namespace nizhal::net
