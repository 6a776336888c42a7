// Column type names, the one order of values, and new ids.
#include <nizhal/value.hpp>

#include <cmath>
#include <cstring>

#include "base/decimal.hpp"
#include "base/ids.hpp"

namespace nizhal {

namespace {

/// Kinds in their order; values of different kinds compare by kind.
enum class Kind { null, number, text, bytes };

Kind kind_of(const Value& value) {
  switch (value.index()) {
    case 0:
      return Kind::null;
    case 4:
      return Kind::text;
    case 5:
      return Kind::bytes;
    default:
      return Kind::number;
  }
}

std::strong_ordering compare_doubles(double left, double right) {
  if (std::isnan(left) || std::isnan(right)) return std::isnan(left) <=> std::isnan(right);
  if (left < right) return std::strong_ordering::less;
  if (left > right) return std::strong_ordering::greater;
  return std::strong_ordering::equal;  // also -0.0 and 0.0
}

/// Exact, where converting the integer to a double would round.
std::strong_ordering compare_integer_with_double(std::int64_t left, double right) {
  constexpr double kTwoTo63 = 9223372036854775808.0;
  if (std::isnan(right) || right >= kTwoTo63) return std::strong_ordering::less;
  if (right < -kTwoTo63) return std::strong_ordering::greater;
  const double whole = std::trunc(right);
  if (const auto by_whole = left <=> static_cast<std::int64_t>(whole); by_whole != 0) return by_whole;
  return compare_doubles(0.0, right - whole);
}

std::optional<std::int64_t> integer_of(const Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return *integer;
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? 1 : 0;
  return std::nullopt;
}

std::strong_ordering reversed(std::strong_ordering ordering) { return 0 <=> ordering; }

std::strong_ordering compare_numbers(const Value& left, const Value& right) {
  const auto left_integer = integer_of(left);
  const auto right_integer = integer_of(right);
  if (left_integer && right_integer) return *left_integer <=> *right_integer;
  if (left_integer) return compare_integer_with_double(*left_integer, *std::get_if<double>(&right));
  if (right_integer) return reversed(compare_integer_with_double(*right_integer, *std::get_if<double>(&left)));
  return compare_doubles(*std::get_if<double>(&left), *std::get_if<double>(&right));
}

std::strong_ordering compare_bytes(const void* left, std::size_t left_size, const void* right, std::size_t right_size) {
  const std::size_t common = left_size < right_size ? left_size : right_size;
  if (const int order = common ? std::memcmp(left, right, common) : 0; order != 0) return order <=> 0;
  return left_size <=> right_size;
}

/// The text of a decimal: as stored, or an integer that a caller compares with.
std::optional<std::string> decimal_of(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  return std::nullopt;
}

}  // namespace

const char* to_string(ColumnType type) {
  switch (type) {
    case ColumnType::text:
      return "text";
    case ColumnType::uuid:
      return "uuid";
    case ColumnType::integer:
      return "integer";
    case ColumnType::real:
      return "real";
    case ColumnType::boolean:
      return "boolean";
    case ColumnType::bigint:
      return "bigint";
    case ColumnType::numeric:
      return "numeric";
    case ColumnType::timestamp:
      return "timestamp";
    case ColumnType::date:
      return "date";
    case ColumnType::json:
      return "json";
    case ColumnType::blob:
      return "blob";
    case ColumnType::crdt_text:
      return "crdt_text";
    case ColumnType::crdt_map:
      return "crdt_map";
  }
  return "unknown";
}

std::strong_ordering compare_values(const Value& left, const Value& right, ColumnType type) {
  if (type == ColumnType::numeric) {
    const auto left_decimal = decimal_of(left);
    const auto right_decimal = decimal_of(right);
    if (left_decimal && right_decimal) return compare_decimals(*left_decimal, *right_decimal);
  }
  const Kind kind = kind_of(left);
  if (const auto by_kind = kind <=> kind_of(right); by_kind != 0) return by_kind;
  switch (kind) {
    case Kind::null:
      return std::strong_ordering::equal;
    case Kind::number:
      return compare_numbers(left, right);
    case Kind::text: {
      const auto& a = *std::get_if<std::string>(&left);
      const auto& b = *std::get_if<std::string>(&right);
      return compare_bytes(a.data(), a.size(), b.data(), b.size());
    }
    case Kind::bytes: {
      const auto& a = std::get_if<Blob>(&left)->bytes;
      const auto& b = std::get_if<Blob>(&right)->bytes;
      return compare_bytes(a.data(), a.size(), b.data(), b.size());
    }
  }
  return std::strong_ordering::equal;
}

std::string new_id() { return random_uuid(system_random()); }

}  // namespace nizhal
