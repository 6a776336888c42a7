#include "net/url.hpp"

#include <gtest/gtest.h>

namespace nizhal::net {
namespace {

TEST(Url, SchemeHostPortAndBasePathAreTakenApart) {
  const auto plain = parse_url("http://sync.example.com");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->secure);
  EXPECT_EQ(plain->host, "sync.example.com");
  EXPECT_EQ(plain->port, 80);
  EXPECT_EQ(plain->base_path, "");
  EXPECT_EQ(plain->host_header(), "sync.example.com");

  const auto secure = parse_url("https://sync.example.com:8443/nizhal/v1/");
  ASSERT_TRUE(secure);
  EXPECT_TRUE(secure->secure);
  EXPECT_EQ(secure->port, 8443);
  EXPECT_EQ(secure->base_path, "/nizhal/v1");
  EXPECT_EQ(secure->host_header(), "sync.example.com:8443");

  const auto six = parse_url("http://[::1]:4000");
  ASSERT_TRUE(six);
  EXPECT_EQ(six->host, "::1");
  EXPECT_EQ(six->endpoint(), "[::1]:4000");
  EXPECT_EQ(six->host_header(), "[::1]:4000");
  EXPECT_EQ(parse_url("https://[2001:db8::2]")->port, 443);
}

TEST(Url, EveryMistakeIsAUsageErrorThatSaysWhatToWrite) {
  for (const char* text : {"", "sync.example.com", "ftp://host", "http://", "http://:4000", "http://host:0",
                           "http://host:65536", "http://host:", "http://host:4x", "http://::1:4000", "http://[::1",
                           "http://[::1]x", "http://[host]", "http://ho st", "http://host/a b"}) {
    const auto url = parse_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, ErrorCode::usage);
    EXPECT_NE(url.error().message.find("http://host:4000"), std::string::npos) << url.error().message;
  }
}

TEST(Url, APasswordInTheAddressIsRefusedAndNotRepeated) {
  const auto url = parse_url("http://user:hunter2@host");
  ASSERT_FALSE(url);
  EXPECT_EQ(url.error().message.find("hunter2"), std::string::npos);
  EXPECT_FALSE(parse_url("http://host/?token=hunter2"));
}

TEST(Target, PathAndRepeatedQueryParametersAreDecoded) {
  const auto target = parse_target("/sync/a%20b+c?bucket=team%3A1&bucket=x+y&token=&flag&&=v");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/sync/a b+c");
  EXPECT_EQ(target->query.count("bucket"), 2u);
  const auto buckets = target->query.equal_range("bucket");
  EXPECT_EQ(buckets.first->second, "team:1");
  EXPECT_EQ(std::next(buckets.first)->second, "x y");
  EXPECT_EQ(target->query.find("token")->second, "");
  EXPECT_EQ(target->query.count("flag"), 1u);
}

TEST(Target, TheAbsoluteFormIsTaken) {
  EXPECT_EQ(parse_target("http://host:4000/healthz?x=1")->path, "/healthz");
  EXPECT_EQ(parse_target("http://host")->path, "/");
}

TEST(Target, BrokenEscapesAndOtherFormsAreRefused) {
  for (const char* text : {"", "healthz", "*", "/%", "/%2", "/%zz", "/a?b=%", "/a?%g0=1", "host:443"}) {
    const auto target = parse_target(text);
    ASSERT_FALSE(target) << text;
    EXPECT_EQ(target.error().code, ErrorCode::bad_request);
  }
}

TEST(Target, FormattingAndParsingAreInverse) {
  const std::multimap<std::string, std::string> query{{"bucket", "team:a&b=c"}, {"bucket", "é +%"}, {"t", ""}};
  const auto target = parse_target(format_target("/a b/c%d", query));
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/a b/c%d");
  EXPECT_EQ(target->query, query);
}

}  // namespace
}  // namespace nizhal::net
