// The operating system's clock and random numbers, and the seeded generator.
#include "base/environment.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace nizhal {

namespace {

class SystemClock : public Clock {
 public:
  Timestamp now() override {
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    return Timestamp{std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count()};
  }
  std::chrono::microseconds monotonic() override {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch());
  }
};

class SystemRandom : public Random {
 public:
  void fill(std::span<std::uint8_t> bytes) override {
    constexpr std::size_t kBytesPerCall = 256;  // what getentropy allows
    while (!bytes.empty()) {
      const std::size_t size = std::min(bytes.size(), kBytesPerCall);
      if (getentropy(bytes.data(), size) != 0) {
        // Going on would make ids that collide or can be guessed.
        std::fprintf(stderr, "nizhal: the operating system gives no random numbers\n");
        std::abort();
      }
      bytes = bytes.subspan(size);
    }
  }
};

}  // namespace

std::uint64_t Random::next() {
  std::array<std::uint8_t, 8> bytes{};
  fill(bytes);
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) number |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
  return number;
}

std::uint64_t Random::below(std::uint64_t bound) {
  if (bound == 0) return 0;
  // Numbers below 2^64 mod bound are drawn again: they would make small results likelier.
  const std::uint64_t surplus = (0 - bound) % bound;
  std::uint64_t number = next();
  while (number < surplus) number = next();
  return number % bound;
}

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

Random& system_random() {
  static SystemRandom random;
  return random;
}

void SeededRandom::fill(std::span<std::uint8_t> bytes) {
  // SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), little-endian.
  while (!bytes.empty()) {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
    mixed ^= mixed >> 31;
    const std::size_t size = std::min<std::size_t>(bytes.size(), 8);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(mixed >> (8 * i));
    bytes = bytes.subspan(size);
  }
}

}  // namespace nizhal
