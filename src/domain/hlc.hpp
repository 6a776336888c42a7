// Hybrid logical clocks (Kulkarni et al., "Logical Physical Clocks", 2014): `<ISO 8601 UTC, 24 chars>-<4 hex
// counter>-<32 hex node>`, compared as text.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nizhal/value.hpp>

namespace nizhal {

struct Hlc {
  std::int64_t milliseconds = 0;  // wall part
  std::uint16_t counter = 0;
  std::string node;  // 32 lower-case hex digits
  auto operator<=>(const Hlc&) const = default;

  std::string text() const;
  Timestamp time() const { return Timestamp{milliseconds * 1000}; }
};

/// Strict: exactly the form above, lower-case hex, a real date.
std::optional<Hlc> parse_hlc(std::string_view text);
/// The hex digits of a client id, left-padded with 0 to 32 (the last 32 when there are more).
std::string hlc_node(std::string_view client_id);

/// Issues stamps that only go up. A full counter moves the wall part on by a millisecond.
class HybridClock {
 public:
  HybridClock(std::string node, Hlc last) : node_(std::move(node)), last_(std::move(last)) {}
  /// A stamp for an event at `wall`, above every stamp issued or seen.
  Hlc tick(Timestamp wall);
  /// Takes notice of a stamp from elsewhere.
  void observe(const Hlc& seen);
  const Hlc& last() const { return last_; }

 private:
  std::string node_;
  Hlc last_;
};

}  // namespace nizhal
