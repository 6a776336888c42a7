// Hybrid logical clocks: text form and the issuing clock. The fact that must not break: stamps of one clock only go
// up, as values and as text.
#include "domain/hlc.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

#include "base/reached.hpp"

namespace nizhal {
namespace {

constexpr std::size_t kIsoLength = 24;   // 2026-01-02T03:04:05.678Z
constexpr std::size_t kNodeLength = 32;  // hex digits
constexpr std::size_t kTextLength = kIsoLength + 1 + 4 + 1 + kNodeLength;
constexpr char kHexDigits[] = "0123456789abcdef";

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10U;
  return std::nullopt;
}

std::int64_t floor_milliseconds(Timestamp time) {
  const std::int64_t whole = time.microseconds / 1000;
  return time.microseconds % 1000 < 0 ? whole - 1 : whole;
}

std::string iso_milliseconds(std::int64_t milliseconds) {
  constexpr std::int64_t kLimit = std::numeric_limits<std::int64_t>::max() / 1000;
  std::string text = to_iso8601(Timestamp{std::clamp(milliseconds, -kLimit, kLimit) * 1000});
  text.resize(kIsoLength - 1);
  text += 'Z';
  return text;
}

}  // namespace

std::string Hlc::text() const {
  std::string out = iso_milliseconds(milliseconds);
  out.reserve(kTextLength);
  out += '-';
  for (int shift = 12; shift >= 0; shift -= 4) out += kHexDigits[(static_cast<unsigned>(counter) >> shift) & 0xFU];
  out += '-';
  out += node;
  return out;
}

std::optional<Hlc> parse_hlc(std::string_view text) {
  if (text.size() != kTextLength || text[kIsoLength] != '-' || text[kIsoLength + 5] != '-') return std::nullopt;
  const std::string_view iso = text.substr(0, kIsoLength);
  const auto time = parse_iso8601(iso);
  if (!time) return std::nullopt;
  Hlc stamp;
  stamp.milliseconds = floor_milliseconds(*time);
  // The parser is lenient about forms; the one form that compares as text is what printing gives back.
  if (iso_milliseconds(stamp.milliseconds) != iso) return std::nullopt;
  unsigned counter = 0;
  for (const char c : text.substr(kIsoLength + 1, 4)) {
    const auto digit = hex_digit(c);
    if (!digit) return std::nullopt;
    counter = counter * 16U + *digit;
  }
  stamp.counter = static_cast<std::uint16_t>(counter);
  const std::string_view node = text.substr(kIsoLength + 6);
  for (const char c : node)
    if (!hex_digit(c)) return std::nullopt;
  stamp.node = std::string(node);
  return stamp;
}

std::string hlc_node(std::string_view client_id) {
  std::string digits;
  for (char c : client_id) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (hex_digit(c)) digits += c;
  }
  if (digits.size() > kNodeLength) digits.erase(0, digits.size() - kNodeLength);
  return std::string(kNodeLength - digits.size(), '0') + digits;
}

Hlc HybridClock::tick(Timestamp wall) {
  const std::int64_t now = floor_milliseconds(wall);
  if (now > last_.milliseconds) {
    last_.milliseconds = now;
    last_.counter = 0;
  } else if (last_.counter == std::numeric_limits<std::uint16_t>::max()) {
    reached(Mark::clock_counter_full);
    last_.milliseconds += 1;
    last_.counter = 0;
  } else {
    last_.counter = static_cast<std::uint16_t>(last_.counter + 1);
  }
  last_.node = node_;
  return last_;
}

void HybridClock::observe(const Hlc& seen) {
  if (std::tie(seen.milliseconds, seen.counter) > std::tie(last_.milliseconds, last_.counter)) last_ = seen;
}

}  // namespace nizhal
