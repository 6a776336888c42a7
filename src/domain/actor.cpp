// Claims of the actor as text, the form in which sync rules compare them.
#include <nizhal/actor.hpp>

#include "base/json.hpp"

namespace nizhal {

std::optional<std::string> Actor::claim(std::string_view name) const {
  if (name == "userId") return user_id;
  if (name == "ownerId") return owner_id;
  if (claims.empty()) return std::nullopt;
  const auto payload = parse_json(claims);
  if (!payload) return std::nullopt;
  const json::value* found = member(*payload, name);
  if (!found) return std::nullopt;
  if (const auto* text = found->if_string()) return std::string(text->data(), text->size());
  if (const auto* flag = found->if_bool()) return std::string(*flag ? "true" : "false");
  if (const auto* whole = found->if_uint64()) return std::to_string(*whole);
  // A whole number is one text, however the token's issuer wrote it (7, 7.0, 7e0).
  if (const auto whole = as_integer(*found)) return std::to_string(*whole);
  if (const auto* real = found->if_double()) {
    std::string text;
    append_json_number(text, *real);
    return text;
  }
  return std::nullopt;
}

}  // namespace nizhal
