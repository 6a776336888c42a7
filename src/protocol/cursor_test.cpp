#include "protocol/cursor.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/environment.hpp"
#include "base/test_seed.hpp"

namespace nizhal::protocol {
namespace {

std::string random_text(Random& random, std::size_t length_max) {
  static constexpr std::string_view kPieces[] = {"a",  "Z", "9", "/", "%", "\"", "\\",
                                                 "\n", ":", "é", "☃", "😀", " ",  "."};
  std::string text;
  for (auto n = random.below(length_max + 1); n > 0; --n) text += kPieces[random.below(std::size(kPieces))];
  return text;
}

Version random_version(Random& random) {
  if (random.below(8) == 0) return Version{static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())};
  return Version{random.below(random.below(2) == 0 ? 5 : 1'000'000'000'000)};
}

Cursor random_cursor(Random& random) {
  Cursor cursor;
  cursor.epoch = random_text(random, 40);
  cursor.position = random_version(random);
  for (auto n = random.below(6); n > 0; --n) {
    CursorBucket& bucket = cursor.buckets[random_text(random, 12)];
    bucket.gain = random_version(random);
    bucket.removals_after = random_version(random);
    for (auto tables = random.below(4); tables > 0; --tables) {
      std::optional<std::string> last_key;
      if (random.below(2) == 0) last_key = random_text(random, 8);
      bucket.backfill[random_text(random, 6)] = last_key;
    }
  }
  for (auto n = random.below(4); n > 0; --n) cursor.fingerprints[random_text(random, 6)] = random_text(random, 20);
  if (random.below(2) == 0) {
    cursor.rows_backfilled = random.below(1'000'000);
    cursor.rows_total = random.below(1'000'000);
  }
  return cursor;
}

bool same(const Cursor& left, const Cursor& right) {
  if (left.epoch != right.epoch || left.position != right.position || left.fingerprints != right.fingerprints ||
      left.rows_backfilled != right.rows_backfilled || left.rows_total != right.rows_total ||
      left.buckets.size() != right.buckets.size())
    return false;
  for (const auto& [key, bucket] : left.buckets) {
    const auto other = right.buckets.find(key);
    if (other == right.buckets.end() || other->second.gain != bucket.gain ||
        other->second.removals_after != bucket.removals_after || other->second.backfill != bucket.backfill)
      return false;
  }
  return true;
}

/// A cursor whose checksum is right, whatever its document says: what a forger would send.
std::string forge(std::string_view document) {
  const auto digest = sha256(as_bytes(document));
  std::vector<std::uint8_t> bytes(digest.begin(), digest.begin() + 8);
  const auto text = as_bytes(document);
  bytes.insert(bytes.end(), text.begin(), text.end());
  return to_base64url(bytes);
}

TEST(Cursor, ComesBackAsItWasWritten) {
  SeededRandom random(test_seed());
  for (int i = 0; i < 2'000; ++i) {
    const Cursor cursor = random_cursor(random);
    const std::string text = encode_cursor(cursor);
    const auto decoded = decode_cursor(text);
    ASSERT_TRUE(decoded.has_value()) << "cursor " << i << ": " << text;
    ASSERT_TRUE(same(cursor, *decoded)) << "cursor " << i << ": " << text;
  }
}

TEST(Cursor, TellsABackfillNotBegunFromOneAtAnEmptyKey) {
  Cursor cursor;
  cursor.buckets["b"].backfill["not_begun"] = std::nullopt;
  cursor.buckets["b"].backfill["at_empty_key"] = "";
  const auto decoded = decode_cursor(encode_cursor(cursor));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_TRUE(same(cursor, *decoded));
}

TEST(Cursor, TheEmptyTextIsNone) { EXPECT_FALSE(decode_cursor("").has_value()); }

TEST(Cursor, AForgedDocumentThatIsValidDecodes) {
  EXPECT_TRUE(decode_cursor(forge(R"({"v":1,"e":"x","p":7,"b":{"k":[1,2]}})")).has_value());
}

TEST(Cursor, RefusesAForgedDocumentOfTheWrongShape) {
  const std::string_view documents[] = {
      R"(7)",
      R"([])",
      R"({})",
      R"({"v":1})",
      R"({"v":2,"e":"x","p":7,"b":{}})",
      R"({"v":"1","e":"x","p":7,"b":{}})",
      R"({"v":1,"e":7,"p":7,"b":{}})",
      R"({"v":1,"e":null,"p":7,"b":{}})",
      R"({"v":1,"e":"x","p":-1,"b":{}})",
      R"({"v":1,"e":"x","p":7.5,"b":{}})",
      R"({"v":1,"e":"x","p":7.0,"b":{}})",
      R"({"v":1,"e":"x","p":"7","b":{}})",
      R"({"v":1,"e":"x","p":9223372036854775808,"b":{}})",
      R"({"v":1,"e":"x","p":1e400,"b":{}})",
      R"({"v":1,"e":"x","p":7,"b":[]})",
      R"({"v":1,"e":"x","p":7,"b":{"k":[]}})",
      R"({"v":1,"e":"x","p":7,"b":{"k":[1]}})",
      R"({"v":1,"e":"x","p":7,"b":{"k":[1,2,3]}})",
      R"({"v":1,"e":"x","p":7,"b":{"k":[1,2,{}]}})",
      R"({"v":1,"e":"x","p":7,"b":{"k":[1,2,{"t":7}]}})",
      R"({"v":1,"e":"x","p":7,"b":{"k":[1,2,{"t":null},4]}})",
      R"({"v":1,"e":"x","p":7,"b":{"k":{"0":1,"1":2}}})",
      R"({"v":1,"e":"x","p":7,"b":{"k":[1,2],"k":[3,4]}})",
      R"({"v":1,"e":"x","p":7,"b":{},"f":{}})",
      R"({"v":1,"e":"x","p":7,"b":{},"f":{"t":7}})",
      R"({"v":1,"e":"x","p":7,"b":{},"f":[]})",
      R"({"v":1,"e":"x","p":7,"b":{},"n":[1]})",
      R"({"v":1,"e":"x","p":7,"b":{},"n":[1,-2]})",
      R"({"v":1,"e":"x","p":7,"b":{},"n":[0,0]})",
      R"({"v":1,"e":"x","p":7,"b":{},"n":[1,9223372036854775807]})",
      R"({"v":1,"e":"x","p":7,"b":{},"q":1})",
      R"({ "v":1,"e":"x","p":7,"b":{}})",
      R"({"e":"x","v":1,"p":7,"b":{}})",
      R"({"v":1,"e":"x","p":7,"b":{}} )",
      R"({"v":1,"e":"\u0078","p":7,"b":{}})",
  };
  for (const std::string_view document : documents)
    EXPECT_FALSE(decode_cursor(forge(document)).has_value()) << document;
}

TEST(Cursor, RefusesAForgedDocumentThatIsNested) {
  const std::string deep(100'000, '[');
  EXPECT_FALSE(decode_cursor(forge(deep)).has_value());
  EXPECT_FALSE(decode_cursor(forge(R"({"v":1,"e":"x","p":7,"b":)" + deep)).has_value());
}

TEST(Cursor, RefusesAnEpochOfUnreasonableLength) {
  const std::string document = R"({"v":1,"e":")" + std::string(5'000, 'x') + R"(","p":7,"b":{}})";
  EXPECT_FALSE(decode_cursor(forge(document)).has_value());
}

TEST(Cursor, RefusesMoreThanAMebibyte) {
  Cursor cursor;
  for (int i = 0; i < 60'000; ++i) cursor.buckets["bucket-number-" + std::to_string(i)];
  const std::string text = encode_cursor(cursor);
  ASSERT_GT(text.size(), std::size_t{1} << 20);
  EXPECT_FALSE(decode_cursor(text).has_value());
}

TEST(Cursor, HoldsTenThousandBuckets) {
  Cursor cursor;
  for (int i = 0; i < 10'000; ++i) cursor.buckets["shop:" + random_uuid(system_random())].gain = Version{1'000'000};
  const auto decoded = decode_cursor(encode_cursor(cursor));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->buckets.size(), 10'000U);
}

// Every changed byte must be noticed: a cursor that decodes to something else would be a silent gap.
TEST(Cursor, NoDamageDecodesToAnotherCursor) {
  SeededRandom random(test_seed());
  std::size_t inputs = 0;
  while (inputs < 20'000) {
    const Cursor cursor = random_cursor(random);
    const std::string text = encode_cursor(cursor);
    for (int i = 0; i < 50; ++i, ++inputs) {
      std::string damaged = text;
      for (auto n = random.below(3) + 1; n > 0; --n) {
        const std::size_t at = random.below(damaged.size() + 1);
        switch (random.below(4)) {
          case 0:
            if (at < damaged.size()) damaged[at] = static_cast<char>(random.below(256));
            break;
          case 1:
            damaged.insert(at, 1, static_cast<char>(random.below(128)));
            break;
          case 2:
            if (at < damaged.size()) damaged.erase(at, random.below(4) + 1);
            break;
          default:
            damaged.resize(at);
        }
      }
      const auto decoded = decode_cursor(damaged);
      ASSERT_TRUE(!decoded || damaged == text) << text << " became " << damaged;
    }
  }
}

TEST(Cursor, RandomBytesDoNoHarm) {
  SeededRandom random(test_seed());
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(random.below(200), '\0');
    random.fill({reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()});
    ASSERT_FALSE(decode_cursor(bytes).has_value());
    // Past base64url and the checksum, so that the JSON reader sees the bytes too.
    ASSERT_FALSE(decode_cursor(forge(bytes)).has_value());
  }
}

TEST(Cursor, AForgedMutationDecodesOnlyInItsOneSpelling) {
  SeededRandom random(test_seed());
  static constexpr std::string_view kPieces[] = {"{", "}",  "[",     "]",  ",",   ":",      "null",
                                                 "1", "-1", "\"t\"", "\"", "1e9", "\\u0000"};
  for (int i = 0; i < 20'000; ++i) {
    const auto bytes = from_base64url(encode_cursor(random_cursor(random)));
    ASSERT_TRUE(bytes.has_value());
    std::string document(bytes->begin() + 8, bytes->end());
    for (auto n = random.below(3) + 1; n > 0; --n) {
      const std::size_t at = random.below(document.size());
      document.replace(at, random.below(3), kPieces[random.below(std::size(kPieces))]);
    }
    const std::string forged = forge(document);
    const auto decoded = decode_cursor(forged);
    ASSERT_TRUE(!decoded || encode_cursor(*decoded) == forged) << document;
  }
}

TEST(Cursor, TellsSinceWhenTheDeviceHasEverything) {
  Cursor cursor;
  cursor.epoch = "e";
  cursor.position = Version{9};
  const std::string without = encode_cursor(cursor);
  EXPECT_EQ(decode_cursor(without)->whole_at, std::nullopt);
  for (const std::uint64_t whole_at : {0U, 4U, 9U}) {
    cursor.whole_at = Version{whole_at};
    EXPECT_EQ(decode_cursor(encode_cursor(cursor))->whole_at, Version{whole_at});
  }
  // It cannot have more than it was told.
  cursor.whole_at = Version{10};
  EXPECT_FALSE(decode_cursor(encode_cursor(cursor)));
}

}  // namespace
}  // namespace nizhal::protocol
