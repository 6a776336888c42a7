// UUIDs: random ones, and those derived from a mutation's seed so that both sides make the same (S7).
#include "base/ids.hpp"

#include <algorithm>
#include <array>

#include "base/bytes.hpp"

namespace nizhal {

namespace {

using UuidBytes = std::array<std::uint8_t, 16>;

/// RFC 9562: version in the high nibble of byte 6, variant 10 in the top bits of byte 8.
std::string format_uuid(UuidBytes bytes, unsigned version) {
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0fU) | (version << 4));
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3fU) | 0x80U);
  std::string text = to_hex(bytes);
  for (const std::size_t dash : {8U, 13U, 18U, 23U}) text.insert(dash, 1, '-');
  return text;
}

bool is_hex_digit(char character) {
  return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'f') ||
         (character >= 'A' && character <= 'F');
}

}  // namespace

std::string random_uuid(Random& random) {
  UuidBytes bytes{};
  random.fill(bytes);
  return format_uuid(bytes, 4);
}

std::string derived_uuid(std::string_view seed, std::uint64_t n) {
  // SHA-256 of the seed's bytes followed by n as 8 bytes, highest first. The fixed width keeps (seed, n) unambiguous.
  std::vector<std::uint8_t> input(seed.begin(), seed.end());
  for (int shift = 56; shift >= 0; shift -= 8) input.push_back(static_cast<std::uint8_t>(n >> shift));
  const auto hash = sha256(input);
  UuidBytes bytes{};
  std::copy_n(hash.begin(), bytes.size(), bytes.begin());
  return format_uuid(bytes, 8);
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !is_hex_digit(text[i])) return false;
  }
  return true;
}

}  // namespace nizhal
