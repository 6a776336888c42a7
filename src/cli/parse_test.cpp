#include "cli/parse.hpp"

#include <gtest/gtest.h>

#include "base/json.hpp"

namespace nizhal::cli {
namespace {

using std::chrono::milliseconds;

TEST(Parse, DurationsHaveANumberAndAUnit) {
  EXPECT_EQ(parse_duration("500ms"), milliseconds(500));
  EXPECT_EQ(parse_duration("30s"), milliseconds(30'000));
  EXPECT_EQ(parse_duration("15m"), milliseconds(900'000));
  EXPECT_EQ(parse_duration("1h"), milliseconds(3'600'000));
  EXPECT_EQ(parse_duration("7d"), milliseconds(7 * 86'400'000LL));
  EXPECT_EQ(parse_duration("0s"), milliseconds(0));
}

TEST(Parse, WhatIsNoDurationIsRefusedWithAnExample) {
  for (const char* text : {"", "10", "s", "-1s", "1 h", "1w", "1.5h", "99999999999999999999d", "9999999999999d"}) {
    const auto duration = parse_duration(text);
    ASSERT_FALSE(duration) << text;
    EXPECT_EQ(duration.error().code, ErrorCode::usage);
    EXPECT_NE(duration.error().message.find("30s"), std::string::npos);
  }
}

TEST(Parse, SizesAreBytesOrHaveAUnit) {
  EXPECT_EQ(parse_bytes("1048576"), 1'048'576u);
  EXPECT_EQ(parse_bytes("1MiB"), 1'048'576u);
  EXPECT_EQ(parse_bytes("64KiB"), 65'536u);
  EXPECT_EQ(parse_bytes("2MB"), 2'000'000u);
  for (const char* text : {"", "0", "1 MiB", "1mib", "-1", "99999999999999999999", "99999999999GiB"})
    EXPECT_FALSE(parse_bytes(text)) << text;
}

TEST(Parse, ARateIsPerSecondOrMinuteAndZeroIsOff) {
  EXPECT_DOUBLE_EQ(parse_rate("20/s")->requests_per_second, 20);
  EXPECT_DOUBLE_EQ(parse_rate("600/m")->requests_per_second, 10);
  EXPECT_DOUBLE_EQ(parse_rate("5")->burst, 5);
  EXPECT_DOUBLE_EQ(parse_rate("0.5/s")->burst, 1);
  EXPECT_DOUBLE_EQ(parse_rate("0")->requests_per_second, 0);
  for (const char* text : {"", "x", "-1/s", "10/h", "inf", "nan/s", "1/"}) EXPECT_FALSE(parse_rate(text)) << text;
}

TEST(Parse, AnAddressIsAHostAndAPort) {
  const auto plain = parse_address("127.0.0.1:4000");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "127.0.0.1");
  EXPECT_EQ(plain->port, 4000);
  EXPECT_EQ(plain->url(), "http://127.0.0.1:4000");
  const auto six = parse_address("[::1]:0");
  ASSERT_TRUE(six);
  EXPECT_EQ(six->host, "::1");
  EXPECT_EQ(six->url(), "http://[::1]:0");
  for (const char* text : {"", "4000", ":4000", "host", "host:", "host:x", "host:65536", "::1:4000", "host:80/"})
    EXPECT_FALSE(parse_address(text)) << text;
}

TEST(Parse, ADatabaseIsSqliteOrPostgresqlAndItsPasswordIsNeverRepeated) {
  EXPECT_EQ(parse_db("sqlite:a/b.db"), storage::DatabaseKind::sqlite);
  for (const char* text : {"postgresql://u:secret@h/d", "postgres://h:5433/d?sslmode=require", "postgresql:///d",
                           "host=/run/postgresql dbname=d"})
    EXPECT_EQ(parse_db(text), storage::DatabaseKind::postgres) << text;
  for (const char* text : {"", "sqlite:", "a.db", "mysql://secret", "postgresql://u:%zzsecret@h/d",
                           "postgresql://h/d?secret=1", "host=h secret=1"}) {
    const auto kind = parse_db(text);
    ASSERT_FALSE(kind) << text;
    EXPECT_EQ(kind.error().code, ErrorCode::usage);
    EXPECT_NE(kind.error().message.find("postgresql://"), std::string::npos) << kind.error().message;
    EXPECT_EQ(kind.error().message.find("secret"), std::string::npos) << kind.error().message;
  }
}

TEST(Parse, ACountIsAWholeNumberFromOne) {
  EXPECT_EQ(parse_count("8"), 8u);
  for (const char* text : {"", "0", "-1", "1.5", "8x"}) EXPECT_FALSE(parse_count(text)) << text;
}

TEST(Parse, ClaimsAreAJsonObjectWithTheThreeThatMustBeThere) {
  const auto claims = make_claims("u\"1", "o1", 1700000000, {"role=ad=min", "empty="});
  ASSERT_TRUE(claims);
  const auto parsed = parse_json(*claims);
  ASSERT_TRUE(parsed) << *claims;
  EXPECT_EQ(string_member(*parsed, "userId"), "u\"1");
  EXPECT_EQ(string_member(*parsed, "ownerId"), "o1");
  EXPECT_EQ(string_member(*parsed, "role"), "ad=min");
  EXPECT_EQ(string_member(*parsed, "empty"), "");
  EXPECT_EQ(as_integer(*member(*parsed, "exp")), 1700000000);
}

TEST(Parse, AClaimNeverReplacesOneThatMustBeThereNorComesTwice) {
  for (const char* claim : {"userId=x", "ownerId=x", "exp=1", "no-equals", "=x", "bad=\xff"})
    EXPECT_FALSE(make_claims("u", "o", 1, {claim})) << claim;
  EXPECT_FALSE(make_claims("u", "o", 1, {"a=1", "a=2"}));
  EXPECT_FALSE(make_claims("", "o", 1, {}));
  EXPECT_FALSE(make_claims("u", "", 1, {}));
}

}  // namespace
}  // namespace nizhal::cli
