// Bodies from outside, damaged in every way: a decoder answers or refuses, and what it takes it can write again.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"

namespace nizhal::protocol {
namespace {

struct Item {
  std::string id;
  std::int64_t amount = 0;
  std::optional<Timestamp> at;
  CrdtText body;
};

Domain test_domain() {
  Domain domain("test");
  domain.add(table<Item>("items")
                 .key("id", &Item::id)
                 .column("amount", &Item::amount)
                 .column("at", &Item::at)
                 .column("body", &Item::body));
  return domain;
}

constexpr std::string_view kBodies[] = {
    R"({"cursor":"abc","deviceId":"d","limit":5,"syncRule":"r","buckets":["a"],"schema":{"items":"1"},"updates":true})",
    R"({"mutations":[{"name":"a","args":{"x":[1,2.5,"é"]},"clientMutationId":"m","clientID":"c","mutationID":1,)"
    R"("hlc":"h","dependsOn":["n"],"idSeed":"s","argsVersion":1}],"results":true})",
    R"({"results":[{"clientMutationId":"m","status":"rejected","code":"c","error":"e","serverId":"s",)"
    R"("affectedBuckets":["b"]}],"lastMutationId":1,"clientSequences":{"c":1},"clockSkewMs":-5})",
    R"({"results":[{"clientMutationId":"m","status":"applied","conflicts":[{"table":"items","key":"i","column":"amount",)"
    R"("lost":"5","at":"2026-01-02T03:04:05.000000Z","winnerAt":"2026-01-02T03:04:06.000000Z"}]}]})",
    R"({"changed":[{"table":"items","rows":[{"id":"i","amount":"5","at":null,"body":{"update":"AAA="}},)"
    R"({"id":"j","amount":"6","at":null,"body":"AAA="}]}],"tombstoned":[],"removed":[],"removedBuckets":[],)"
    R"("cursor":"c","hasMore":false,"hlc":"2026-01-02T03:04:05.000Z-0000-00000000000000000000000000000000"})",
    R"({"changed":[{"table":"items","rows":[{"id":"i","amount":"5","at":"2026-01-02T03:04:05Z"}]}],)"
    R"("tombstoned":[{"table":"items","id":"j","key":"k"}],"removed":[],"removedBuckets":["b"],"cursor":"c",)"
    R"("hasMore":false,"buckets":["b"],"epoch":"e","cursorReset":true,"lastMutationId":1,)"
    R"("lastClientMutationId":"m","progress":{"rows":1,"total":2},"serverTime":"2026-01-02T03:04:05.678901Z"})",
    R"({"error":"text","code":"word","lastMutationId":3})",
};

constexpr std::string_view kPieces[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "null",
                                        "true",
                                        "0",
                                        "-1",
                                        "1e999",
                                        "\"",
                                        "\\u0",
                                        "\\ud800",
                                        "é",
                                        "\xff",
                                        " ",
                                        "\"id\":",
                                        "9223372036854775808",
                                        "18446744073709551616",
                                        "0.1"};

std::string damaged(Random& random, std::string_view body) {
  std::string text(body);
  for (auto n = random.below(4) + 1; n > 0; --n) {
    const std::size_t at = random.below(text.size() + 1);
    switch (random.below(4)) {
      case 0:
        text.insert(at, kPieces[random.below(std::size(kPieces))]);
        break;
      case 1:
        text.erase(at, random.below(6) + 1);
        break;
      case 2:
        text.replace(at, random.below(4), kPieces[random.below(std::size(kPieces))]);
        break;
      default: {
        const std::string piece = text.substr(random.below(text.size() + 1), random.below(40));
        text.insert(at, piece);
      }
    }
  }
  return text;
}

TEST(Messages, DamagedBodiesAreTakenOrRefusedAndNothingElse) {
  SeededRandom random(test_seed());
  const Domain domain = test_domain();
  std::size_t taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string body = damaged(random, kBodies[random.below(std::size(kBodies))]);
    if (const auto pull = decode_pull_request(body)) {
      ++taken;
      const std::string written = encode_pull_request(*pull);
      const auto again = decode_pull_request(written);
      ASSERT_TRUE(again && encode_pull_request(*again) == written) << body;
    }
    if (const auto push = decode_push_request(body)) {
      ++taken;
      const std::string written = encode_push_request(*push);
      const auto again = decode_push_request(written);
      ASSERT_TRUE(again && encode_push_request(*again) == written) << body;
    }
    if (const auto reply = decode_push_reply(body)) {
      ++taken;
      const std::string written = encode_push_reply(*reply);
      const auto again = decode_push_reply(written);
      ASSERT_TRUE(again && encode_push_reply(*again) == written) << body;
    }
    if (const auto page = decode_page(domain, body)) {
      ++taken;
      for (const ChangedTable& changed : page->changed)
        for (const Row& row : changed.rows) ASSERT_EQ(row.size(), 4U) << body;
    }
    decode_error(body);
  }
  EXPECT_GT(taken, 0U);
}

}  // namespace
}  // namespace nizhal::protocol
