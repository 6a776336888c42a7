// HS256 tokens. The fact that must not break: nothing in a token is believed, its header included, before its
// signature has been compared in constant time.
#include "server/authenticator.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "base/bytes.hpp"
#include "base/json.hpp"

namespace nizhal::server {
namespace {

constexpr std::size_t kTokenBytesMax = 16 * 1024;  // a token travels in a header; more is no honest one

using Signature = std::array<std::uint8_t, 32>;

std::optional<Signature> sign(std::string_view secret, std::string_view text) {
  Signature signature{};
  unsigned length = 0;
  const auto bytes = as_bytes(text);
  if (secret.empty() || secret.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return std::nullopt;
  if (!HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes.data(), bytes.size(), signature.data(),
            &length))
    return std::nullopt;
  if (length != signature.size()) return std::nullopt;
  return signature;
}

tl::unexpected<Error> unauthorized(std::string why) { return failure(ErrorCode::unauthorized, std::move(why)); }

Result<json::value> decode_part(std::string_view part, std::string_view what) {
  const auto bytes = from_base64url(part);
  if (!bytes) return unauthorized("the token's " + std::string(what) + " is not base64url");
  const std::string_view text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  auto value = parse_json(text);
  if (!value || !value->is_object()) return unauthorized("the token's " + std::string(what) + " is not a JSON object");
  return std::move(*value);
}

/// A claim that must be there as text. NUL is refused: not every storage keeps text behind it.
Result<std::string> text_claim(const json::value& payload, std::string_view name) {
  const auto text = string_member(payload, name);
  if (!text || text->empty() || text->find('\0') != std::string_view::npos)
    return unauthorized("the token's claim \"" + std::string(name) + "\" must be a non-empty string");
  return std::string(*text);
}

std::optional<double> number_claim(const json::value& payload, std::string_view name) {
  const json::value* value = member(payload, name);
  if (!value) return std::nullopt;
  if (const auto* integer = value->if_int64()) return static_cast<double>(*integer);
  if (const auto* natural = value->if_uint64()) return static_cast<double>(*natural);
  if (const auto* real = value->if_double()) return *real;
  return std::nullopt;
}

/// Seconds to a timestamp; what lies beyond what a timestamp holds becomes the last one.
Timestamp from_seconds(double seconds) {
  constexpr double kSecondsMax = 253'402'300'799.0;  // the end of year 9999
  if (!(seconds > 0)) return Timestamp{0};
  return Timestamp{static_cast<std::int64_t>(std::fmin(seconds, kSecondsMax) * 1e6)};
}

}  // namespace

Result<Credential> JwtAuthenticator::authenticate(std::string_view token, Timestamp now) const {
  if (token.empty()) return unauthorized("a bearer token is needed");
  if (token.size() > kTokenBytesMax) return unauthorized("the token is too long");
  const auto first_dot = token.find('.');
  const auto last_dot = token.rfind('.');
  if (first_dot == std::string_view::npos || first_dot == last_dot || token.find('.', first_dot + 1) != last_dot)
    return unauthorized("the token does not have three parts");
  const std::string_view signed_text = token.substr(0, last_dot);
  const std::string_view header_text = token.substr(0, first_dot);
  const std::string_view payload_text = token.substr(first_dot + 1, last_dot - first_dot - 1);

  const auto given = from_base64url(token.substr(last_dot + 1));
  if (!given) return unauthorized("the token's signature is not base64url");
  const auto expected = sign(secret_, signed_text);
  if (!expected || given->size() != expected->size() ||
      CRYPTO_memcmp(given->data(), expected->data(), expected->size()) != 0)
    return unauthorized("the token's signature is wrong");

  const auto header = decode_part(header_text, "header");
  if (!header) return tl::unexpected(header.error());
  const auto algorithm = string_member(*header, "alg");
  if (!algorithm || *algorithm != "HS256") return unauthorized("the token's alg must be HS256");
  // RFC 7515, 4.1.11: extensions that must be understood, and none is.
  if (member(*header, "crit")) return unauthorized("the token's header names extensions that are not supported");

  const auto payload = decode_part(payload_text, "payload");
  if (!payload) return tl::unexpected(payload.error());
  auto user_id = text_claim(*payload, "userId");
  if (!user_id) return tl::unexpected(user_id.error());
  auto owner_id = text_claim(*payload, "ownerId");
  if (!owner_id) return tl::unexpected(owner_id.error());
  const auto expires = number_claim(*payload, "exp");
  if (!expires) return unauthorized("the token's claim \"exp\" must be a number of seconds");

  Credential credential;
  credential.expires = from_seconds(*expires);
  if (credential.expires <= now) return unauthorized("the token has expired");
  credential.actor.user_id = std::move(*user_id);
  credential.actor.owner_id = std::move(*owner_id);
  credential.actor.claims = to_text(*payload);
  return credential;
}

std::string make_jwt(std::string_view secret, std::string_view claims_json) {
  std::string text = to_base64url(as_bytes(R"({"alg":"HS256","typ":"JWT"})"));
  text += '.';
  text += to_base64url(as_bytes(claims_json));
  const auto signature = sign(secret, text);
  text += '.';
  if (signature) text += to_base64url(*signature);
  return text;
}

}  // namespace nizhal::server
