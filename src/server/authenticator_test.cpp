#include "server/authenticator.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "base/bytes.hpp"

namespace nizhal::server {
namespace {

const std::string kKey = "sixteen bytes or more";
const Timestamp kNow = *parse_iso8601("2026-01-02T03:04:05Z");
constexpr std::string_view kHeader = R"({"alg":"HS256","typ":"JWT"})";
constexpr std::string_view kClaims = R"({"userId":"u1","ownerId":"o1","exp":1767323105,"role":"cook"})";  // a minute

/// A token of any header and payload, with a right signature.
std::string signed_token(std::string_view header, std::string_view payload, std::string_view key = kKey,
                         const EVP_MD* digest = EVP_sha256()) {
  std::string text = to_base64url(as_bytes(header)) + "." + to_base64url(as_bytes(payload));
  std::array<std::uint8_t, 64> signature{};
  unsigned length = 0;
  HMAC(digest, key.data(), static_cast<int>(key.size()), as_bytes(text).data(), text.size(), signature.data(), &length);
  return text + "." + to_base64url(std::span(signature).first(length));
}

/// Why the token was refused; empty when it was taken.
std::string refusal(std::string_view token) {
  const auto credential = JwtAuthenticator(kKey).authenticate(token, kNow);
  if (credential) return "";
  EXPECT_EQ(credential.error().code, ErrorCode::unauthorized);
  EXPECT_FALSE(credential.error().message.empty());
  EXPECT_TRUE(token.size() < 20 || credential.error().message.find(token) == std::string::npos);
  return credential.error().message;
}

TEST(Authenticator, TakesATokenOfItsOwnMaking) {
  const auto credential = JwtAuthenticator(kKey).authenticate(make_jwt(kKey, kClaims), kNow);
  ASSERT_TRUE(credential) << credential.error().message;
  EXPECT_EQ(credential->actor.user_id, "u1");
  EXPECT_EQ(credential->actor.owner_id, "o1");
  EXPECT_EQ(credential->actor.claim("role"), "cook");
  EXPECT_EQ(to_iso8601(credential->expires), "2026-01-02T03:05:05.000000Z");
}

TEST(Authenticator, TakesATokenSignedByAnotherImplementation) {
  // RFC 7519's shape with an independent signer.
  EXPECT_EQ(refusal(signed_token(kHeader, kClaims)), "");
}

TEST(Authenticator, TheHeadersAlgNeverChoosesAnything) {
  const std::string unsigned_part = to_base64url(as_bytes(R"({"alg":"none"})")) + "." + to_base64url(as_bytes(kClaims));
  EXPECT_NE(refusal(unsigned_part + "."), "");
  EXPECT_NE(refusal(signed_token(R"({"alg":"none"})", kClaims)), "");
  EXPECT_NE(refusal(signed_token(R"({"alg":"None"})", kClaims)), "");
  EXPECT_NE(refusal(signed_token(R"({"alg":"hs256"})", kClaims)), "");
  EXPECT_NE(refusal(signed_token(R"({"alg":"RS256"})", kClaims)), "");
  EXPECT_NE(refusal(signed_token(R"({"alg":["HS256"]})", kClaims)), "");
  EXPECT_NE(refusal(signed_token(R"({"typ":"JWT"})", kClaims)), "");
  EXPECT_NE(refusal(signed_token(R"({"alg":"HS512"})", kClaims, kKey, EVP_sha512())), "");
  EXPECT_NE(refusal(signed_token(kHeader, kClaims, kKey, EVP_sha512())), "");
}

TEST(Authenticator, RefusesHeaderExtensionsThatItDoesNotKnow) {
  EXPECT_NE(refusal(signed_token(R"({"alg":"HS256","crit":["b64"],"b64":false})", kClaims)), "");
}

TEST(Authenticator, RefusesEverySingleChangedCharacter) {
  const std::string token = make_jwt(kKey, kClaims);
  ASSERT_EQ(refusal(token), "");
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_NE(refusal(changed), "") << "at " << i;
  }
  for (std::size_t length = 0; length < token.size(); ++length) EXPECT_NE(refusal(token.substr(0, length)), "");
}

TEST(Authenticator, RefusesAnotherKeyAndNoKey) {
  EXPECT_NE(refusal(signed_token(kHeader, kClaims, "another key, as long")), "");
  EXPECT_FALSE(JwtAuthenticator("").authenticate(signed_token(kHeader, kClaims, ""), kNow));
}

TEST(Authenticator, RefusesTokensOfAnotherShape) {
  const std::string token = make_jwt(kKey, kClaims);
  for (const std::string& bad : {std::string(), std::string("."), std::string(".."), std::string("..."),
                                 std::string("abc"), token + ".", token + ".x", token + "=", " " + token, token + "\n",
                                 "." + token, std::string("ü.ü.ü"), std::string(1 << 20, 'A')})
    EXPECT_NE(refusal(bad), "") << bad.substr(0, 100);
}

TEST(Authenticator, RefusesStandardBase64InPlaceOfTheUrlAlphabet) {
  // A payload whose encoding has characters that differ between the alphabets.
  const std::string payload = R"({"userId":"u1>>>???","ownerId":"o1","exp":1767323105})";
  std::string token = signed_token(kHeader, payload);
  ASSERT_EQ(refusal(token), "");
  ASSERT_NE(token.find_first_of("-_"), std::string::npos);
  std::replace(token.begin(), token.end(), '-', '+');
  std::replace(token.begin(), token.end(), '_', '/');
  EXPECT_NE(refusal(token), "");
}

TEST(Authenticator, NeedsUserOwnerAndExpiry) {
  for (const char* claims : {
           R"({"ownerId":"o1","exp":1767323105})",
           R"({"userId":"u1","exp":1767323105})",
           R"({"userId":"u1","ownerId":"o1"})",
           R"({"userId":"","ownerId":"o1","exp":1767323105})",
           R"({"userId":"u1","ownerId":"","exp":1767323105})",
           R"({"userId":1,"ownerId":"o1","exp":1767323105})",
           R"({"userId":"u1","ownerId":null,"exp":1767323105})",
           R"({"userId":"u1","ownerId":["o1"],"exp":1767323105})",
           R"({"userId":"u\u00001","ownerId":"o1","exp":1767323105})",
           R"({"userId":"u1","ownerId":"o1","exp":"1767323105"})",
           R"({"userId":"u1","ownerId":"o1","exp":null})",
           R"({"userId":"u1","ownerId":"o1","exp":true})",
           R"(["userId","ownerId","exp"])",
           R"("u1")",
           "{",
           "",
       })
    EXPECT_NE(refusal(make_jwt(kKey, claims)), "") << claims;
}

TEST(Authenticator, ATokenEndsExactlyAtItsExpiry) {
  const std::string token = make_jwt(kKey, kClaims);
  const JwtAuthenticator authenticator(kKey);
  const Timestamp end = *parse_iso8601("2026-01-02T03:05:05Z");
  EXPECT_TRUE(authenticator.authenticate(token, Timestamp{end.microseconds - 1}));
  EXPECT_FALSE(authenticator.authenticate(token, end));
  EXPECT_FALSE(authenticator.authenticate(token, Timestamp{end.microseconds + 1}));
}

TEST(Authenticator, ExpiriesOfAnySizeAreNumbers) {
  EXPECT_EQ(refusal(make_jwt(kKey, R"({"userId":"u1","ownerId":"o1","exp":1e300})")), "");
  EXPECT_EQ(refusal(make_jwt(kKey, R"({"userId":"u1","ownerId":"o1","exp":18446744073709551615})")), "");
  EXPECT_EQ(refusal(make_jwt(kKey, R"({"userId":"u1","ownerId":"o1","exp":1767323105.5})")), "");
  EXPECT_NE(refusal(make_jwt(kKey, R"({"userId":"u1","ownerId":"o1","exp":-1e300})")), "");
  EXPECT_NE(refusal(make_jwt(kKey, R"({"userId":"u1","ownerId":"o1","exp":0})")), "");
}

}  // namespace
}  // namespace nizhal::server
