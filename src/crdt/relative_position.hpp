// Positions that stay where they are in the text while others edit around them: for cursors and comments. They name the
// character at one side instead of counting, in the encoding of Yjs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <nizhal/result.hpp>

#include "crdt/document.hpp"
#include "crdt/id.hpp"

namespace nizhal::crdt {

/// The side whose character the position stays with (Yjs: assoc below 0 or not).
enum class Side { left, right };

struct RelativePosition {
  Id item;                               // the character; unset: the beginning (left) or end (right) of the type
  std::optional<std::string> root_name;  // of a root type; one of these two when item is unset
  Id type;                               // of a nested type
  std::int64_t association = 0;          // Yjs's number; below 0: left
  bool operator==(const RelativePosition&) const = default;
};

struct AbsolutePosition {
  std::shared_ptr<TypeNode> type;
  std::uint64_t index = 0;  // in UTF-16 code units of a text
};

RelativePosition relative_position(const Text& text, std::uint64_t index, Side side = Side::right);
/// Nothing when the document does not have the place yet, or it is garbage. What undoing brought back counts as the
/// same character.
std::optional<AbsolutePosition> absolute_position(const Document& document, const RelativePosition& position);

Bytes encode(const RelativePosition& position);
/// bad_request: it is none.
Result<RelativePosition> decode_relative_position(std::span<const std::uint8_t> bytes);

}  // namespace nizhal::crdt
