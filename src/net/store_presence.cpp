// nizhal::Store, presence: where this user is said to be, and who else is there.
#include <nizhal/store.hpp>

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/json.hpp"
#include "client/tuning.hpp"
#include "net/store_implementation.hpp"

namespace nizhal {

Result<void> Store::track(std::string_view bucket, std::string_view payload) {
  if (!implementation_->runtime.has_server())
    return failure(ErrorCode::usage,
                   "presence needs a server, and this store has none; open it with StoreOptions::server");
  const auto given = parse_json(payload);
  if (!given) return failure(ErrorCode::usage, "the payload of track() is no JSON: " + given.error().message);
  if (!given->is_object())
    return failure(ErrorCode::usage, R"(the payload of track() must be a JSON object, as in {"at":"till 2"})");
  std::string text = to_text(*given);
  if (text.size() > client::kPresencePayloadBytesMax)
    return failure(ErrorCode::usage, fmt::format("the payload of track() has {} bytes; at most {} are told to others",
                                                 text.size(), client::kPresencePayloadBytesMax));
  if (!is_json(text, kJsonValueDepthMax))
    return failure(ErrorCode::usage,
                   fmt::format("the payload of track() is nested more than {} levels deep", kJsonValueDepthMax));
  implementation_->runtime.track(std::string(bucket), std::move(text));
  return {};
}

void Store::untrack(std::string_view bucket) { implementation_->runtime.untrack(std::string(bucket)); }

std::vector<Presence> Store::presence(std::string_view bucket) const {
  return implementation_->machine.presence(bucket);
}

Subscription Store::on_presence(std::string_view bucket, std::function<void(const std::vector<Presence>&)> callback) {
  return implementation_->runtime.on_presence(std::string(bucket), std::move(callback));
}

}  // namespace nizhal
