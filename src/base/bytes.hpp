// Text forms of bytes, and the hash used for fingerprints and derived ids.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nizhal {

std::string to_hex(std::span<const std::uint8_t> bytes);

/// RFC 4648 with padding; decoding is strict (no white space, right padding, zero trailing bits).
std::string to_base64(std::span<const std::uint8_t> bytes);
std::optional<std::vector<std::uint8_t>> from_base64(std::string_view text);
/// The URL alphabet without padding.
std::string to_base64url(std::span<const std::uint8_t> bytes);
std::optional<std::vector<std::uint8_t>> from_base64url(std::string_view text);

inline std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// FIPS 180-4.
std::array<std::uint8_t, 32> sha256(std::span<const std::uint8_t> bytes);

/// Well-formed UTF-8 without surrogates; JSON text and text columns must be.
bool is_utf8(std::string_view text);
/// The text itself when it is well-formed; each byte that is part of no sequence becomes U+FFFD.
std::string to_utf8(std::string_view text);
/// Code points of well-formed UTF-8.
std::size_t count_code_points(std::string_view text);

}  // namespace nizhal
