// State vectors: what a document knows of each client, up to which clock. For users of updates alone there is
// <nizhal/crdt.hpp>; with the bytes that Yjs would give.
//
// Memory that working on updates takes is bounded by some 200 bytes per block of the input, and a block has two bytes
// or more; nothing recurses deeper than kAnyDepthMax.
#pragma once

#include <cstdint>
#include <span>

#include <nizhal/crdt.hpp>

#include "crdt/encoding.hpp"
#include "crdt/ordered_map.hpp"

namespace nizhal::crdt {

/// Per client the clock up to which something is known.
using Clocks = OrderedMap<std::uint64_t, std::uint64_t>;

Result<Clocks> decode_state_vector(std::span<const std::uint8_t> bytes);
Bytes encode_clocks(const Clocks& clocks);

}  // namespace nizhal::crdt
