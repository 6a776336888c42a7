// Values: what a column or an argument can hold, and how C++ types map to column types.
// This header is the only place where that mapping is written down.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nizhal {

/// Column and argument types. The JSON form of each is in docs/protocol.md, "Values".
enum class ColumnType {
  text,
  uuid,
  integer,  // 32 bit
  real,
  boolean,
  bigint,     // 64 bit; a string of digits on the wire
  numeric,    // exact decimal; a string on the wire
  timestamp,  // UTC, microseconds
  date,
  json,
  blob,
  crdt_text,
  crdt_map,
};

/// "text", "uuid", … as used in contracts, messages and fingerprints.
const char* to_string(ColumnType type);

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
struct Timestamp {
  std::int64_t microseconds = 0;
  auto operator<=>(const Timestamp&) const = default;
};

/// Always 27 characters: `2026-01-02T03:04:05.678901Z`, so that text order is time order.
/// Years outside 0000–9999 are clamped to the nearest representable instant.
std::string to_iso8601(Timestamp time);
/// Takes ISO 8601 with `T` or a space, 0–9 fraction digits (kept to microseconds), and `Z`, `±hh:mm` or nothing (UTC).
std::optional<Timestamp> parse_iso8601(std::string_view text);

struct Date {
  std::string text;  // `2026-01-02`
  auto operator<=>(const Date&) const = default;
};
struct Uuid {
  std::string text;  // lower case, with dashes
  auto operator<=>(const Uuid&) const = default;
};
struct Numeric {
  std::string text;  // canonical decimal: no exponent, no leading zeros, scale as given
  auto operator<=>(const Numeric&) const = default;
};
struct Json {
  std::string text;  // one valid JSON value
  auto operator<=>(const Json&) const = default;
};
struct Blob {
  std::vector<std::uint8_t> bytes;
  auto operator<=>(const Blob&) const = default;
};

/// A text, or a map, that many edit at once: its state in the Yjs update format, version 1. <nizhal/crdt.hpp> reads and
/// edits it; the root type within has the column's name. What a mutator writes into such a column is merged into it.
struct CrdtText {
  std::vector<std::uint8_t> state = {0, 0};  // the empty update, "AAA=" on the wire
  auto operator<=>(const CrdtText&) const = default;
};
struct CrdtMap {
  std::vector<std::uint8_t> state = {0, 0};
  auto operator<=>(const CrdtMap&) const = default;
};
/// Whether writes into such a column are merged into it.
constexpr bool is_crdt(ColumnType type) { return type == ColumnType::crdt_text || type == ColumnType::crdt_map; }

/// One value of one column. The column's type tells what the alternative means:
/// null: monostate; boolean: bool; integer, bigint, timestamp (microseconds): int64; real: double;
/// text, uuid, numeric, date, json: string; blob and CRDT columns: Blob.
using Value = std::variant<std::monostate, bool, std::int64_t, double, std::string, Blob>;

inline bool is_null(const Value& value) { return std::holds_alternative<std::monostate>(value); }

/// Values of a table's columns, in declared order.
using Row = std::vector<Value>;

/// Total order used by queries on both sides: null first, then by value; text by bytes.
/// `numeric` columns compare by number: pass their type.
std::strong_ordering compare_values(const Value& left, const Value& right, ColumnType type = ColumnType::text);

/// How a C++ type is stored: its column type, and both conversions. Specialised for the types above;
/// std::optional<T> makes a column nullable and an argument optional.
template <class T>
struct ValueTraits;

namespace detail {
template <class T, ColumnType kType, class Stored>
struct PlainTraits {
  static constexpr ColumnType type = kType;
  static constexpr bool nullable = false;
  static Value to_value(const T& value) { return Value(static_cast<Stored>(value)); }
  static bool from_value(const Value& value, T& out) {
    const auto* stored = std::get_if<Stored>(&value);
    if (!stored) return false;
    out = static_cast<T>(*stored);
    return true;
  }
};
template <class T, ColumnType kType>
struct TextTraits {
  static constexpr ColumnType type = kType;
  static constexpr bool nullable = false;
  static Value to_value(const T& value) { return Value(value.text); }
  static bool from_value(const Value& value, T& out) {
    const auto* stored = std::get_if<std::string>(&value);
    if (!stored) return false;
    out.text = *stored;
    return true;
  }
};
template <class T, ColumnType kType>
struct CrdtTraits {
  static constexpr ColumnType type = kType;
  static constexpr bool nullable = false;
  static Value to_value(const T& value) { return Value(Blob{value.state}); }
  static bool from_value(const Value& value, T& out) {
    const auto* stored = std::get_if<Blob>(&value);
    if (!stored) return false;
    out.state = stored->bytes;
    return true;
  }
};
}  // namespace detail

template <>
struct ValueTraits<std::string> : detail::PlainTraits<std::string, ColumnType::text, std::string> {};
template <>
struct ValueTraits<bool> : detail::PlainTraits<bool, ColumnType::boolean, bool> {};
template <>
struct ValueTraits<std::int32_t> : detail::PlainTraits<std::int32_t, ColumnType::integer, std::int64_t> {};
template <>
struct ValueTraits<std::int64_t> : detail::PlainTraits<std::int64_t, ColumnType::bigint, std::int64_t> {};
template <>
struct ValueTraits<double> : detail::PlainTraits<double, ColumnType::real, double> {};
template <>
struct ValueTraits<Uuid> : detail::TextTraits<Uuid, ColumnType::uuid> {};
template <>
struct ValueTraits<Numeric> : detail::TextTraits<Numeric, ColumnType::numeric> {};
template <>
struct ValueTraits<Date> : detail::TextTraits<Date, ColumnType::date> {};
template <>
struct ValueTraits<Json> : detail::TextTraits<Json, ColumnType::json> {};
template <>
struct ValueTraits<Blob> : detail::PlainTraits<Blob, ColumnType::blob, Blob> {};
template <>
struct ValueTraits<CrdtText> : detail::CrdtTraits<CrdtText, ColumnType::crdt_text> {};
template <>
struct ValueTraits<CrdtMap> : detail::CrdtTraits<CrdtMap, ColumnType::crdt_map> {};
template <>
struct ValueTraits<Timestamp> {
  static constexpr ColumnType type = ColumnType::timestamp;
  static constexpr bool nullable = false;
  static Value to_value(const Timestamp& value) { return Value(value.microseconds); }
  static bool from_value(const Value& value, Timestamp& out) {
    const auto* stored = std::get_if<std::int64_t>(&value);
    if (!stored) return false;
    out.microseconds = *stored;
    return true;
  }
};
template <class T>
struct ValueTraits<std::optional<T>> {
  static constexpr ColumnType type = ValueTraits<T>::type;
  static constexpr bool nullable = true;
  static Value to_value(const std::optional<T>& value) {
    return value ? ValueTraits<T>::to_value(*value) : Value(std::monostate{});
  }
  static bool from_value(const Value& value, std::optional<T>& out) {
    if (is_null(value)) {
      out.reset();
      return true;
    }
    T inner{};
    if (!ValueTraits<T>::from_value(value, inner)) return false;
    out = std::move(inner);
    return true;
  }
};

/// A Value from anything a user would write: literals, strings, optionals and the types above.
template <class T>
Value to_value(const T& value) {
  using Plain = std::decay_t<T>;
  if constexpr (std::is_same_v<Plain, Value>) {
    return value;
  } else if constexpr (std::is_convertible_v<T, std::string_view>) {
    return Value(std::string(std::string_view(value)));
  } else if constexpr (std::is_same_v<Plain, std::nullopt_t>) {
    return Value(std::monostate{});
  } else if constexpr (std::is_integral_v<Plain> && !std::is_same_v<Plain, bool>) {
    return Value(static_cast<std::int64_t>(value));
  } else if constexpr (std::is_same_v<Plain, float>) {
    return Value(static_cast<double>(value));
  } else {
    return ValueTraits<Plain>::to_value(value);
  }
}

/// A fresh random UUID (version 4) from the operating system, for ids made by an app outside a mutator.
std::string new_id();

}  // namespace nizhal
