// Updates and state vectors as bytes, without a document: joining, cutting down to what somebody lacks, reading off a
// state vector. All in the Yjs update format, version 1, and with the bytes that Yjs would give.
//
// Memory is bounded by some 200 bytes per block of the input, and a block has two bytes or more; nothing here recurses
// deeper than kAnyDepthMax.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <nizhal/result.hpp>

#include "crdt/encoding.hpp"
#include "crdt/ordered_map.hpp"

namespace nizhal::crdt {

/// Per client the clock up to which something is known.
using Clocks = OrderedMap<std::uint64_t, std::uint64_t>;

/// The update that changes nothing.
inline const Bytes kEmptyUpdate{0, 0};

/// One update that does what all of them do, in whatever order they come. Gaps between them are kept as gaps. A single
/// update is given back as it is. bad_request: one of them is no update.
Result<Bytes> merge_updates(std::span<const Bytes> updates);

/// What is in the update and beyond the state vector; all its deletions stay.
Result<Bytes> diff_update(std::span<const std::uint8_t> update, std::span<const std::uint8_t> state_vector);

/// What a document knows that has applied just this update: up to the first gap of each client.
Result<Bytes> state_vector_of_update(std::span<const std::uint8_t> update);

/// ok, or bad_request saying what is wrong and where.
Result<void> check_update(std::span<const std::uint8_t> update);

Result<Clocks> decode_state_vector(std::span<const std::uint8_t> bytes);
Bytes encode_clocks(const Clocks& clocks);

}  // namespace nizhal::crdt
