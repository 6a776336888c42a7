#include "tests/support/http_relay.hpp"

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

namespace nizhal::testing {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

namespace {

std::uint16_t port_of(const std::string& url) {
  return static_cast<std::uint16_t>(std::strtoul(url.c_str() + url.rfind(':') + 1, nullptr, 10));
}

}  // namespace

struct HttpRelay::State {
  explicit State(std::uint16_t port)
      : server(asio::ip::address_v4::loopback(), port), acceptor(io, {asio::ip::address_v4::loopback(), 0}), gate(io) {
    gate.expires_at(asio::steady_timer::time_point::max());
  }

  asio::awaitable<void> accept() {
    for (;;) {
      beast::error_code error;
      tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (!error) asio::co_spawn(io, serve(beast::tcp_stream(std::move(socket))), asio::detached);
    }
  }

  asio::awaitable<void> serve(beast::tcp_stream device) {
    beast::flat_buffer buffer;
    for (;;) {
      beast::error_code error;
      http::request_parser<http::string_body> parser;
      parser.body_limit(std::uint64_t{64} << 20);
      co_await http::async_read(device, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error || beast::websocket::is_upgrade(parser.get())) co_return;
      http::request<http::string_body> request = parser.release();
      if (std::string(request.target()) == "/sync/pull") {
        const bool passes = co_await may_pass(request.body());
        if (!passes) co_return;
      }
      auto response = co_await forward(request);
      if (!response) co_return;
      note({std::string(request.target()), request.body(), static_cast<int>(response->result_int()), response->body()});
      co_await http::async_write(device, *response, asio::redirect_error(asio::use_awaitable, error));
      if (error || !response->keep_alive()) co_return;
    }
  }

  asio::awaitable<bool> may_pass(const std::string& body) {
    const std::uint64_t gate_number = take_place(body);
    while (is_shut(gate_number)) {
      beast::error_code woken;
      co_await gate.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    }
    const std::lock_guard lock(mutex);
    co_return gate_number == 0 || !is_dropped;
  }

  /// The number of the gate to wait at; 0: none.
  std::uint64_t take_place(const std::string& body) {
    const std::lock_guard lock(mutex);
    if (!pulls_left) return 0;
    if (*pulls_left > 0) {
      --*pulls_left;
      return 0;
    }
    held = body;
    changed.notify_all();
    return gates_opened + 1;
  }
  bool is_shut(std::uint64_t gate_number) const {
    const std::lock_guard lock(mutex);
    return gate_number > gates_opened;
  }

  asio::awaitable<std::optional<http::response<http::string_body>>> forward(http::request<http::string_body> request) {
    beast::error_code error;
    beast::tcp_stream stream(io);
    co_await stream.async_connect(server, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return std::nullopt;
    co_await http::async_write(stream, request, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return std::nullopt;
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(std::uint64_t{256} << 20);
    co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return std::nullopt;
    co_return parser.release();
  }

  void note(Exchange exchange) {
    std::function<void(const Exchange&)> callback;
    {
      const std::lock_guard lock(mutex);
      exchanges.push_back(exchange);
      callback = on_answer;
    }
    if (callback) callback(exchange);
  }

  void open_gate(bool drop) {
    {
      const std::lock_guard lock(mutex);
      ++gates_opened;
      is_dropped = drop;
      held.reset();
      pulls_left.reset();
    }
    asio::post(io, [this] { gate.cancel(); });
  }

  const tcp::endpoint server;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  asio::steady_timer gate;
  std::thread thread;

  mutable std::mutex mutex;  // guards what follows
  mutable std::condition_variable changed;
  std::vector<Exchange> exchanges;
  std::optional<std::size_t> pulls_left;  // before one is held
  std::optional<std::string> held;
  std::uint64_t gates_opened = 0;
  bool is_dropped = false;  // what waited at the gate that was opened last
  std::function<void(const Exchange&)> on_answer;
};

HttpRelay::HttpRelay(const std::string& server) : state_(std::make_unique<State>(port_of(server))) {
  asio::co_spawn(state_->io, state_->accept(), asio::detached);
  state_->thread = std::thread([state = state_.get()] { state->io.run(); });
}

HttpRelay::~HttpRelay() {
  state_->io.stop();
  state_->thread.join();
}

std::string HttpRelay::url() const {
  return "http://127.0.0.1:" + std::to_string(state_->acceptor.local_endpoint().port());
}

std::vector<HttpRelay::Exchange> HttpRelay::exchanges() const {
  const std::lock_guard lock(state_->mutex);
  return state_->exchanges;
}

std::vector<HttpRelay::Exchange> HttpRelay::pulls() const {
  std::vector<Exchange> pulls = exchanges();
  std::erase_if(pulls, [](const Exchange& exchange) { return exchange.path != "/sync/pull"; });
  return pulls;
}

void HttpRelay::forget() {
  const std::lock_guard lock(state_->mutex);
  state_->exchanges.clear();
}

void HttpRelay::hold_after_pulls(std::size_t count) {
  const std::lock_guard lock(state_->mutex);
  state_->pulls_left = count;
}

bool HttpRelay::wait_until_held(std::chrono::milliseconds patience) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, patience, [this] { return state_->held.has_value(); });
}

std::string HttpRelay::held_request() const {
  const std::lock_guard lock(state_->mutex);
  return state_->held.value_or("");
}

void HttpRelay::let_go() { state_->open_gate(false); }
void HttpRelay::drop_held() { state_->open_gate(true); }

void HttpRelay::on_answer(std::function<void(const Exchange&)> callback) {
  const std::lock_guard lock(state_->mutex);
  state_->on_answer = std::move(callback);
}

}  // namespace nizhal::testing
