#include "rest_target.hpp"

#include <chrono>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include "todos.hpp"

namespace todos {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;
using nizhal::TargetResult;

TargetResult<nizhal::TargetPage> RestTarget::pull(const nizhal::TargetPull& request) {
  const std::string after = request.cursor.empty() ? "0" : request.cursor;
  auto answer = send("GET", "/todos?after=" + after + "&limit=" + std::to_string(request.limit));
  if (!answer) return tl::unexpected(answer.error());
  if (answer->status == 410) return nizhal::start_over("the backend has forgotten what was deleted since");
  if (answer->status != 200) return nizhal::retry_later("GET /todos answered " + std::to_string(answer->status));

  const json::object list = json::parse(answer->body).as_object();
  nizhal::TargetPage page;
  for (const json::value& todo : list.at("todos").as_array()) page.changed_json("todos", json::serialize(todo));
  for (const json::value& id : list.at("deleted").as_array()) page.removed(todos, std::string(id.as_string()));
  page.cursor = json::serialize(list.at("next"));
  page.has_more = list.at("more").as_bool();
  return page;
}

TargetResult<nizhal::Outcome> RestTarget::push(const nizhal::TargetMutation& mutation) {
  const json::object args = json::parse(mutation.args).as_object();
  const std::string path = "/todos/" + std::string(args.at("id").as_string());
  const std::string& key = mutation.client_mutation_id;
  auto answer = mutation.name == "addTodo"   ? send("POST", "/todos", key, mutation.args)
                : mutation.name == "setDone" ? send("PATCH", path, key, mutation.args)
                                             : send("DELETE", path, key);
  if (!answer) return tl::unexpected(answer.error());
  if (answer->status == 201) {
    const json::value made = json::parse(answer->body);
    return nizhal::done().with_server_id(std::string(made.at("id").as_string()));
  }
  if (answer->status == 200) return nizhal::done();
  if (answer->status == 404 || answer->status == 422) {
    const json::value why = json::parse(answer->body);
    return nizhal::reject(std::string(why.at("code").as_string()), std::string(why.at("error").as_string()));
  }
  return nizhal::retry_later("the backend answered " + std::to_string(answer->status));
}

TargetResult<RestTarget::Answer> RestTarget::send(std::string_view method, const std::string& path,
                                                  const std::string& key, const std::string& body) const {
  // The calls of a store's target come one at a time on a thread that may block, so a connection for each will do.
  asio::io_context io;
  beast::tcp_stream stream(io);
  beast::flat_buffer buffer;
  http::request<http::string_body> request;
  request.version(11);
  request.method_string(method);
  request.target(path);
  request.set(http::field::host, "127.0.0.1");
  request.set(http::field::authorization, "Bearer " + token_);
  request.set(http::field::connection, "close");
  if (!key.empty()) request.set("Idempotency-Key", key);
  request.body() = body;
  request.prepare_payload();
  http::response<http::string_body> response;
  beast::error_code error;
  // Only asynchronous operations know time-outs.
  stream.expires_after(std::chrono::seconds(10));
  stream.async_connect({asio::ip::address_v4::loopback(), port_}, [&](beast::error_code connected) {
    if (connected) {
      error = connected;
      return;
    }
    http::async_write(stream, request, [&](beast::error_code written, std::size_t) {
      if (written) {
        error = written;
        return;
      }
      http::async_read(stream, buffer, response, [&](beast::error_code read, std::size_t) { error = read; });
    });
  });
  io.run();
  if (error) return nizhal::unreachable(error.message());
  if (response.result_int() == 401) return nizhal::unauthorized("the session is over");
  return Answer{static_cast<int>(response.result_int()), response.body()};
}

}  // namespace todos
