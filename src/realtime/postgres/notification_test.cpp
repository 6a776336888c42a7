// Payloads of notifications: what is told comes back, in parts that PostgreSQL takes, and nothing else is taken for
// one.
#include "realtime/postgres/notification.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/environment.hpp"
#include "base/test_seed.hpp"

namespace nizhal::realtime {
namespace {

/// All parts put together again, with their numbers checked.
struct Heard {
  bool missed = false;
  std::vector<std::pair<std::uint64_t, std::string>> pairs;  // version and bucket
  std::vector<std::string> presence;
};
Heard decode_all(const std::vector<std::string>& payloads, std::uint64_t number = 0) {
  Heard heard;
  for (const std::string& payload : payloads) {
    EXPECT_LE(payload.size(), kPayloadBytesMax);
    const auto part = decode_notification(payload);
    EXPECT_TRUE(part) << payload;
    if (!part) continue;
    EXPECT_EQ(part->instance, "me");
    EXPECT_EQ(part->number, ++number);
    heard.missed = heard.missed || part->missed;
    for (const auto& [version, buckets] : part->message.commits)
      for (const std::string& bucket : buckets) heard.pairs.emplace_back(nizhal::number(version), bucket);
    heard.presence.insert(heard.presence.end(), part->message.presence.begin(), part->message.presence.end());
  }
  return heard;
}

TEST(Notification, ComesBackAsItWasWritten) {
  std::uint64_t number = 41;
  const auto payloads = encode_notifications(
      {.commits = {{Version{7}, {"o1", "team:a"}}, {Version{9'000'000'000'000'000'000}, {"a \"quoted\" \u00e9 key\n"}}},
       .presence = {R"({"bucket":"o1","user":"u1"})", R"({"n":[1,2.5,null]})"}},
      false, "me", number);
  ASSERT_EQ(payloads.size(), 1U);
  EXPECT_EQ(number, 42U);
  const Heard heard = decode_all(payloads, 41);
  EXPECT_FALSE(heard.missed);
  EXPECT_EQ(heard.pairs, (std::vector<std::pair<std::uint64_t, std::string>>{
                             {7, "o1"}, {7, "team:a"}, {9'000'000'000'000'000'000, "a \"quoted\" \u00e9 key\n"}}));
  EXPECT_EQ(heard.presence.size(), 2U);
  EXPECT_EQ(heard.presence[0], R"({"bucket":"o1","user":"u1"})");
}

TEST(Notification, NothingToTellIsNoNotification) {
  std::uint64_t number = 0;
  EXPECT_TRUE(encode_notifications({}, false, "me", number).empty());
  EXPECT_TRUE(encode_notifications({.commits = {{Version{1}, {}}}, .presence = {}}, false, "me", number).empty())
      << "it changed nothing that anybody has";
  EXPECT_EQ(number, 0U);
  const auto missed = encode_notifications({}, true, "me", number);
  ASSERT_EQ(missed.size(), 1U);
  EXPECT_TRUE(decode_notification(missed[0])->missed);
}

TEST(Notification, WhatIsLargerThanAPayloadComesInSeveralWithoutLoss) {
  const std::uint64_t first = test_seed("Notification");
  for (std::uint64_t seed = first; seed < first + 50; ++seed) {
    SeededRandom random(seed);
    Message message;
    std::vector<std::pair<std::uint64_t, std::string>> pairs;
    for (std::uint64_t version = 1; version <= 1 + random.below(40); ++version) {
      CommitNotice commit{Version{version}, {}};
      const std::uint64_t buckets = random.below(4) == 0 ? random.below(600) : random.below(5);
      for (std::uint64_t i = 0; i < buckets; ++i)
        // Each byte of a control character becomes six.
        commit.buckets.insert(std::string(random.below(200), random.below(3) == 0 ? '\x01' : 'k') + std::to_string(i));
      for (const std::string& bucket : commit.buckets) pairs.emplace_back(version, bucket);
      message.commits.push_back(std::move(commit));
    }
    for (std::uint64_t i = 0; i < random.below(30); ++i)
      message.presence.push_back(R"({"text":")" + std::string(random.below(7'000), 'x') + "\"}");
    std::uint64_t number = 0;
    const Heard heard = decode_all(encode_notifications(message, false, "me", number));
    EXPECT_FALSE(heard.missed);
    EXPECT_EQ(heard.pairs, pairs) << "seed " << seed;
    EXPECT_EQ(heard.presence, message.presence) << "seed " << seed;
  }
}

TEST(Notification, WhatFitsIntoNoPayloadIsToldAsMissed) {
  const std::string long_key(8'000, 'k');
  std::uint64_t number = 0;
  const Heard heard = decode_all(
      encode_notifications({.commits = {{Version{3}, {"a", long_key, "z"}}}, .presence = {}}, false, "me", number));
  EXPECT_TRUE(heard.missed);
  EXPECT_EQ(heard.pairs, (std::vector<std::pair<std::uint64_t, std::string>>{{3, "a"}, {3, "z"}}));
  const auto alone = encode_notifications({.commits = {{Version{3}, {long_key}}}, .presence = {}}, false, "me", number);
  ASSERT_EQ(alone.size(), 1U);
  EXPECT_TRUE(decode_notification(alone[0])->missed);
}

TEST(Notification, WhateverElseComesIsNotTakenForOne) {
  for (const char* text : {"",
                           "hello",
                           "{}",
                           "[]",
                           "null",
                           R"({"v":2,"from":"me","n":1})",
                           R"({"v":"1","from":"me","n":1})",
                           R"({"v":1,"n":1})",
                           R"({"v":1,"from":"","n":1})",
                           R"({"v":1,"from":"me"})",
                           R"({"v":1,"from":"me","n":0})",
                           R"({"v":1,"from":"me","n":1.5})",
                           R"({"v":1,"from":"me","n":1,"missed":1})",
                           R"({"v":1,"from":"me","n":1,"commits":{}})",
                           R"({"v":1,"from":"me","n":1,"commits":[7]})",
                           R"({"v":1,"from":"me","n":1,"commits":[[7]]})",
                           R"({"v":1,"from":"me","n":1,"commits":[[-7,"a"]]})",
                           R"({"v":1,"from":"me","n":1,"commits":[["a","b"]]})",
                           R"({"v":1,"from":"me","n":1,"commits":[[7,8]]})",
                           R"({"v":1,"from":"me","n":1,"presence":["a"]})",
                           R"({"v":1,"from":"me","n":1,"presence":7})",
                           R"({"v":1,"from":"me","n":1)",
                           "{\"v\":1,\"from\":\"\xff\",\"n\":1}"})
    EXPECT_FALSE(decode_notification(text)) << text;
  EXPECT_TRUE(decode_notification(R"({"v":1,"from":"me","n":1,"later":"versions say more"})"));
}

TEST(Notification, BytesChangedAnywhereAreReadOrRefusedAndNeverAnythingElse) {
  const std::uint64_t first = test_seed("Notification");
  std::uint64_t number = 0;
  const std::string good = encode_notifications(
      {.commits = {{Version{7}, {"o1", "team:a"}}}, .presence = {R"({"a":{"b":[1]}})"}}, true, "me", number)[0];
  SeededRandom random(first);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (std::uint64_t i = 0; i <= random.below(4); ++i) {
      const std::size_t at = random.below(bytes.size());
      switch (random.below(3)) {
        case 0:
          bytes[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          bytes.erase(at, random.below(8));
          break;
        case 2:
          bytes.insert(at, good.substr(random.below(good.size()), random.below(20)));
          break;
      }
      if (bytes.empty()) break;
    }
    const auto read = decode_notification(bytes);
    EXPECT_TRUE(!read || read->number >= 1) << bytes;
  }
}

}  // namespace
}  // namespace nizhal::realtime
