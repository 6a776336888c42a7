#include "cli/token_payload.hpp"

#include <gtest/gtest.h>

#include <string>

#include "base/bytes.hpp"

namespace nizhal::cli {
namespace {

std::string token_with(std::string_view payload) { return "e30." + to_base64url(as_bytes(payload)) + ".c2ln"; }

TEST(TokenPayload, TheWholePayloadIsTheActor) {
  const auto actor = actor_of_token(token_with(R"({"userId":"u1","ownerId":"o1","exp":1,"role":"admin"})"));
  ASSERT_TRUE(actor) << actor.error().message;
  EXPECT_EQ(actor->user_id, "u1");
  EXPECT_EQ(actor->owner_id, "o1");
  EXPECT_EQ(actor->claim("role"), "admin");
}

TEST(TokenPayload, WhatIsNoTokenIsUsageAndNeverRepeated) {
  for (const std::string& token :
       {std::string("hunter2"), std::string("a.b"), std::string("a.b.c.d"), std::string("e30.!!!.x"),
        token_with("not json"), token_with("[]"), token_with("{}"), token_with(R"({"userId":"u"})"),
        token_with(R"({"userId":1,"ownerId":"o"})"), token_with(R"({"userId":"","ownerId":"o"})")}) {
    const auto actor = actor_of_token(token);
    ASSERT_FALSE(actor) << token;
    EXPECT_EQ(actor.error().code, ErrorCode::usage);
    EXPECT_EQ(actor.error().message.find(token), std::string::npos);
  }
}

}  // namespace
}  // namespace nizhal::cli
