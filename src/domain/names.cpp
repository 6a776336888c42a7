// Name rules, and suggestions by edit distance (Damerau–Levenshtein, optimal string alignment).
#include "domain/names.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace nizhal {
namespace {

constexpr std::size_t kNameBytesMax = 63;  // PostgreSQL cuts longer identifiers off silently

std::size_t edit_distance(const std::string& left, const std::string& right) {
  const std::size_t width = right.size() + 1;
  std::vector<std::size_t> cost((left.size() + 1) * width);
  const auto at = [&cost, width](std::size_t i, std::size_t j) -> std::size_t& { return cost[i * width + j]; };
  for (std::size_t i = 0; i <= left.size(); ++i) at(i, 0) = i;
  for (std::size_t j = 0; j <= right.size(); ++j) at(0, j) = j;
  for (std::size_t i = 1; i <= left.size(); ++i) {
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t change = left[i - 1] == right[j - 1] ? 0U : 1U;
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + change});
      if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
    }
  }
  return at(left.size(), right.size());
}

/// Without case and underscores, so that shopId is near shop_id.
std::string folded(std::string_view name) {
  std::string out;
  for (const char c : lower_case(name))
    if (c != '_') out += c;
  return out;
}

}  // namespace

std::string name_fault(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kNameBytesMax) return fmt::format("is longer than {} bytes", kNameBytesMax);
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (!is_letter(name.front())) return "does not start with a letter or underscore";
  for (const char c : name)
    if (!is_letter(c) && !(c >= '0' && c <= '9')) return "has characters other than letters, digits and underscores";
  const std::string lower = lower_case(name);
  for (const std::string_view reserved : {"nizhal_", "sqlite_"})
    if (lower.starts_with(reserved)) return fmt::format("starts with \"{}\", which is reserved", reserved);
  return {};
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string suggest_name(std::string_view name, const std::vector<std::string>& known) {
  if (known.empty()) return "there is none";
  const std::string wanted = folded(name.substr(0, kNameBytesMax));
  const std::string* best = nullptr;
  std::size_t best_distance = 0;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(wanted, folded(candidate));
    if (distance > std::max<std::size_t>(1, candidate.size() / 3)) continue;
    if (!best || distance < best_distance) {
      best = &candidate;
      best_distance = distance;
    }
  }
  if (best) return fmt::format("did you mean \"{}\"?", *best);
  return fmt::format("there are: {}", fmt::join(known, ", "));
}

}  // namespace nizhal
