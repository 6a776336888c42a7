#include "domain/conditions.hpp"

namespace nizhal {

const char* comparison_name(Comparison comparison) {
  switch (comparison) {
    case Comparison::eq:
      return "eq";
    case Comparison::ne:
      return "ne";
    case Comparison::lt:
      return "lt";
    case Comparison::le:
      return "le";
    case Comparison::gt:
      return "gt";
    case Comparison::ge:
      return "ge";
    case Comparison::is_null:
      return "is_null";
    case Comparison::is_not_null:
      return "is_not_null";
  }
  return "unknown";
}

bool comparison_holds(Comparison comparison, ColumnType type, const Value& value, const Value& operand) {
  if (comparison == Comparison::is_null) return is_null(value);
  if (comparison == Comparison::is_not_null) return !is_null(value);
  if (is_null(value) || is_null(operand)) return false;
  const auto order = compare_values(value, operand, type);
  switch (comparison) {
    case Comparison::eq:
      return order == 0;
    case Comparison::ne:
      return order != 0;
    case Comparison::lt:
      return order < 0;
    case Comparison::le:
      return order <= 0;
    case Comparison::gt:
      return order > 0;
    case Comparison::ge:
      return order >= 0;
    case Comparison::is_null:
    case Comparison::is_not_null:
      break;
  }
  return false;
}

}  // namespace nizhal
