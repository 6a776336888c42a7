// HTTP/1.1 on one socket: one request at a time, in order, so pipelined requests wait in the buffer.
#include "net/http_connection.hpp"

#include <array>
#include <atomic>
#include <exception>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include "net/url.hpp"
#include "protocol/push.hpp"

namespace nizhal::net {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using beast::error_code;

constexpr std::string_view kAllowed = "GET, HEAD, POST, PUT, OPTIONS";
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::size_t kReadBytes = 4096;

protocol::HttpResponse error_response(int status, std::string_view code, std::string_view message) {
  protocol::HttpResponse response;
  response.status = status;
  response.headers["content-type"] = "application/json";
  response.body = protocol::encode_error(code, message);
  return response;
}

protocol::HttpResponse busy(std::string_view message) {
  auto response = error_response(503, "busy", message);
  response.headers["retry-after"] = "1";
  return response;
}

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

/// Calls the service; what it throws becomes an answer.
template <class Call>
auto guarded(const Log& log, Call call) -> decltype(call()) {
  std::string what = "something that is no std::exception";
  try {
    return call();
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
  }
  log.error("server", "a request's handler threw: " + what);
  if constexpr (std::is_same_v<decltype(call()), protocol::HttpResponse>)
    return error_response(500, "internal", "the server met a bug; its log says more");
  else
    return tl::unexpected(error_response(500, "internal", "the server met a bug; its log says more"));
}

class HttpConnection : public Connection, public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(HttpServer::Loop& loop, tcp::socket socket)
      : loop_(loop), stream_(std::move(socket)), answer_timer_(loop.io) {
    error_code ignored;
    peer_ = stream_.socket().remote_endpoint(ignored).address().to_string();
  }

  void start() {
    loop_.add(shared_from_this());
    await_request();
  }

  void begin_stop() override {
    if (phase_ == Phase::idle) finish();
  }

  void abort() override { finish(); }

 private:
  enum class Phase { idle, reading, handling, answering, done };
  using Parser = http::request_parser<http::string_body>;
  struct Answer {
    explicit Answer(protocol::HttpResponse&& response) : status(response.status) {
      message.result(static_cast<unsigned>(response.status));
      for (const auto& [name, value] : response.headers) message.set(name, value);
      message.body() = std::move(response.body);
    }
    int status;
    http::response<http::string_body> message;
    std::optional<http::response_serializer<http::string_body>> serializer;
  };

  /// What decides whether a page may read the answer.
  struct Cors {
    std::string path, origin, host;
  };

  void finish() {
    if (phase_ == Phase::done) return;
    phase_ = Phase::done;
    answer_timer_.cancel();
    if (abandoned_) abandoned_->store(true);
    error_code ignored;
    stream_.socket().close(ignored);
    stream_.cancel();
    loop_.remove(shared_from_this());
  }

  void await_request() {
    parser_.reset();
    answer_.reset();
    cors_.reset();
    if (loop_.stopping && buffer_.size() == 0) return finish();
    if (buffer_.size() > 0) return read_header();
    phase_ = Phase::idle;
    if (buffer_.capacity() > kReadBytes) buffer_ = beast::flat_buffer();  // an idle socket holds little
    stream_.expires_after(loop_.options.idle_timeout);
    stream_.async_read_some(buffer_.prepare(kReadBytes),
                            [self = shared_from_this()](error_code error, std::size_t bytes) {
                              if (error) return self->finish();
                              self->buffer_.commit(bytes);
                              self->read_header();
                            });
  }

  void read_header() {
    if (phase_ == Phase::done) return;
    phase_ = Phase::reading;
    parser_.emplace();
    parser_->header_limit(loop_.options.header_bytes_max);
    parser_->body_limit(boost::none);  // set when the header is known: 413 comes after 401
    stream_.expires_after(loop_.options.header_timeout);
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = shared_from_this()](error_code error, std::size_t) { self->on_header(error); });
  }

  void on_header(error_code error) {
    if (phase_ == Phase::done) return;
    if (error) return on_read_error(error);
    const auto& request = parser_->get();
    keep_alive_ = request.keep_alive();
    head_ = request.method() == http::verb::head;
    parser_->body_limit(loop_.options.body_bytes_max);
    if (parser_->is_done()) return dispatch();
    const auto length = parser_->content_length();
    if (length && *length > loop_.options.body_bytes_max) return dispatch_too_large();
    if (request.version() < 11 || !beast::iequals(request[http::field::expect], "100-continue")) return read_body();
    stream_.expires_after(loop_.options.write_timeout);
    asio::async_write(stream_, asio::buffer(kContinue), [self = shared_from_this()](error_code failed, std::size_t) {
      if (failed) return self->finish();
      self->read_body();
    });
  }

  void read_body() {
    if (phase_ == Phase::done) return;
    stream_.expires_after(loop_.options.body_timeout);
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](error_code error, std::size_t) {
      if (self->phase_ == Phase::done) return;
      if (error == http::error::body_limit) return self->dispatch_too_large();
      if (error) return self->on_read_error(error);
      self->dispatch();
    });
  }

  void on_read_error(error_code error) {
    const bool is_parse_error = error.category() == http::make_error_code(http::error::end_of_stream).category();
    // Nobody is there, or nobody who is worth waiting for.
    if (!is_parse_error || error == http::error::end_of_stream) return finish();
    refuse(error == http::error::header_limit || error == http::error::buffer_overflow
               ? fmt::format("the request's header is longer than {} bytes", loop_.options.header_bytes_max)
               : "this is not well-formed HTTP/1.1: " + error.message());
  }

  /// What was read cannot be trusted to end where a next request begins.
  void refuse(std::string_view message) {
    keep_alive_ = false;
    has_unread_input_ = true;
    respond(error_response(400, "bad_request", message));
  }

  /// The service decides what comes before 413, so it gets a body that is too large, whatever it holds.
  void dispatch_too_large() {
    keep_alive_ = false;
    has_unread_input_ = true;
    parser_->get().body().assign(loop_.options.body_bytes_max + 1, ' ');
    dispatch();
  }

  void dispatch() {
    auto& message = parser_->get();
    const std::string_view raw(message.target().data(), message.target().size());
    note_origin(message, raw);
    if (message.method() == http::verb::options) {
      if (cors_ && !message[http::field::access_control_request_method].empty())
        return respond(loop_.origins.preflight(cors_->path, cors_->origin, cors_->host));
      protocol::HttpResponse response;
      response.status = 204;
      response.headers["allow"] = kAllowed;
      return respond(std::move(response));
    }
    auto target = parse_target(raw);
    if (!target) return refuse(target.error().message);
    auto request = std::make_shared<protocol::HttpRequest>();
    request->method = head_ ? "GET" : std::string(message.method_string());
    request->path = std::move(target->path);
    request->query = std::move(target->query);
    request->peer = peer_;
    for (const auto& field : message) {
      auto [entry, is_new] = request->headers.emplace(to_lower(field.name_string()), field.value());
      if (!is_new) entry->second.append(", ").append(field.value());
    }
    request->body = std::move(message.body());

    if (request->path == protocol::kStreamPath && request->method == "GET" && !head_)
      return authorize_stream(std::move(request));
    if (guarded_is_immediate(*request))
      return respond(guarded(loop_.log, [&] { return loop_.service.handle(*request); }));

    auto abandoned = begin_handling();
    const bool deferred = guarded_defer(*request, [self = shared_from_this(), request, abandoned](auto response) {
      asio::post(self->loop_.io, [self, request, abandoned, response = std::move(response)]() mutable {
        if (!response) return self->handle(std::move(request), std::move(abandoned));
        if (!abandoned->exchange(true)) self->respond(*std::move(response));
      });
    });
    if (!deferred) handle(std::move(request), std::move(abandoned));
  }

  /// Kept beside the request, which an answer in its place may outlive.
  template <class Message>
  void note_origin(const Message& message, std::string_view target) {
    if (loop_.options.allowed_origins.empty()) return;
    const auto text = [](beast::string_view value) { return std::string(value.data(), value.size()); };
    cors_ = std::make_unique<Cors>(Cors{std::string(target.substr(0, target.find('?'))),
                                        text(message[http::field::origin]), text(message[http::field::host])});
  }

  void handle(std::shared_ptr<protocol::HttpRequest> request, std::shared_ptr<std::atomic<bool>> abandoned) {
    if (abandoned->load()) return;
    const bool posted = loop_.workers.try_post([self = shared_from_this(), request, abandoned] {
      if (abandoned->load()) return;  // answered already, so not worth the work
      auto response = guarded(self->loop_.log, [&] { return self->loop_.service.handle(*request); });
      asio::post(self->loop_.io, [self, abandoned, response = std::move(response)]() mutable {
        if (!abandoned->exchange(true)) self->respond(std::move(response));
      });
    });
    if (!posted) refuse_overload(*abandoned);
  }

  void authorize_stream(std::shared_ptr<protocol::HttpRequest> request) {
    auto abandoned = begin_handling();
    const bool posted = loop_.workers.try_post([self = shared_from_this(), request, abandoned] {
      if (abandoned->load()) return;
      auto handler = guarded(self->loop_.log, [&] { return self->loop_.service.authorize_stream(*request); });
      asio::post(self->loop_.io, [self, abandoned, handler = std::move(handler)]() mutable {
        if (abandoned->exchange(true)) return;
        if (!handler) return self->respond(std::move(handler.error()));
        self->upgrade(std::move(*handler));
      });
    });
    if (!posted) refuse_overload(*abandoned);
  }

  bool guarded_defer(const protocol::HttpRequest& request,
                     std::function<void(std::optional<protocol::HttpResponse>)> answer) {
    try {
      return loop_.service.try_defer(request, std::move(answer));
    } catch (...) {
      return false;
    }
  }

  bool guarded_is_immediate(const protocol::HttpRequest& request) {
    try {
      return loop_.service.is_immediate(request);
    } catch (...) {
      return false;  // a worker's handler will say what is wrong
    }
  }

  std::shared_ptr<std::atomic<bool>> begin_handling() {
    phase_ = Phase::handling;
    stream_.expires_never();
    abandoned_ = std::make_shared<std::atomic<bool>>(false);
    answer_timer_.expires_after(loop_.options.answer_timeout);
    answer_timer_.async_wait([self = shared_from_this(), abandoned = abandoned_](error_code cancelled) {
      if (cancelled || abandoned->exchange(true)) return;
      self->respond(busy("no answer in time; try again later"));
    });
    return abandoned_;
  }

  void refuse_overload(std::atomic<bool>& abandoned) {
    abandoned.store(true);
    respond(busy("too many requests are waiting; try again later"));
  }

  void upgrade(std::shared_ptr<StreamHandler> handler) {
    const auto& message = parser_->get();
    if (!beast::websocket::is_upgrade(message) || message[http::field::sec_websocket_version] != "13" ||
        message[http::field::sec_websocket_key].empty())
      return refuse("/sync/stream takes WebSocket upgrades (version 13) only");
    if (buffer_.size() > 0 || has_unread_input_) return refuse("no bytes may follow an upgrade before its answer");
    if (loop_.stopping) return respond(busy("the server is stopping"));
    answer_timer_.cancel();
    stream_.expires_never();
    http::request<http::empty_body> header;
    static_cast<http::request_header<>&>(header) = message.base();
    phase_ = Phase::done;
    auto socket = stream_.release_socket();
    const auto self = shared_from_this();
    loop_.remove(self);
    start_stream_connection(loop_, std::move(socket), header, std::move(handler));
  }

  void respond(protocol::HttpResponse&& response) {
    if (phase_ == Phase::done) return;
    phase_ = Phase::answering;
    answer_timer_.cancel();
    if (loop_.stopping) keep_alive_ = false;
    if (cors_) loop_.origins.add_headers(cors_->path, cors_->origin, cors_->host, response);
    answer_.emplace(std::move(response));
    auto& message = answer_->message;
    const bool may_have_body = answer_->status >= 200 && answer_->status != 204 && answer_->status != 304;
    if (!may_have_body) message.body().clear();
    message.version(11);
    message.keep_alive(keep_alive_);
    if (may_have_body) message.content_length(message.body().size());
    if (may_have_body && !message.body().empty() && message[http::field::content_type].empty())
      message.set(http::field::content_type, "application/json");
    if (head_) message.body().clear();
    answer_->serializer.emplace(message);
    write_some();
  }

  /// Piece by piece, so that the timeout watches for progress and a long page may take its time.
  void write_some() {
    stream_.expires_after(loop_.options.write_timeout);
    http::async_write_some(stream_, *answer_->serializer, [self = shared_from_this()](error_code error, std::size_t) {
      if (self->phase_ == Phase::done) return;
      if (error) return self->finish();
      if (!self->answer_->serializer->is_done()) return self->write_some();
      if (self->keep_alive_ && !self->has_unread_input_) return self->await_request();
      self->hang_up();
    });
  }

  /// Closing with unread input would reset the connection and could take the answer from the client: it gets the
  /// end of our side first, and a moment to stop sending.
  void hang_up() {
    error_code error;
    stream_.socket().shutdown(tcp::socket::shutdown_send, error);
    if (error || !has_unread_input_) return finish();
    buffer_ = beast::flat_buffer();
    answer_.reset();
    stream_.expires_after(loop_.options.linger_timeout);
    discard_input();
  }

  void discard_input() {
    static std::array<char, 64 * 1024> sink;  // what lands here is never read
    stream_.async_read_some(asio::buffer(sink), [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return self->finish();
      self->discard_input();
    });
  }

  HttpServer::Loop& loop_;
  beast::tcp_stream stream_;
  asio::steady_timer answer_timer_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::optional<Answer> answer_;
  std::unique_ptr<Cors> cors_;                    // of the request being handled, where there is a list of origins
  std::shared_ptr<std::atomic<bool>> abandoned_;  // of the request being handled: its answer is not wanted any more
  std::string peer_;
  Phase phase_ = Phase::idle;
  bool keep_alive_ = true;
  bool head_ = false;
  bool has_unread_input_ = false;
};

}  // namespace

void start_http_connection(HttpServer::Loop& loop, tcp::socket socket) {
  std::make_shared<HttpConnection>(loop, std::move(socket))->start();
}

}  // namespace nizhal::net
