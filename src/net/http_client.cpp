#include "net/http_client.hpp"

#include <algorithm>
#include <deque>
#include <exception>
#include <optional>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "net/dial.hpp"

namespace nizhal::net {
namespace {

namespace http = beast::http;
using boost::system::error_code;
using std::chrono::steady_clock;

struct Job {
  protocol::HttpRequest request;
  std::chrono::milliseconds timeout{};
  HttpClient::Done done;
};

struct Attempt {
  Result<protocol::HttpResponse> answer;
  bool is_stale_connection = false;  // nothing came back and it was not for lack of time
  bool keep_connection = false;
};

protocol::HttpResponse to_response(http::response<http::string_body>&& message) {
  protocol::HttpResponse response;
  response.status = static_cast<int>(message.result_int());
  for (const auto& field : message) {
    std::string name(field.name_string());
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    response.headers.emplace(std::move(name), std::string(field.value()));
  }
  response.body = std::move(message.body());
  return response;
}

template <class Stream>
asio::awaitable<Attempt> round_trip(Stream& stream, const http::request<http::string_body>& request,
                                    const ClientNetOptions& options, TimePoint deadline) {
  error_code write_error, error;
  beast::get_lowest_layer(stream).expires_at(deadline);
  co_await http::async_write(stream, request, asio::redirect_error(asio::use_awaitable, write_error));
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(options.answer_bytes_max);
  // Also after a failed write: a server that refuses a body may answer and close before it has read all of it.
  if (write_error != beast::error::timeout)
    co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
  beast::get_lowest_layer(stream).expires_never();
  if (write_error && (error || !parser.is_done())) error = write_error;
  if (!error) {
    const bool keep = parser.keep_alive() && !write_error && buffer.size() == 0;
    co_return Attempt{.answer = to_response(parser.release()), .keep_connection = keep};
  }
  const bool timed_out = error == beast::error::timeout;
  std::string text;
  if (!timed_out && error.category() == http::make_error_code(http::error::end_of_stream).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message)
    text = fmt::format("the answer is not HTTP: {} ({})", error.message(), options.server.endpoint());
  else if (error == http::error::end_of_stream || error == http::error::partial_message)
    text =
        fmt::format("the server closed the connection {} ({})",
                    parser.got_some() ? "in the middle of its answer" : "without an answer", options.server.endpoint());
  else
    text = describe(error, options.server);
  co_return Attempt{.answer = failure(ErrorCode::outcome_unknown, std::move(text)),
                    .is_stale_connection = !parser.got_some() && !timed_out};
}

}  // namespace

struct HttpClient::State : std::enable_shared_from_this<HttpClient::State> {
  State(asio::io_context& given_io, const ClientNetOptions& given_options) : io(given_io), options(given_options) {}

  asio::io_context& io;
  const ClientNetOptions options;
  std::deque<Job> queue;
  Done current;  // of the job taken from the queue
  bool is_draining = false;
  bool is_cancelled = false;
  std::shared_ptr<asio::ssl::context> tls;
  std::variant<std::monostate, beast::tcp_stream, std::unique_ptr<TlsStream>> transport;

  bool is_connected() const { return transport.index() != 0; }
  void disconnect() { transport.emplace<std::monostate>(); }

  /// Ends what is under way without freeing it: its operation completes with an error and then lets go.
  void abort() {
    is_cancelled = true;
    if (auto* plain = std::get_if<1>(&transport)) plain->close();
    if (auto* secure = std::get_if<2>(&transport)) beast::get_lowest_layer(**secure).close();
  }

  asio::awaitable<Result<void>> connect(TimePoint deadline) {
    deadline = std::min(deadline, steady_clock::now() + options.connect_timeout);
    auto socket = co_await dial(io, options.server, deadline);
    if (!socket) co_return tl::unexpected(socket.error());
    if (is_cancelled) co_return failure(ErrorCode::closed, "cancelled");
    if (!options.server.secure) {
      transport.emplace<1>(std::move(*socket));
      co_return Result<void>();
    }
    if (!tls) {
      auto made = make_tls_context(options.ca_file);
      if (!made) co_return tl::unexpected(made.error());
      tls = std::move(*made);
    }
    auto secured = co_await start_tls(std::move(*socket), *tls, options.server, deadline);
    if (!secured) co_return tl::unexpected(secured.error());
    if (is_cancelled) co_return failure(ErrorCode::closed, "cancelled");
    transport.emplace<2>(std::move(*secured));
    co_return Result<void>();
  }

  asio::awaitable<Result<protocol::HttpResponse>> carry_out(const Job& job) {
    const TimePoint deadline = steady_clock::now() + job.timeout;
    http::request<http::string_body> message;
    message.version(11);
    message.method_string(job.request.method);
    message.target(options.server.base_path + format_target(job.request.path, job.request.query));
    for (const auto& [name, value] : job.request.headers) message.set(name, value);
    message.set(http::field::host, options.server.host_header());
    if (!job.request.body.empty() && message[http::field::content_type].empty())
      message.set(http::field::content_type, "application/json");
    message.body() = job.request.body;
    message.prepare_payload();
    bool has_left = false;
    for (bool is_last_try = false;; is_last_try = true) {
      const bool is_reused = is_connected();
      if (!is_reused) {
        auto connected = co_await connect(deadline);
        if (!connected && has_left) connected.error().code = ErrorCode::outcome_unknown;
        if (!connected) co_return tl::unexpected(connected.error());
      }
      has_left = true;
      std::optional<Attempt> attempt;
      if (transport.index() == 1)
        attempt = co_await round_trip(std::get<1>(transport), message, options, deadline);
      else
        attempt = co_await round_trip(*std::get<2>(transport), message, options, deadline);
      if (!attempt->keep_connection) disconnect();
      if (is_cancelled) co_return failure(ErrorCode::closed, "cancelled");
      if (attempt->is_stale_connection && is_reused && !is_last_try) continue;
      co_return std::move(attempt->answer);
    }
  }

  static asio::awaitable<void> drain(std::shared_ptr<State> self) {
    while (!self->queue.empty() && !self->is_cancelled) {
      Job job = std::move(self->queue.front());
      self->queue.pop_front();
      self->current = std::move(job.done);
      std::optional<Result<protocol::HttpResponse>> result;
      std::string thrown;
      try {
        result = co_await self->carry_out(job);
      } catch (const std::exception& error) {
        thrown = error.what();
      }
      if (self->is_cancelled) break;
      if (!result) {
        self->disconnect();
        result = failure(ErrorCode::outcome_unknown, fmt::format("{} ({})", thrown, self->options.server.endpoint()));
      }
      auto done = std::exchange(self->current, nullptr);
      done(std::move(*result));
    }
    self->is_draining = false;
  }
};

HttpClient::HttpClient(asio::io_context& io, ClientNetOptions options)
    : io_(io), options_(std::move(options)), state_(std::make_shared<State>(io_, options_)) {}

HttpClient::~HttpClient() { state_->abort(); }

void HttpClient::send(protocol::HttpRequest request, std::chrono::milliseconds timeout, Done done) {
  state_->queue.push_back({std::move(request), timeout, std::move(done)});
  if (std::exchange(state_->is_draining, true)) return;
  asio::co_spawn(io_, State::drain(state_), asio::detached);
}

void HttpClient::cancel() {
  const auto old = std::exchange(state_, std::make_shared<State>(io_, options_));
  old->abort();
  std::deque<Job> dropped = std::exchange(old->queue, {});
  if (old->current) std::exchange(old->current, nullptr)(failure(ErrorCode::closed, "cancelled"));
  for (Job& job : dropped) job.done(failure(ErrorCode::closed, "cancelled"));
}

}  // namespace nizhal::net
