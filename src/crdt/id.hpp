// Names of blocks: every insertion of a client has the client's id and a clock that counts its units (UTF-16 code units
// of text, elements, keys). The one fact that must not break: a client never gives out a clock twice.
#pragma once

#include <cstdint>

namespace nizhal::crdt {

/// JavaScript's largest safe integer: client ids and clocks of the format never exceed it.
inline constexpr std::uint64_t kNumberMax = (std::uint64_t{1} << 53) - 1;

struct Id {
  std::uint64_t client = ~std::uint64_t{0};
  std::uint64_t clock = 0;
  /// False: none (no origin).
  bool is_set() const { return client != ~std::uint64_t{0}; }
  bool operator==(const Id&) const = default;
};

}  // namespace nizhal::crdt
