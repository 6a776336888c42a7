#include "server/origins.hpp"

#include <gtest/gtest.h>

namespace nizhal::server {
namespace {

constexpr std::string_view kApp = "https://app.example.com";
constexpr std::string_view kHost = "sync.example.com";

TEST(Origins, AreKeptAsBrowsersSendThem) {
  EXPECT_EQ(parse_origin("HTTPS://App.Example.com:443"), "https://app.example.com");
  EXPECT_EQ(parse_origin("http://localhost:80"), "http://localhost");
  EXPECT_EQ(parse_origin("http://localhost:5173"), "http://localhost:5173");
  EXPECT_EQ(parse_origin("https://[2001:db8::1]:8443"), "https://[2001:db8::1]:8443");
  EXPECT_EQ(parse_origin("capacitor://localhost"), "capacitor://localhost");
  EXPECT_EQ(parse_origin("*"), "*");
}

TEST(Origins, WhatIsNoneIsRefusedAndSaysWhatOneLooksLike) {
  for (const char* text :
       {"", "app.example.com", "https://app.example.com/", "https://app.example.com/path", "https://", "https://a b",
        "https://u@h", "https://*.example.com", "null", "://x", "https://bücher.de", "https://a?b", "https://:443"}) {
    const auto origin = parse_origin(text);
    ASSERT_FALSE(origin) << text;
    EXPECT_EQ(origin.error().code, ErrorCode::usage);
    EXPECT_NE(origin.error().message.find("https://app.example.com"), std::string::npos);
  }
}

TEST(Origins, OnlyWhatIsOnTheListAndTheServersOwnHostAreAllowed) {
  const Origins origins({"https://app.example.com", "http://localhost:5173"});
  EXPECT_TRUE(origins.allows(kApp, kHost));
  EXPECT_TRUE(origins.allows("http://localhost:5173", kHost));
  EXPECT_TRUE(origins.allows("https://sync.example.com", kHost)) << "the same host";
  EXPECT_TRUE(origins.allows("https://sync.example.com", "Sync.Example.com:443"));
  EXPECT_TRUE(origins.allows("http://127.0.0.1:4000", "127.0.0.1:4000"));
  for (const char* origin :
       {"http://app.example.com", "https://app.example.com:8443", "https://app.example.com.evil.example", "null", "",
        "https://evil.example", "https://app.example.com, https://evil.example", "sync.example.com", "http://localhost",
        "https://sync.example.com:8443", "https://evil.example/sync.example.com"})
    EXPECT_FALSE(origins.allows(origin, kHost)) << origin;
  EXPECT_FALSE(origins.allows("https://", ""));
}

TEST(Origins, WithoutAListOnlyTheServersOwnHostIsAllowed) {
  const Origins origins({});
  EXPECT_FALSE(origins.allows(kApp, kHost));
  EXPECT_TRUE(origins.allows("https://sync.example.com", kHost));
  protocol::HttpResponse response;
  origins.add_headers(protocol::kPullPath, kApp, kHost, response);
  EXPECT_TRUE(response.headers.empty());
  EXPECT_EQ(origins.preflight(protocol::kPullPath, kApp, kHost).status, 403);
}

TEST(Origins, AnAllowedPageMayReadAnswersAndTheirRetryAfter) {
  const Origins origins({std::string(kApp)});
  for (const std::string_view path : {protocol::kPullPath, protocol::kPushPath, std::string_view("/nizhal/contract")}) {
    protocol::HttpResponse response;
    response.status = 503;
    origins.add_headers(path, kApp, kHost, response);
    EXPECT_EQ(response.headers["access-control-allow-origin"], kApp);
    EXPECT_EQ(response.headers["access-control-expose-headers"], "Retry-After");
    EXPECT_EQ(response.headers["vary"], "Origin");
    EXPECT_FALSE(response.headers.contains("access-control-allow-credentials"));
  }
}

TEST(Origins, AnAnswerForOthersDiffersSoCachesAreTold) {
  const Origins origins({std::string(kApp)});
  for (const std::string_view origin : {std::string_view("https://evil.example"), std::string_view()}) {
    protocol::HttpResponse response;
    origins.add_headers(protocol::kPullPath, origin, kHost, response);
    EXPECT_EQ(response.headers, (std::map<std::string, std::string>{{"vary", "Origin"}}));
  }
  protocol::HttpResponse admin;
  origins.add_headers("/nizhal/audit", kApp, kHost, admin);
  EXPECT_TRUE(admin.headers.empty()) << "no page has business there";
}

TEST(Origins, ABrowserThatAsksBeforehandIsToldWhatItMaySend) {
  const Origins origins({std::string(kApp)});
  auto answer = origins.preflight(protocol::kPushPath, kApp, kHost);
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.headers["access-control-allow-origin"], kApp);
  EXPECT_EQ(answer.headers["access-control-allow-methods"], "POST");
  EXPECT_EQ(answer.headers["access-control-allow-headers"], "Authorization, Content-Type, x-nizhal-contract-version");
  EXPECT_EQ(answer.headers["vary"], "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
  answer = origins.preflight(protocol::kPushPath, "https://evil.example", kHost);
  EXPECT_EQ(answer.status, 403);
  EXPECT_NE(answer.body.find("origin_not_allowed"), std::string::npos);
  EXPECT_FALSE(answer.headers.contains("access-control-allow-origin"));
  EXPECT_EQ(origins.preflight("/nizhal/audit", kApp, kHost).status, 403);
}

TEST(Origins, TheStarAllowsEveryPageAndNeverWithCookies) {
  const Origins origins({"*"});
  EXPECT_TRUE(origins.allows("null", kHost));
  auto answer = origins.preflight(protocol::kPullPath, kApp, kHost);
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.headers["access-control-allow-origin"], "*");
  EXPECT_FALSE(answer.headers.contains("access-control-allow-credentials"));
}

}  // namespace
}  // namespace nizhal::server
