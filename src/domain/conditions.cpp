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

bool ordering_holds(Comparison comparison, std::strong_ordering ordering) {
  switch (comparison) {
    case Comparison::eq:
      return ordering == 0;
    case Comparison::ne:
      return ordering != 0;
    case Comparison::lt:
      return ordering < 0;
    case Comparison::le:
      return ordering <= 0;
    case Comparison::gt:
      return ordering > 0;
    case Comparison::ge:
      return ordering >= 0;
    case Comparison::is_null:
    case Comparison::is_not_null:
      break;
  }
  return false;
}

bool comparison_holds(Comparison comparison, ColumnType type, const Value& value, const Value& operand) {
  if (comparison == Comparison::is_null) return is_null(value);
  if (comparison == Comparison::is_not_null) return !is_null(value);
  if (is_null(value) || is_null(operand)) return false;
  return ordering_holds(comparison, compare_values(value, operand, type));
}

}  // namespace nizhal
