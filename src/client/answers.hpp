// What an HTTP answer means to the device, when it is not the page or the reply that was asked for.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <nizhal/result.hpp>

#include "protocol/push.hpp"
#include "protocol/transport.hpp"

namespace nizhal::client {

/// `Retry-After` in seconds; zero when absent or a date.
std::chrono::milliseconds retry_after(const protocol::HttpResponse& response);
/// The failure under a code that a caller can react to.
ErrorCode code_of_status(int status);
/// "the server answered 503 busy: …"
std::string describe_status(const protocol::HttpResponse& response);
/// A push answered with a status where a result was asked for: the same outcome in other words. Nothing when the status
/// says no more than that it failed.
std::optional<protocol::PushReply> reply_of_error(const protocol::PushRequest& sent,
                                                  const protocol::HttpResponse& response);

}  // namespace nizhal::client
