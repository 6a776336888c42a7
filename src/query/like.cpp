// LIKE in memory, which is SQLite's too.
#include "query/like.hpp"

#include <cstddef>

namespace nizhal {

namespace {

/// The place after the character at `place`.
std::size_t after_character(std::string_view text, std::size_t place) {
  ++place;
  while (place < text.size() && (static_cast<unsigned char>(text[place]) & 0xc0) == 0x80) ++place;
  return place;
}

}  // namespace

bool is_like_pattern(std::string_view pattern) {
  for (std::size_t i = 0; i < pattern.size(); ++i)
    if (pattern[i] == '\\' && ++i == pattern.size()) return false;
  return true;
}

bool is_like(std::string_view text, std::string_view pattern) {
  constexpr std::size_t kNone = std::string_view::npos;
  std::size_t at = 0, in_pattern = 0;
  // Only the last % need ever be tried with more text: an earlier one that took more could not do better.
  std::size_t after_percent = kNone, taken_until = 0;
  while (at < text.size() || in_pattern < pattern.size()) {
    if (in_pattern < pattern.size() && pattern[in_pattern] == '%') {
      after_percent = ++in_pattern;
      taken_until = at;
      continue;
    }
    if (in_pattern < pattern.size() && at < text.size()) {
      if (pattern[in_pattern] == '_') {
        ++in_pattern;
        at = after_character(text, at);
        continue;
      }
      const bool is_escaped = pattern[in_pattern] == '\\' && in_pattern + 1 < pattern.size();
      const std::size_t literal = is_escaped ? in_pattern + 1 : in_pattern;
      if (pattern[literal] == text[at]) {
        in_pattern = literal + 1;
        ++at;
        continue;
      }
    }
    if (after_percent == kNone || taken_until >= text.size()) return false;
    taken_until = after_character(text, taken_until);
    at = taken_until;
    in_pattern = after_percent;
  }
  return true;
}

}  // namespace nizhal
