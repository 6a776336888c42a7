// What happened in a run, in order: its digest, its last lines, and what the oracles have against it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sim/event_queue.hpp"

namespace nizhal::sim {

/// The first thing that an oracle found; a run ends with it.
struct Violation {
  enum class Kind { crash, safety, liveness, meaningless };
  Kind kind = Kind::safety;
  std::string oracle;  // "fold", "replay", "live", "history", "liveness", "no-leak", …
  std::string what;
  Micros at{0};
};

class History {
 public:
  explicit History(const EventQueue& queue) : queue_(queue) {}

  /// Goes into the digest.
  void note(std::string_view line);
  void violated(Violation::Kind kind, std::string_view oracle, std::string what);
  const std::optional<Violation>& violation() const { return violation_; }
  /// SHA-256 over all lines with their moments, hexadecimal.
  std::string digest() const;
  const std::deque<std::string>& last_lines() const { return last_; }
  std::function<void(std::string_view line)> on_line = {};

  void count(std::string_view what, std::uint64_t by = 1) { counts_[std::string(what)] += by; }
  std::uint64_t counted(const std::string& what) const {
    const auto it = counts_.find(what);
    return it == counts_.end() ? 0 : it->second;
  }
  const std::map<std::string, std::uint64_t>& counts() const { return counts_; }

 private:
  const EventQueue& queue_;
  std::optional<Violation> violation_;
  std::string digest_;  // so far
  std::deque<std::string> last_;
  std::map<std::string, std::uint64_t> counts_;
};

}  // namespace nizhal::sim
