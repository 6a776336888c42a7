#include "backend.hpp"

#include <charconv>
#include <cstdlib>
#include <thread>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/json.hpp>

namespace todos {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;
using asio::ip::tcp;

namespace {

constexpr const char* kToken = "Bearer the-session";

/// The number after `name=` in a query; `fallback` when there is none.
std::uint64_t number(const std::string& query, const std::string& name, std::uint64_t fallback) {
  const auto at = query.find(name + "=");
  if (at == std::string::npos) return fallback;
  std::from_chars(query.data() + at + name.size() + 1, query.data() + query.size(), fallback);
  return fallback;
}

}  // namespace

Reply Backend::handle(const Request& request) {
  const std::lock_guard lock(mutex_);
  if (is_signed_out_ || request[http::field::authorization] != kToken) return {401, R"({"error":"sign in"})"};
  if (request.method() == http::verb::get) return list(std::string(request.target()));
  const std::string key(request["Idempotency-Key"]);
  if (const auto known = answered_.find(key); !key.empty() && known != answered_.end()) return known->second;
  Reply reply = write(request);
  if (!key.empty()) answered_[key] = reply;
  return reply;
}

Reply Backend::list(const std::string& query) const {
  const std::uint64_t after = number(query, "after", 0), limit = number(query, "limit", 100);
  if (after > 0 && after < cleaned_up_) return {410, R"({"error":"too long ago"})"};
  std::map<std::uint64_t, std::pair<const std::string*, const Todo*>> changes;
  for (const auto& [id, todo] : todos_)
    if (todo.changed > after) changes[todo.changed] = {&id, &todo};
  for (const auto& [id, changed] : deleted_)
    if (changed > after) changes[changed] = {&id, nullptr};
  json::array todos, deleted;
  std::uint64_t next = counter_;
  bool more = false;
  for (const auto& [changed, change] : changes) {
    if (todos.size() + deleted.size() == limit) {
      more = true;
      break;
    }
    if (change.second)
      todos.push_back({{"id", *change.first}, {"title", change.second->title}, {"done", change.second->done}});
    else
      deleted.emplace_back(*change.first);
    next = changed;
  }
  return {200, json::serialize(json::object{
                   {"todos", todos}, {"deleted", deleted}, {"next", more ? next : counter_}, {"more", more}})};
}

Reply Backend::write(const Request& request) {
  const std::string target(request.target());
  json::error_code bad;
  const json::value body = json::parse(request.body().empty() ? "{}" : request.body(), bad);
  if (bad || !body.is_object()) return {400, R"({"error":"not JSON"})"};
  if (request.method() == http::verb::post && target == "/todos") {
    const json::value* title = body.get_object().if_contains("title");
    if (!title || !title->is_string() || title->get_string() == "forbidden")
      return {422, R"({"code":"bad_title","error":"this title is not allowed"})"};
    const std::string id = "todo-" + std::to_string(++last_id_);
    todos_[id] = {std::string(title->get_string()), false, ++counter_};
    ++writes_done_;
    return {201, json::serialize(json::object{{"id", id}})};
  }
  const std::string id = target.substr(std::min(target.size(), std::string("/todos/").size()));
  const auto found = todos_.find(id);
  if (found == todos_.end()) return {404, R"({"code":"not_found","error":"there is no such to-do"})"};
  ++writes_done_;
  if (request.method() == http::verb::delete_) {
    todos_.erase(found);
    deleted_[id] = ++counter_;
    return {200, "{}"};
  }
  const json::value* done = body.get_object().if_contains("done");
  found->second.done = done && done->is_bool() && done->get_bool();
  found->second.changed = ++counter_;
  return {200, "{}"};
}

std::string Backend::add(const std::string& title) {
  const std::lock_guard lock(mutex_);
  const std::string id = "todo-" + std::to_string(++last_id_);
  todos_[id] = {title, false, ++counter_};
  return id;
}

void Backend::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (todos_.erase(id) > 0) deleted_[id] = ++counter_;
}

void Backend::clean_up() {
  const std::lock_guard lock(mutex_);
  deleted_.clear();
  cleaned_up_ = counter_;
}

void Backend::sign_out(bool is_signed_out) {
  const std::lock_guard lock(mutex_);
  is_signed_out_ = is_signed_out;
}

std::map<std::string, std::string> Backend::titles() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::string> titles;
  for (const auto& [id, todo] : todos_) titles[id] = todo.title + (todo.done ? " (done)" : "");
  return titles;
}

std::uint64_t Backend::writes_done() const {
  const std::lock_guard lock(mutex_);
  return writes_done_;
}

struct Listener::State {
  State(Backend& given, std::uint16_t port, std::function<bool(const Request&)> answering)
      : backend(given), may_answer(std::move(answering)), acceptor(io) {
    const tcp::endpoint address(asio::ip::address_v4::loopback(), port);
    acceptor.open(address.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(address);
    acceptor.listen();
  }

  asio::awaitable<void> accept() {
    for (;;) {
      beast::error_code error;
      tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (!error) asio::co_spawn(io, serve(beast::tcp_stream(std::move(socket))), asio::detached);
    }
  }

  asio::awaitable<void> serve(beast::tcp_stream stream) {
    beast::flat_buffer buffer;
    for (;;) {
      beast::error_code error;
      Request request;
      co_await http::async_read(stream, buffer, request, asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      Reply reply = backend.handle(request);
      if (may_answer && !may_answer(request)) co_return;
      http::response<http::string_body> response(static_cast<http::status>(reply.status), request.version());
      response.set(http::field::content_type, "application/json");
      response.keep_alive(request.keep_alive());
      response.body() = std::move(reply.body);
      response.prepare_payload();
      co_await http::async_write(stream, response, asio::redirect_error(asio::use_awaitable, error));
      if (error || !response.keep_alive()) co_return;
    }
  }

  Backend& backend;
  std::function<bool(const Request&)> may_answer;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  std::thread thread;
};

Listener::Listener(Backend& backend, std::uint16_t port, std::function<bool(const Request&)> may_answer)
    : state_(std::make_unique<State>(backend, port, std::move(may_answer))) {
  asio::co_spawn(state_->io, state_->accept(), asio::detached);
  state_->thread = std::thread([state = state_.get()] { state->io.run(); });
}

Listener::~Listener() {
  state_->io.stop();
  state_->thread.join();
}

std::uint16_t Listener::port() const { return state_->acceptor.local_endpoint().port(); }

}  // namespace todos
