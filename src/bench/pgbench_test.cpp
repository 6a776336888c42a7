#include "bench/pgbench.hpp"

#include <gtest/gtest.h>

#include "bench/database.hpp"

namespace nizhal::bench {
namespace {

constexpr const char* kOutput = R"(pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: bare.sql
number of transactions actually processed: 29372
number of failed transactions: 0 (0.000%)
latency average = 2.171 ms
initial connection time = 22.371 ms
tps = 7369.946808 (without initial connection time)
)";

TEST(Pgbench, TheRateIsReadFromWhatItPrints) {
  EXPECT_EQ(parse_tps(kOutput), 7369.946808);
  std::string failed = kOutput;
  failed.replace(failed.find(": 0 (0"), 6, ": 1 (0");
  EXPECT_FALSE(parse_tps(failed)) << "transactions that failed are none";
  EXPECT_FALSE(parse_tps(""));
  EXPECT_FALSE(parse_tps("\ntps = nothing"));
}

TEST(Pgbench, TheTransactionHasAsManyRecordsAsItIsToldTo) {
  const std::string script = bare_transaction(50);
  EXPECT_NE(script.find("generate_series(1, 50)"), std::string::npos);
  EXPECT_NE(script.find(":last + 50"), std::string::npos);
}

std::string variable(const DatabaseUrl& url, const std::string& name) {
  for (const auto& [known, value] : url.environment)
    if (known == name) return value;
  return "";
}

TEST(BenchDatabase, TheUrlOfAnotherDatabaseKeepsTheRest) {
  const auto url = url_of_database("postgresql://me:p%2Fw@db.example:5433/app?sslmode=require", "nizhal_bench_1");
  ASSERT_TRUE(url) << url.error().message;
  EXPECT_TRUE(url->url.starts_with("postgresql:///nizhal_bench_1?")) << url->url;
  for (const char* part : {"user=me", "password=p%2Fw", "host=db.example", "port=5433", "sslmode=require"})
    EXPECT_NE(url->url.find(part), std::string::npos) << part << " in " << url->url;
  EXPECT_EQ(url->url.find("app"), std::string::npos);
  EXPECT_EQ(variable(*url, "PGDATABASE"), "nizhal_bench_1");
  EXPECT_EQ(variable(*url, "PGPASSWORD"), "p/w");
  EXPECT_EQ(variable(*url, "PGHOST"), "db.example");
}

TEST(BenchDatabase, WhatIsNoUrlIsNotRepeated) {
  const auto url = url_of_database("postgresql://me:secret@[", "x");
  ASSERT_FALSE(url);
  EXPECT_EQ(url.error().code, ErrorCode::usage);
  EXPECT_EQ(url.error().message.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace nizhal::bench
