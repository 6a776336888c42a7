// Conditions of sync rules, evaluated on one row. The same meaning as in SQL: a comparison with null never holds.
#pragma once

#include <nizhal/query.hpp>

namespace nizhal {

/// "eq", "ne", "lt", "le", "gt", "ge", "is_null", "is_not_null".
const char* comparison_name(Comparison comparison);

bool comparison_holds(Comparison comparison, ColumnType type, const Value& value, const Value& operand);

}  // namespace nizhal
