// See token_payload.hpp.
#include "cli/token_payload.hpp"

#include "base/bytes.hpp"
#include "base/json.hpp"

namespace nizhal::cli {

Result<Actor> actor_of_token(std::string_view token) {
  const auto wrong = [](std::string_view what) {
    return failure(ErrorCode::usage, "the token " + std::string(what) +
                                         "; give what `nizhal token --user U --owner O` prints, or what your own "
                                         "backend issues");
  };
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
    return wrong("is not a JSON Web Token (three parts with dots between)");
  const auto payload = from_base64url(token.substr(first + 1, second - first - 1));
  if (!payload) return wrong("has a payload that is not base64url");
  const std::string text(payload->begin(), payload->end());
  const auto claims = parse_json(text);
  if (!claims || !claims->is_object()) return wrong("has a payload that is not a JSON object");
  const auto user = string_member(*claims, "userId");
  const auto owner = string_member(*claims, "ownerId");
  if (!user || user->empty() || !owner || owner->empty()) return wrong("lacks the claim userId or ownerId");
  return Actor{std::string(*user), std::string(*owner), text};
}

}  // namespace nizhal::cli
