// What a column may be compared with. Values are built in place: g++ 12 warns, wrongly, of temporaries of Value that it
// inlines at -O2.
#include "query/operand.hpp"

#include <cmath>

#include "base/decimal.hpp"
#include "base/ids.hpp"

namespace nizhal {

namespace {

std::optional<Value> text_operand(ColumnType type, const std::string& text) {
  switch (type) {
    case ColumnType::text:
      return std::make_optional<Value>(text);
    case ColumnType::uuid: {
      if (!is_uuid(text)) return std::nullopt;
      std::string lower = text;
      for (char& character : lower)
        if (character >= 'A' && character <= 'F') character = static_cast<char>(character - 'A' + 'a');
      return std::make_optional<Value>(std::move(lower));
    }
    case ColumnType::numeric: {
      auto canonical = canonical_decimal(text);
      if (!canonical) return std::nullopt;
      return std::make_optional<Value>(std::move(*canonical));
    }
    case ColumnType::date:
      if (text.size() != 10 || !parse_iso8601(text + "T00:00:00Z")) return std::nullopt;
      return std::make_optional<Value>(text);
    default:
      return std::nullopt;
  }
}

std::optional<Value> integer_operand(ColumnType type, std::int64_t integer) {
  switch (type) {
    case ColumnType::integer:
    case ColumnType::bigint:
      return std::make_optional<Value>(integer);
    case ColumnType::timestamp: {
      // The storable instant nearest to it, as a stored value would have become.
      const auto stored = parse_iso8601(to_iso8601(Timestamp{integer}));
      return std::make_optional<Value>(stored ? stored->microseconds : integer);
    }
    case ColumnType::real:
      return std::make_optional<Value>(static_cast<double>(integer));
    case ColumnType::numeric:
      return std::make_optional<Value>(std::to_string(integer));
    default:
      return std::nullopt;
  }
}

}  // namespace

bool is_comparable(ColumnType type) {
  return type != ColumnType::json && type != ColumnType::crdt_text && type != ColumnType::crdt_map;
}

std::optional<Value> comparable_operand(ColumnType type, const Value& operand) {
  if (!is_comparable(type)) return std::nullopt;
  if (is_null(operand)) return operand;
  if (const auto* text = std::get_if<std::string>(&operand)) return text_operand(type, *text);
  if (const auto* integer = std::get_if<std::int64_t>(&operand)) return integer_operand(type, *integer);
  if (const auto* number = std::get_if<double>(&operand)) {
    if (type != ColumnType::real || std::isnan(*number)) return std::nullopt;
    return operand;
  }
  if (std::holds_alternative<bool>(operand) && type == ColumnType::boolean) return operand;
  if (std::holds_alternative<Blob>(operand) && type == ColumnType::blob) return operand;
  return std::nullopt;
}

}  // namespace nizhal
