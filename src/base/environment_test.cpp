#include "base/environment.hpp"

#include <array>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "base/log.hpp"
#include "base/test_seed.hpp"

namespace nizhal {
namespace {

TEST(SeededRandom, IsSplitMix64) {
  SeededRandom random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317U);
  EXPECT_EQ(random.next(), 3203168211198807973U);
  EXPECT_EQ(random.next(), 9817491932198370423U);
}

TEST(SeededRandom, EqualSeedsGiveEqualBytes) {
  SeededRandom one(7), other(7), third(8);
  std::array<std::uint8_t, 13> a{}, b{}, c{};
  one.fill(a);
  other.fill(b);
  third.fill(c);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

TEST(Random, NumbersBelowABoundReachAllOfIt) {
  SeededRandom random(test_seed());
  EXPECT_EQ(random.below(0), 0U);
  EXPECT_EQ(random.below(1), 0U);
  std::array<int, 5> seen{};
  for (int i = 0; i < 5'000; ++i) ++seen[random.below(seen.size())];
  for (const int count : seen) EXPECT_GT(count, 700);
  constexpr std::uint64_t kLarge = (std::uint64_t{1} << 63) + 1;
  for (int i = 0; i < 1'000; ++i) EXPECT_LT(random.below(kLarge), kLarge);
}

TEST(SystemRandom, FillsManyBytesFromSeveralThreads) {
  std::vector<std::vector<std::uint8_t>> all(4, std::vector<std::uint8_t>(1'000));
  std::vector<std::thread> threads;
  for (auto& bytes : all) threads.emplace_back([&bytes] { system_random().fill(bytes); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ((std::set<std::vector<std::uint8_t>>(all.begin(), all.end()).size()), all.size());
  system_random().fill({});
}

TEST(SystemClock, TellsAPlausibleTimeAndNeverGoesBack) {
  EXPECT_GT(system_clock().now(), parse_iso8601("2024-01-01T00:00:00Z"));
  auto last = system_clock().monotonic();
  for (int i = 0; i < 1'000; ++i) {
    const auto now = system_clock().monotonic();
    EXPECT_GE(now, last);
    last = now;
  }
}

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock({100});
  clock.advance(std::chrono::microseconds(5));
  clock.jump_wall(std::chrono::microseconds(-50));
  EXPECT_EQ(clock.now(), Timestamp{55});
  EXPECT_EQ(clock.monotonic(), std::chrono::microseconds(5));
}

TEST(Ids, RandomUuidsAreVersion4) {
  SeededRandom random(1);
  const std::string id = random_uuid(random);
  EXPECT_TRUE(is_uuid(id));
  EXPECT_EQ(id[14], '4');
  EXPECT_NE(std::string_view("89ab").find(id[19]), std::string_view::npos);
  EXPECT_NE(random_uuid(random), id);
}

TEST(Ids, DerivedUuidsAreTheFirstBytesOfTheHashAsVersion8) {
  const auto expected = to_hex(sha256(as_bytes(std::string_view("seed\0\0\0\0\0\0\0\x01", 12))));
  std::string hex = derived_uuid("seed", 1);
  EXPECT_TRUE(is_uuid(hex));
  EXPECT_EQ(hex[14], '8');
  EXPECT_NE(std::string_view("89ab").find(hex[19]), std::string_view::npos);
  std::erase(hex, '-');
  EXPECT_EQ(hex.substr(0, 12), expected.substr(0, 12));
  EXPECT_EQ(hex.substr(13, 3), expected.substr(13, 3));
  EXPECT_EQ(hex.substr(17), expected.substr(17, 15));
}

TEST(Ids, DerivedUuidsDifferBySeedAndNumber) {
  std::set<std::string> ids;
  for (const std::string_view seed : {"", "a", "b", "ab"})
    for (std::uint64_t n = 0; n < 100; ++n) ids.insert(derived_uuid(seed, n));
  EXPECT_EQ(ids.size(), 400U);
  EXPECT_EQ(derived_uuid("a", 3), derived_uuid("a", 3));
}

TEST(Ids, UuidsAreRecognisedByTheirForm) {
  EXPECT_TRUE(is_uuid("00000000-0000-0000-0000-000000000000"));
  EXPECT_TRUE(is_uuid("ABCDEFab-cdef-0123-4567-89abcdefABCD"));
  for (const std::string_view text :
       {"", "00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-0000000000000",
        "00000000000000000000000000000000", "0000000g-0000-0000-0000-000000000000",
        "00000000-00000-000-0000-000000000000", "{0000000-0000-0000-0000-00000000000}"})
    EXPECT_FALSE(is_uuid(text)) << text;
}

TEST(Log, AMessageReachesTheSinkAndASilentLogTakesIt) {
  std::string seen;
  const Log log([&](LogLevel level, std::string_view area, std::string_view message) {
    seen += std::string(to_string(level)) + " " + std::string(area) + " " + std::string(message) + "\n";
  });
  log.debug("push", "a");
  log.info("pull", "b");
  log.warning("poke", "c");
  log.error("storage", "d");
  Log().error("storage", "e");
  EXPECT_EQ(seen, "debug push a\ninfo pull b\nwarning poke c\nerror storage d\n");
}

}  // namespace
}  // namespace nizhal
