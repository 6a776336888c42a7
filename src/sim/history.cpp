#include "sim/history.hpp"

#include <fmt/format.h>

#include "base/bytes.hpp"

namespace nizhal::sim {

namespace {

constexpr std::size_t kLastLines = 200;

}  // namespace

void History::note(std::string_view line) {
  const auto now = queue_.now().count();
  std::string text = fmt::format("{:>7}.{:06} {}", now / 1'000'000, now % 1'000'000, line);
  const auto hash = sha256(as_bytes(digest_ + text));
  digest_.assign(hash.begin(), hash.end());
  if (on_line) on_line(text);
  last_.push_back(std::move(text));
  if (last_.size() > kLastLines) last_.pop_front();
}

void History::violated(Violation::Kind kind, std::string_view oracle, std::string what) {
  if (violation_) return;
  note(fmt::format("{} is violated: {}", oracle, what));
  violation_ = Violation{kind, std::string(oracle), std::move(what), queue_.now()};
}

std::string History::digest() const { return to_hex(sha256(as_bytes(digest_))); }

}  // namespace nizhal::sim
