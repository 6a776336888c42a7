#include "crdt/encoding.hpp"

#include <cstring>

namespace nizhal::crdt {
namespace {

constexpr bool is_continuation(std::uint8_t byte) { return (byte & 0xC0) == 0x80; }

// Bytes of the character at `at`, or 0 when it is not well-formed (surrogates, overlong forms, beyond U+10FFFF).
std::size_t character_bytes(const std::uint8_t* at, const std::uint8_t* end) {
  const std::uint8_t first = *at;
  const auto left = static_cast<std::size_t>(end - at);
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return left >= 2 && is_continuation(at[1]) ? 2 : 0;
  if (first < 0xF0) {
    if (left < 3 || !is_continuation(at[1]) || !is_continuation(at[2])) return 0;
    if (first == 0xE0 && at[1] < 0xA0) return 0;
    if (first == 0xED && at[1] > 0x9F) return 0;
    return 3;
  }
  if (first > 0xF4 || left < 4 || !is_continuation(at[1]) || !is_continuation(at[2]) || !is_continuation(at[3]))
    return 0;
  if (first == 0xF0 && at[1] < 0x90) return 0;
  if (first == 0xF4 && at[1] > 0x8F) return 0;
  return 4;
}

bool is_ascii(const std::uint8_t* at, const std::uint8_t* end) {
  for (; end - at >= 8; at += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, at, 8);
    if (eight & 0x8080808080808080ULL) return false;
  }
  for (; at != end; ++at)
    if (*at & 0x80) return false;
  return true;
}

}  // namespace

std::uint64_t Reader::long_var_uint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; at_ != end_ && shift <= 49; shift += 7) {
    const std::uint8_t next = *at_++;
    value |= static_cast<std::uint64_t>(next & 127) << shift;
    if (value > kNumberMax) return fail();
    if (next < 128) return value;
  }
  return fail();
}

std::uint64_t Reader::var_int(bool& negative) {
  std::uint8_t next = byte();
  negative = (next & 64) != 0;
  std::uint64_t value = next & 63;
  for (unsigned shift = 6; next & 128; shift += 7) {
    next = byte();
    if (failed_ || shift > 53) return fail();
    value |= static_cast<std::uint64_t>(next & 127) << shift;
    if (value > kNumberMax) return fail();
  }
  return value;
}

std::string_view Reader::bytes(std::uint64_t count) {
  if (count > static_cast<std::uint64_t>(end_ - at_)) {
    fail();
    return {};
  }
  const std::string_view read(reinterpret_cast<const char*>(at_), static_cast<std::size_t>(count));
  at_ += count;
  return read;
}

std::string_view Reader::var_string(std::uint64_t& units) {
  const std::string_view text = var_bytes();
  const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto* end = at + text.size();
  units = text.size();
  if (is_ascii(at, end)) return text;
  units = 0;
  while (at != end) {
    const std::size_t bytes = character_bytes(at, end);
    if (bytes == 0) {
      fail();
      return {};
    }
    at += bytes;
    units += bytes == 4 ? 2 : 1;
  }
  return text;
}

void Writer::var_int(std::uint64_t magnitude, bool negative) {
  byte(static_cast<std::uint8_t>((magnitude > 63 ? 128 : 0) | (negative ? 64 : 0) | (magnitude & 63)));
  for (magnitude >>= 6; magnitude > 0; magnitude >>= 7)
    byte(static_cast<std::uint8_t>((magnitude > 127 ? 128 : 0) | (magnitude & 127)));
}

std::uint64_t count_utf16(std::string_view text) {
  std::uint64_t units = 0;
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (!is_continuation(byte)) units += byte >= 0xF0 ? 2 : 1;
  }
  return units;
}

std::size_t utf16_to_byte(std::string_view text, std::uint64_t units, bool& in_pair) {
  in_pair = false;
  std::size_t at = 0;
  while (units > 0 && at < text.size()) {
    const auto first = static_cast<std::uint8_t>(text[at]);
    if (first >= 0xF0 && units == 1) {
      in_pair = true;
      return at;
    }
    units -= first >= 0xF0 ? 2 : 1;
    at += first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  }
  return at;
}

void write_utf16_suffix(Writer& out, std::string_view text, std::uint64_t units) {
  bool in_pair = false;
  const std::size_t at = utf16_to_byte(text, units, in_pair);
  if (!in_pair) return out.var_string(text.substr(at));
  const std::string_view rest = text.substr(at + 4);
  out.var_uint(kReplacement.size() + rest.size());
  out.raw(kReplacement);
  out.raw(rest);
}

}  // namespace nizhal::crdt
