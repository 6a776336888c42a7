#include "net/websocket_client.hpp"

#include <deque>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "net/dial.hpp"

namespace nizhal::net {

namespace http = beast::http;
namespace websocket = beast::websocket;
using boost::system::error_code;
using std::chrono::steady_clock;

struct WebSocketClient::Session {
  ClientNetOptions options;
  WebSocketEvents events;
  bool is_live = true;                          // false: nobody listens any more
  std::function<void()> hang_up;                // set while there is a socket
  std::function<void(std::string text)> write;  // set while it is open

  void end(std::string reason) {
    hang_up = nullptr;
    write = nullptr;
    if (std::exchange(is_live, false)) events.closed(std::move(reason));
  }
};

namespace {

using Session = WebSocketClient::Session;

std::string close_text(const websocket::close_reason& reason, const Url& url) {
  return reason.reason.empty()
             ? fmt::format("closed by the server with {} ({})", reason.code, url.endpoint())
             : fmt::format("closed by the server with {} \"{}\" ({})", reason.code,
                           std::string_view(reason.reason.data(), reason.reason.size()), url.endpoint());
}

/// Frames on their way out, one at a time and in order.
template <class Next>
class Writer : public std::enable_shared_from_this<Writer<Next>> {
 public:
  Writer(std::weak_ptr<Session> session, std::shared_ptr<websocket::stream<Next, false>> socket)
      : session_(std::move(session)), socket_(std::move(socket)) {}

  void send(std::string text) {
    const auto session = session_.lock();
    if (!session) return;
    waiting_bytes_ += text.size();
    // The reading ends with the connection, and says so.
    if (waiting_bytes_ > session->options.frames_waiting_bytes_max) return beast::get_lowest_layer(*socket_).close();
    waiting_.push_back(std::move(text));
    if (waiting_.size() == 1) write_next();
  }

 private:
  void write_next() {
    socket_->async_write(asio::buffer(waiting_.front()),
                         [self = this->shared_from_this()](error_code error, std::size_t) {
                           const auto session = self->session_.lock();
                           if (error || !session || !session->is_live) return;
                           self->waiting_bytes_ -= self->waiting_.front().size();
                           self->waiting_.pop_front();
                           if (!self->waiting_.empty()) self->write_next();
                         });
  }

  std::weak_ptr<Session> session_;
  std::shared_ptr<websocket::stream<Next, false>> socket_;
  std::deque<std::string> waiting_;  // the first one is being written
  std::size_t waiting_bytes_ = 0;
};

/// The socket is shared with the closing of it, which may be under way when reading has ended.
template <class Next>
asio::awaitable<std::string> listen(std::shared_ptr<Session> session,
                                    std::shared_ptr<websocket::stream<Next, false>> socket, std::string target,
                                    std::string token) {
  const ClientNetOptions& options = session->options;
  beast::get_lowest_layer(*socket).expires_never();  // from here on Beast's WebSocket keeps the time
  websocket::stream_base::timeout timeout{};
  timeout.handshake_timeout = options.connect_timeout;
  timeout.idle_timeout = options.socket_idle_timeout;
  timeout.keep_alive_pings = true;
  socket->set_option(timeout);
  socket->read_message_max(options.frame_bytes_max);
  if (!token.empty())
    socket->set_option(
        websocket::stream_base::decorator([bearer = "Bearer " + token](websocket::request_type& request) {
          request.set(http::field::authorization, bearer);
        }));
  // A stream takes no close frame while its handshake writes and reads: until then the connection is dropped.
  session->hang_up = [socket] { beast::get_lowest_layer(*socket).close(); };

  error_code error;
  websocket::response_type answer;
  co_await socket->async_handshake(answer, options.server.host_header(), options.server.base_path + target,
                                   asio::redirect_error(asio::use_awaitable, error));
  if (error == websocket::error::upgrade_declined)
    co_return fmt::format("the server answered {} ({})", answer.result_int(), options.server.endpoint());
  if (error) co_return describe(error, options.server);
  if (!session->is_live) co_return std::string();
  session->hang_up = [socket] { socket->async_close(websocket::close_code::normal, [socket](error_code) {}); };
  socket->text(true);
  session->write = [writer = std::make_shared<Writer<Next>>(session, socket)](std::string text) {
    writer->send(std::move(text));
  };
  session->events.opened();

  beast::flat_buffer buffer;
  while (session->is_live) {
    co_await socket->async_read(buffer, asio::redirect_error(asio::use_awaitable, error));
    if (error == websocket::error::closed) co_return close_text(socket->reason(), options.server);
    if (error) co_return describe(error, options.server);
    if (session->is_live && socket->got_text()) {
      const auto data = buffer.data();
      session->events.frame(std::string_view(static_cast<const char*>(data.data()), data.size()));
    }
    buffer.consume(buffer.size());
  }
  co_return std::string();
}

asio::awaitable<std::string> connect_and_listen(asio::io_context& io, std::shared_ptr<Session> session,
                                                std::string target, std::string token) {
  const ClientNetOptions& options = session->options;
  const TimePoint deadline = steady_clock::now() + options.connect_timeout;
  auto tcp = co_await dial(io, options.server, deadline);
  if (!tcp) co_return tcp.error().message;
  if (!session->is_live) co_return std::string();
  if (!options.server.secure) {
    auto socket = std::make_shared<websocket::stream<beast::tcp_stream, false>>(std::move(*tcp));
    co_return co_await listen(session, std::move(socket), std::move(target), std::move(token));
  }
  const auto context = make_tls_context(options.ca_file);
  if (!context) co_return context.error().message;
  auto tls = co_await start_tls(std::move(*tcp), **context, options.server, deadline);
  if (!tls) co_return tls.error().message;
  if (!session->is_live) co_return std::string();
  auto socket = std::make_shared<websocket::stream<TlsStream, false>>(std::move(**tls));
  co_return co_await listen(session, std::move(socket), std::move(target), std::move(token));
}

asio::awaitable<void> run_session(asio::io_context& io, std::shared_ptr<Session> session, std::string target,
                                  std::string token) {
  std::string reason;
  try {
    reason = co_await connect_and_listen(io, session, std::move(target), std::move(token));
  } catch (const std::exception& error) {
    reason = error.what();
  }
  session->end(std::move(reason));
}

}  // namespace

WebSocketClient::WebSocketClient(asio::io_context& io, ClientNetOptions options, WebSocketEvents events)
    : io_(io), options_(std::move(options)), events_(std::move(events)) {}

WebSocketClient::~WebSocketClient() { close(); }

void WebSocketClient::open(std::string target, std::string token) {
  close();
  session_ = std::make_shared<Session>();
  session_->options = options_;
  session_->events = events_;
  asio::co_spawn(io_, run_session(io_, session_, std::move(target), std::move(token)), asio::detached);
}

void WebSocketClient::send(std::string text) {
  if (session_ && session_->write) session_->write(std::move(text));
}

void WebSocketClient::close() {
  if (!session_) return;
  session_->is_live = false;
  session_->write = nullptr;
  if (auto hang_up = std::exchange(session_->hang_up, nullptr)) hang_up();
  session_.reset();
}

}  // namespace nizhal::net
