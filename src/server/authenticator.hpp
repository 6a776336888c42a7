// Who is asking: bearer tokens checked, and made for development.
#pragma once

#include <string>
#include <string_view>

#include <nizhal/actor.hpp>
#include <nizhal/result.hpp>

#include "base/environment.hpp"

namespace nizhal::server {

struct Credential {
  Actor actor;
  Timestamp expires;
};

class Authenticator {
 public:
  virtual ~Authenticator() = default;
  /// `token` is the text after "Bearer ". The error (unauthorized) says why without repeating the token.
  virtual Result<Credential> authenticate(std::string_view token, Timestamp now) const = 0;
};

/// HS256 only; the header's `alg` must say so and never chooses anything else.
class JwtAuthenticator : public Authenticator {
 public:
  explicit JwtAuthenticator(std::string secret) : secret_(std::move(secret)) {}
  Result<Credential> authenticate(std::string_view token, Timestamp now) const override;

 private:
  std::string secret_;
};

/// `claims` is a JSON object; userId, ownerId and exp belong in it.
std::string make_jwt(std::string_view secret, std::string_view claims_json);

}  // namespace nizhal::server
