// See nizhal/fault_proxy.hpp.
#include <nizhal/fault_proxy.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

namespace nizhal::chaos {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

namespace {

using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

constexpr std::chrono::milliseconds kPace{5};  // between the pieces of a slow answer

tcp::endpoint endpoint_of(const std::string& url) {
  const auto port = static_cast<std::uint16_t>(std::strtoul(url.c_str() + url.rfind(':') + 1, nullptr, 10));
  return {asio::ip::address_v4::loopback(), port};
}

std::string as_text(const Response& response) {
  std::string head =
      "HTTP/1.1 " + std::to_string(response.result_int()) + " " + std::string(response.reason()) + "\r\n";
  for (const auto& field : response)
    head += std::string(field.name_string()) + ": " + std::string(field.value()) + "\r\n";
  return head + "\r\n" + response.body();
}

Response made_up(http::status status, const char* type, std::string body) {
  Response response{status, 11};
  response.set(http::field::content_type, type);
  response.body() = std::move(body);
  response.prepare_payload();
  return response;
}

}  // namespace

const char* to_string(Fault fault) {
  switch (fault) {
    case Fault::lose_request:
      return "lose_request";
    case Fault::lose_reply:
      return "lose_reply";
    case Fault::truncate_reply:
      return "truncate_reply";
    case Fault::duplicate:
      return "duplicate";
    case Fault::swallow:
      return "swallow";
    case Fault::unavailable:
      return "unavailable";
    case Fault::foreign_page:
      return "foreign_page";
  }
  return "?";
}

struct FaultProxy::State {
  State(const std::vector<std::string>& urls, Options given)
      : options(given), acceptor(io, {asio::ip::address_v4::loopback(), 0}), gate(io) {
    for (const std::string& url : urls) servers.push_back(endpoint_of(url));
    gate.expires_at(asio::steady_timer::time_point::max());
  }

  using Connection = std::shared_ptr<tcp::socket>;

  asio::awaitable<void> accept() {
    for (;;) {
      beast::error_code error;
      tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error || is_cut()) continue;
      socket.set_option(tcp::no_delay(true), error);
      auto connection = std::make_shared<tcp::socket>(std::move(socket));
      connections.push_back(connection);
      asio::co_spawn(io, serve(connection), [this, connection](std::exception_ptr) { forget_connection(connection); });
    }
  }

  void forget_connection(const Connection& connection) {
    beast::error_code ignored;
    connection->close(ignored);
    connections.remove(connection);
  }

  asio::awaitable<void> serve(Connection device) {
    beast::flat_buffer buffer;
    for (;;) {
      beast::error_code error;
      http::request_parser<http::string_body> parser;
      parser.body_limit(std::uint64_t{64} << 20);
      co_await http::async_read(*device, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      Request request = parser.release();
      co_await thaw();
      if (beast::websocket::is_upgrade(request)) {
        if (takes_sockets()) co_await carry(device, request, buffer);
        co_return;
      }
      const bool goes_on = co_await answer(*device, request);
      if (!goes_on) co_return;
    }
  }

  /// False: the connection ends.
  asio::awaitable<bool> answer(tcp::socket& device, const Request& request) {
    const std::string path(request.target());
    const bool passes = co_await may_pass(path, request.body());
    if (!passes) co_return false;
    const std::optional<Fault> fault = next_fault(path);
    if (fault == Fault::lose_request) co_return false;
    if (fault == Fault::swallow) {
      co_await wait_while([this] { return is_swallowing; });
      co_return false;
    }
    std::optional<Response> response;
    if (fault == Fault::unavailable) {
      response = made_up(http::status::service_unavailable, "application/json",
                         R"({"error":{"code":"unavailable","message":"the gateway has no server"}})");
    } else if (fault == Fault::foreign_page) {
      response = made_up(http::status::ok, "text/html", "<html><body>Please accept our terms.</body></html>");
    } else {
      response = co_await forward(request);
      if (response && fault == Fault::duplicate) response = co_await forward(request);
    }
    co_await thaw();
    if (!response) co_return false;
    response->keep_alive(request.keep_alive());
    note({path, request.body(), static_cast<int>(response->result_int()), response->body(),
          std::string(request[http::field::authorization])});
    if (fault == Fault::lose_reply) co_return false;
    std::string text = as_text(*response);
    if (fault == Fault::truncate_reply) text.resize(text.size() - (response->body().size() + 1) / 2);
    const bool written = co_await write(device, text);
    co_return written&& fault != Fault::truncate_reply && response->keep_alive();
  }

  asio::awaitable<bool> write(tcp::socket& device, const std::string& text) {
    beast::error_code error;
    for (std::size_t at = 0; at < text.size() && !error;) {
      std::size_t piece = text.size() - at;
      if (const std::size_t rate = bytes_per_second(); rate > 0) {
        piece = std::min<std::size_t>(piece, std::max<std::size_t>(1, rate * kPace.count() / 1'000));
        asio::steady_timer timer(io, kPace);
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
      }
      co_await asio::async_write(device, asio::buffer(text.data() + at, piece),
                                 asio::redirect_error(asio::use_awaitable, error));
      at += piece;
    }
    co_return !error;
  }

  asio::awaitable<bool> may_pass(const std::string& path, const std::string& body) {
    const std::uint64_t gate_number = take_place(path, body);
    co_await wait_while([this, gate_number] { return gate_number > gates_opened; });
    const std::lock_guard lock(mutex);
    co_return gate_number == 0 || !is_dropped;
  }

  /// The number of the gate to wait at; 0: none.
  std::uint64_t take_place(const std::string& path, const std::string& body) {
    const std::lock_guard lock(mutex);
    if (!requests_left || (!held_path.empty() && path != held_path)) return 0;
    if (*requests_left > 0) {
      --*requests_left;
      return 0;
    }
    held = body;
    changed.notify_all();
    return gates_opened + 1;
  }

  /// `holds` is asked under the lock, and again whenever the gate is moved.
  template <class Condition>
  asio::awaitable<void> wait_while(Condition holds) {
    for (;;) {
      {
        const std::lock_guard lock(mutex);
        if (!holds()) co_return;
      }
      beast::error_code woken;
      co_await gate.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    }
  }
  asio::awaitable<void> thaw() {
    co_await wait_while([this] { return is_frozen; });
  }

  asio::awaitable<std::optional<Response>> forward(const Request& given) {
    Request request = given;
    request.keep_alive(false);
    for (std::size_t tries = 0; tries < servers.size(); ++tries) {
      beast::error_code error;
      tcp::socket server(io);
      co_await server.async_connect(next_server(), asio::redirect_error(asio::use_awaitable, error));
      if (error) continue;  // this one is not there
      co_await http::async_write(server, request, asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return std::nullopt;
      beast::flat_buffer buffer;
      http::response_parser<http::string_body> parser;
      parser.body_limit(std::uint64_t{256} << 20);
      co_await http::async_read(server, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return std::nullopt;
      co_return parser.release();
    }
    co_return std::nullopt;
  }
  tcp::endpoint next_server() { return servers[turn++ % servers.size()]; }

  /// A WebSocket from its upgrade on: bytes both ways.
  asio::awaitable<void> carry(Connection device, const Request& upgrade, beast::flat_buffer& more) {
    beast::error_code error;
    auto server = std::make_shared<tcp::socket>(io);
    for (std::size_t tries = 0; tries < servers.size(); ++tries) {
      error = {};
      co_await server->async_connect(next_server(), asio::redirect_error(asio::use_awaitable, error));
      if (!error) break;
      server->close();
    }
    if (error) co_return;
    server->set_option(tcp::no_delay(true), error);
    co_await http::async_write(*server, upgrade, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    if (more.size() > 0)
      co_await asio::async_write(*server, more.data(), asio::redirect_error(asio::use_awaitable, error));
    connections.push_back(server);
    count_socket(1);
    sockets.push_back(device);
    sockets.push_back(server);
    asio::co_spawn(io, pump(device, server), [this, server](std::exception_ptr) { forget_connection(server); });
    co_await pump(server, device);
    sockets.remove(device);
    sockets.remove(server);
    count_socket(-1);
    beast::error_code ignored;
    server->close(ignored);
  }
  asio::awaitable<void> pump(Connection from, Connection to) {
    std::vector<char> buffer(1 << 16);
    for (;;) {
      beast::error_code error;
      const std::size_t size =
          co_await from->async_read_some(asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, error));
      co_await thaw();
      if (!error)
        co_await asio::async_write(*to, asio::buffer(buffer.data(), size),
                                   asio::redirect_error(asio::use_awaitable, error));
      if (error) {
        beast::error_code ignored;
        to->close(ignored);
        from->close(ignored);
        co_return;
      }
    }
  }

  std::optional<Fault> next_fault(const std::string& path) {
    const std::lock_guard lock(mutex);
    for (auto rule = rules.begin(); rule != rules.end(); ++rule) {
      if (!rule->path.empty() && rule->path != path) continue;
      const Fault fault = rule->fault;
      if (rule->count != kAllRequests && --rule->count == 0) rules.erase(rule);
      ++struck[fault];
      changed.notify_all();
      if (fault == Fault::swallow) is_swallowing = true;
      return fault;
    }
    return std::nullopt;
  }

  void note(Exchange exchange) {
    std::function<void(const Exchange&)> callback;
    {
      const std::lock_guard lock(mutex);
      exchanges.push_back(exchange);
      callback = on_answer;
      changed.notify_all();
    }
    if (callback) callback(exchange);
  }
  void count_socket(int by) {
    const std::lock_guard lock(mutex);
    socket_count += by;
    changed.notify_all();
  }
  bool is_cut() const {
    const std::lock_guard lock(mutex);
    return cut;
  }
  bool takes_sockets() const {
    const std::lock_guard lock(mutex);
    return options.with_sockets && !refuses_sockets;
  }
  std::size_t bytes_per_second() const {
    const std::lock_guard lock(mutex);
    return pace;
  }

  /// On its own thread, and waits for it: what is done next finds the network so.
  template <class Work>
  void do_there(Work work) {
    std::promise<void> done;
    asio::post(io, [&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  void close_all(const std::list<Connection>& which) {
    for (const Connection& connection : which) {
      beast::error_code ignored;
      connection->shutdown(tcp::socket::shutdown_both, ignored);
      connection->cancel(ignored);
    }
  }

  void open_gate(bool drop) {
    {
      const std::lock_guard lock(mutex);
      ++gates_opened;
      is_dropped = drop;
      held.reset();
      requests_left.reset();
    }
    asio::post(io, [this] { gate.cancel(); });
  }

  Options options;
  std::vector<tcp::endpoint> servers;
  std::size_t turn = 0;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  asio::steady_timer gate;
  std::list<Connection> connections;  // of both sides
  std::list<Connection> sockets;      // those of WebSockets
  std::thread thread;

  mutable std::mutex mutex;  // guards what follows
  mutable std::condition_variable changed;
  struct Rule {
    std::string path;
    Fault fault;
    std::size_t count;
  };
  std::vector<Rule> rules;
  std::map<Fault, std::size_t> struck;
  bool cut = false, is_frozen = false, is_swallowing = false, refuses_sockets = false;
  std::size_t pace = 0;
  int socket_count = 0;
  std::vector<Exchange> exchanges;
  std::string held_path;
  std::optional<std::size_t> requests_left;  // before one is held
  std::optional<std::string> held;
  std::uint64_t gates_opened = 0;
  bool is_dropped = false;  // what waited at the gate that was opened last
  std::function<void(const Exchange&)> on_answer;
};

FaultProxy::FaultProxy(const std::vector<std::string>& servers, Options options)
    : state_(std::make_unique<State>(servers, options)) {
  asio::co_spawn(state_->io, state_->accept(), asio::detached);
  state_->thread = std::thread([state = state_.get()] { state->io.run(); });
}

FaultProxy::~FaultProxy() {
  state_->io.stop();
  state_->thread.join();
}

std::string FaultProxy::url() const {
  return "http://127.0.0.1:" + std::to_string(state_->acceptor.local_endpoint().port());
}

void FaultProxy::fault(std::string_view path, Fault fault, std::size_t count) {
  const std::lock_guard lock(state_->mutex);
  state_->rules.push_back({std::string(path), fault, count});
}

std::size_t FaultProxy::hits(Fault fault) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->struck.find(fault);
  return found == state_->struck.end() ? 0 : found->second;
}

void FaultProxy::cut() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->cut = true;
  }
  cut_connections();
}

void FaultProxy::cut_connections() {
  state_->do_there([state = state_.get()] { state->close_all(state->connections); });
}

void FaultProxy::freeze() {
  const std::lock_guard lock(state_->mutex);
  state_->is_frozen = true;
}

void FaultProxy::refuse_sockets(bool refuse) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->refuses_sockets = refuse;
  }
  if (refuse) state_->do_there([state = state_.get()] { state->close_all(state->sockets); });
}

void FaultProxy::slow(std::size_t bytes_per_second) {
  const std::lock_guard lock(state_->mutex);
  state_->pace = bytes_per_second;
}

void FaultProxy::heal() {
  bool was_frozen = false;
  {
    const std::lock_guard lock(state_->mutex);
    state_->rules.clear();
    state_->pace = 0;
    was_frozen = std::exchange(state_->is_frozen, false);
    state_->cut = state_->is_swallowing = state_->refuses_sockets = false;
  }
  if (was_frozen) cut_connections();
  state_->open_gate(false);
}

std::vector<FaultProxy::Exchange> FaultProxy::exchanges() const {
  const std::lock_guard lock(state_->mutex);
  return state_->exchanges;
}

std::vector<FaultProxy::Exchange> FaultProxy::pulls() const {
  std::vector<Exchange> pulls = exchanges();
  std::erase_if(pulls, [](const Exchange& exchange) { return exchange.path != "/sync/pull"; });
  return pulls;
}

std::vector<FaultProxy::Exchange> FaultProxy::pushes() const {
  std::vector<Exchange> pushes = exchanges();
  std::erase_if(pushes, [](const Exchange& exchange) { return exchange.path != "/sync/push"; });
  return pushes;
}

void FaultProxy::forget() {
  const std::lock_guard lock(state_->mutex);
  state_->exchanges.clear();
}

std::size_t FaultProxy::open_sockets() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<std::size_t>(std::max(0, state_->socket_count));
}

bool FaultProxy::wait_for(const std::function<bool(const Exchange&)>& counts, std::size_t number,
                          std::chrono::milliseconds patience) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, patience, [&] {
    const auto found = std::count_if(state_->exchanges.begin(), state_->exchanges.end(), counts);
    return static_cast<std::size_t>(found) >= number;
  });
}

int FaultProxy::replay(const Exchange& exchange) {
  auto answered = std::make_shared<std::promise<int>>();
  auto status = answered->get_future();
  Request request{http::verb::post, exchange.path, 11};
  request.set(http::field::host, "127.0.0.1");
  request.set(http::field::content_type, "application/json");
  if (!exchange.authorization.empty()) request.set(http::field::authorization, exchange.authorization);
  request.body() = exchange.request;
  request.prepare_payload();
  const auto send = [](State* state, Request what, std::shared_ptr<std::promise<int>> told) -> asio::awaitable<void> {
    const auto response = co_await state->forward(what);
    told->set_value(response ? static_cast<int>(response->result_int()) : 0);
  };
  asio::co_spawn(state_->io, send(state_.get(), std::move(request), answered), asio::detached);
  return status.get();
}

void FaultProxy::hold_after(std::string_view path, std::size_t count) {
  const std::lock_guard lock(state_->mutex);
  state_->held_path = std::string(path);
  state_->requests_left = count;
}

bool FaultProxy::wait_until_held(std::chrono::milliseconds patience) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, patience, [this] { return state_->held.has_value(); });
}

std::string FaultProxy::held_request() const {
  const std::lock_guard lock(state_->mutex);
  return state_->held.value_or("");
}

void FaultProxy::let_go() { state_->open_gate(false); }
void FaultProxy::drop_held() { state_->open_gate(true); }

void FaultProxy::on_answer(std::function<void(const Exchange&)> callback) {
  const std::lock_guard lock(state_->mutex);
  state_->on_answer = std::move(callback);
}

}  // namespace nizhal::chaos
