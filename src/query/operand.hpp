// What a column may be compared with. One rule for SQL and for memory, so that both give the same rows.
#pragma once

#include <optional>

#include <nizhal/value.hpp>

namespace nizhal {

/// False for JSON and CRDT columns: their stored form has no order, and equality of meaning is not equality of text.
/// They can only be tested for null.
bool is_comparable(ColumnType type);

/// The operand as values of that column type are held (an integer becomes a double for `real`, a decimal text for
/// `numeric`; uuids become lower case), null as null. Nothing when it is of the wrong type or malformed.
std::optional<Value> comparable_operand(ColumnType type, const Value& operand);

}  // namespace nizhal
