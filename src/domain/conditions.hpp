// Conditions of sync rules, evaluated on one row. The same meaning as in SQL: a comparison with null never holds.
#pragma once

#include <compare>

#include <nizhal/query.hpp>

namespace nizhal {

/// "eq", "ne", "lt", "le", "gt", "ge", "is_null", "is_not_null".
const char* comparison_name(Comparison comparison);

/// Of two values that are both there and compare so; false for is_null and is_not_null, which look at one only.
bool ordering_holds(Comparison comparison, std::strong_ordering ordering);
bool comparison_holds(Comparison comparison, ColumnType type, const Value& value, const Value& operand);

}  // namespace nizhal
