#include "server/answers.hpp"

#include <fmt/format.h>

#include "protocol/push.hpp"

namespace nizhal::server {

protocol::HttpResponse json_response(int status, std::string body) {
  protocol::HttpResponse response;
  response.status = status;
  response.headers["content-type"] = "application/json";
  response.body = std::move(body);
  return response;
}

protocol::HttpResponse error_response(int status, std::string_view code, std::string_view message,
                                      const json::object& extra) {
  return json_response(status, protocol::encode_error(code, message, extra));
}

protocol::HttpResponse busy_response(const Limits& limits, const json::object& extra) {
  auto response = error_response(503, "busy", "the server is busy; try again", extra);
  response.headers["retry-after"] = std::to_string(limits.busy_retry_after.count());
  return response;
}

bool is_transient(ErrorCode code) {
  return code == ErrorCode::busy || code == ErrorCode::disk_full || code == ErrorCode::unreachable;
}

protocol::HttpResponse storage_failure(const Error& error, std::string_view area, const Limits& limits, const Log& log,
                                       const json::object& extra) {
  log.write(error.code == ErrorCode::busy ? LogLevel::warning : LogLevel::error, area,
            fmt::format("storage failed ({}): {}", to_string(error.code), error.message));
  if (is_transient(error.code)) return busy_response(limits, extra);
  return error_response(500, "internal", "the server failed; its log says why", extra);
}

}  // namespace nizhal::server
