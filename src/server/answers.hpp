// Answers that every endpoint gives alike: errors as protocol.md says, and storage failures told without internals.
#pragma once

#include <string>
#include <string_view>

#include <nizhal/result.hpp>

#include "base/json.hpp"
#include "base/log.hpp"
#include "protocol/transport.hpp"
#include "server/limits.hpp"

namespace nizhal::server {

protocol::HttpResponse json_response(int status, std::string body);
protocol::HttpResponse error_response(int status, std::string_view code, std::string_view message,
                                      const json::object& extra = {});
protocol::HttpResponse busy_response(const Limits& limits, const json::object& extra = {});

/// True for failures that pass by themselves: the other side is told to come again.
bool is_transient(ErrorCode code);
/// 503 for what passes, 500 for the rest; the storage's own words go to the log only. `area` is the stage.
protocol::HttpResponse storage_failure(const Error& error, std::string_view area, const Limits& limits, const Log& log,
                                       const json::object& extra = {});

}  // namespace nizhal::server
