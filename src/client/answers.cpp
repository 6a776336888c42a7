#include "client/answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace nizhal::client {

using std::chrono::milliseconds;

milliseconds retry_after(const protocol::HttpResponse& response) {
  const auto it = response.headers.find("retry-after");
  if (it == response.headers.end()) return milliseconds{0};
  std::int64_t seconds = 0;
  std::from_chars(it->second.data(), it->second.data() + it->second.size(), seconds);
  return milliseconds{std::clamp<std::int64_t>(seconds, 0, 3600) * 1000};
}

ErrorCode code_of_status(int status) {
  if (status == 401) return ErrorCode::unauthorized;
  if (status == 403) return ErrorCode::not_authorized;
  if (status == 426) return ErrorCode::upgrade_required;
  if (status == 408 || status == 409 || status == 425 || status == 429 || status >= 500) return ErrorCode::busy;
  return ErrorCode::bad_request;
}

std::string describe_status(const protocol::HttpResponse& response) {
  const protocol::ErrorBody body = protocol::decode_error(response.body);
  if (body.code.empty()) return fmt::format("the server answered {}", response.status);
  return fmt::format("the server answered {} {}: {}", response.status, body.code, body.message);
}

std::optional<protocol::PushReply> reply_of_error(const protocol::PushRequest& sent,
                                                  const protocol::HttpResponse& response) {
  using protocol::PushStatus;
  const protocol::ErrorBody body = protocol::decode_error(response.body);
  const auto outcome = protocol::parse_push_status(body.code);
  const bool is_outcome = outcome == PushStatus::client_id_taken || outcome == PushStatus::client_cloned ||
                          outcome == PushStatus::out_of_order;
  if (!is_outcome || sent.mutations.empty()) return std::nullopt;
  protocol::PushReply reply;
  protocol::PushResult result;
  result.client_mutation_id = sent.mutations.front().client_mutation_id;
  result.status = *outcome;
  reply.results.push_back(std::move(result));
  if (const json::value* last = body.members.if_contains("lastMutationId")) {
    if (const auto id = as_integer(*last); id && *id >= 0)
      reply.last_mutation_id = MutationId{static_cast<std::uint64_t>(*id)};
  }
  return reply;
}

}  // namespace nizhal::client
