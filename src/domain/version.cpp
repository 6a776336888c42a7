// Contract versions: dotted numbers.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <vector>

#include "domain/contract.hpp"

namespace nizhal {
namespace {

std::optional<std::vector<std::uint64_t>> version_parts(std::string_view text) {
  std::vector<std::uint64_t> parts;
  while (true) {
    const std::size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    std::uint64_t number = 0;
    const auto [stopped, fault] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (part.empty() || fault != std::errc() || stopped != part.data() + part.size()) return std::nullopt;
    parts.push_back(number);
    if (dot == std::string_view::npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

}  // namespace

std::optional<int> compare_versions(std::string_view left, std::string_view right) {
  auto left_parts = version_parts(left);
  auto right_parts = version_parts(right);
  if (!left_parts || !right_parts) return std::nullopt;
  const std::size_t size = std::max(left_parts->size(), right_parts->size());
  left_parts->resize(size, 0);
  right_parts->resize(size, 0);
  if (*left_parts == *right_parts) return 0;
  return *left_parts < *right_parts ? -1 : 1;
}

}  // namespace nizhal
