// Values as Yjs keeps them in maps and arrays: JSON's, and undefined, big integers and bytes besides. In the format
// they are a byte for the kind and the value behind it; this is lib0's encoding "any".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "crdt/encoding.hpp"

namespace nizhal::crdt {

/// In the bytes that Yjs would write for it (keys in JavaScript's order). False when it is too deep or not UTF-8; then
/// nothing useful was written.
bool write_any(Writer& out, const Any& any, std::size_t depth = 0);
/// Fails the reader on anything else than a value.
Any read_any(Reader& in, std::size_t depth = 0);
/// The same check without building the value.
void skip_any(Reader& in, std::size_t depth = 0);

/// As `to_json`.
void append_json(std::string& out, const Any& any);

/// JSON that JavaScript reads, at most kAnyDepthMax deep. Shallow values are judged without building them.
bool is_json_value(std::string_view json);

}  // namespace nizhal::crdt
