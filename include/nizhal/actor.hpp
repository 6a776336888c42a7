// The authenticated principal on whose behalf a mutator runs or a device pulls.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nizhal {

struct Actor {
  std::string user_id = {};
  std::string owner_id = {};
  /// The token's whole payload as a JSON object; empty when only the two ids are known.
  std::string claims = {};

  /// A claim as text: "userId" and "ownerId" always; others from `claims` (numbers and booleans as JSON text).
  /// Nothing when absent, null, an object or an array.
  std::optional<std::string> claim(std::string_view name) const;
};

/// Two actors are the same principal when user and owner match; other claims may change with each token.
inline bool same_principal(const Actor& left, const Actor& right) {
  return left.user_id == right.user_id && left.owner_id == right.owner_id;
}

namespace actor {
/// A value that a sync rule takes from the actor.
struct Claim {
  std::string name;
};
inline const Claim user_id{"userId"};
inline const Claim owner_id{"ownerId"};
inline Claim claim(std::string name) { return Claim{std::move(name)}; }
}  // namespace actor

}  // namespace nizhal
