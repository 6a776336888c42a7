// Values and rows as JSON. Rows are written straight into text, because every delivered row passes here once per
// change; reading goes through a parsed value, because it comes with the whole request anyway.
// The fact that must not break: reading what was written gives the same value, for every column type.
#include "domain/value_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/bytes.hpp"
#include "base/decimal.hpp"
#include "base/ids.hpp"

namespace nizhal {
namespace {

// Years 0000 to 9999, in which ISO 8601 text has its fixed width.
constexpr std::int64_t kMillisecondsMin = -62'167'219'200'000;
constexpr std::int64_t kMillisecondsMax = 253'402'300'799'999;

bool in_time_range(std::int64_t microseconds) {
  return microseconds >= kMillisecondsMin * 1000 && microseconds <= kMillisecondsMax * 1000 + 999;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_date(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  for (const std::size_t i : {0U, 1U, 2U, 3U, 5U, 6U, 8U, 9U})
    if (!is_digit(text[i])) return false;
  const auto number = [text](std::size_t from, std::size_t size) {
    int value = 0;
    for (const char c : text.substr(from, size)) value = value * 10 + (c - '0');
    return value;
  };
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  if (month < 1 || month > 12 || day < 1) return false;
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= kDays[month - 1] + (month == 2 && leap ? 1 : 0);
}

std::optional<std::string> numeric_from_text(std::string_view text) {
  if (text.size() > kDecimalBytesMax) return std::nullopt;
  auto canonical = canonical_decimal(text);
  if (canonical && canonical->size() > kDecimalBytesMax) return std::nullopt;
  return canonical;
}

std::string lower_case_hex(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, fault] = std::from_chars(text.data(), end, number);
  if (text.empty() || fault != std::errc() || stopped != end) return std::nullopt;
  return number;
}

/// What is wrong with a text of that type; nullptr when nothing is.
const char* text_fault(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return "must not contain the NUL character";
  if (!is_utf8(text)) return "must be valid UTF-8";
  return nullptr;
}

tl::unexpected<Error> wrong(const char* expectation) { return failure(ErrorCode::bad_request, expectation); }

constexpr const char* kMustBeText = "must be a string";
constexpr const char* kMustBeUuid = "must be a UUID (8-4-4-4-12 hex digits)";
constexpr const char* kMustBeInteger = "must be an integer between -2147483648 and 2147483647";
constexpr const char* kMustBeReal = "must be a number";
constexpr const char* kMustBeBoolean = "must be true or false";
constexpr const char* kMustBeBigint = "must be a 64-bit integer, as a string of digits";
constexpr const char* kMustBeNumeric = "must be a decimal number, as a string of digits such as \"12.50\"";
constexpr const char* kMustBeTimestamp = "must be a time, ISO 8601 or epoch milliseconds, in the years 0000 to 9999";
constexpr const char* kMustBeDate = "must be a date such as \"2026-01-02\"";
constexpr const char* kMustBeBlob = "must be base64 with padding";
constexpr const char* kMustBeShallow = "must not be nested deeper than 48 levels";
static_assert(kJsonValueDepthMax == 48);

bool is_within_depth(const json::value& value, std::size_t levels) {
  if (const auto* array = value.if_array())
    return levels > 0 && std::all_of(array->begin(), array->end(),
                                     [levels](const json::value& item) { return is_within_depth(item, levels - 1); });
  if (const auto* object = value.if_object())
    return levels > 0 && std::all_of(object->begin(), object->end(), [levels](const json::key_value_pair& member) {
             return is_within_depth(member.value(), levels - 1);
           });
  return true;
}

std::optional<std::string_view> as_text(const json::value& value) {
  const auto* text = value.if_string();
  if (!text) return std::nullopt;
  return std::string_view(text->data(), text->size());
}

Result<Value> timestamp_from_json(const json::value& value) {
  if (const auto text = as_text(value)) {
    const auto time = parse_iso8601(*text);
    if (!time || !in_time_range(time->microseconds)) return wrong(kMustBeTimestamp);
    return Value(time->microseconds);
  }
  const auto milliseconds = as_integer(value);
  if (!milliseconds || *milliseconds < kMillisecondsMin || *milliseconds > kMillisecondsMax)
    return wrong(kMustBeTimestamp);
  return Value(*milliseconds * 1000);
}

}  // namespace

void append_value_json(std::string& out, ColumnType type, const Value& value) {
  switch (type) {
    case ColumnType::text:
    case ColumnType::uuid:
    case ColumnType::numeric:
    case ColumnType::date:
      if (const auto* text = std::get_if<std::string>(&value)) return append_json_string(out, *text);
      break;
    case ColumnType::integer:
      if (const auto* number = std::get_if<std::int64_t>(&value)) return append_json_number(out, *number);
      break;
    case ColumnType::bigint:
      if (const auto* number = std::get_if<std::int64_t>(&value)) {
        out += '"';
        append_json_number(out, *number);
        out += '"';
        return;
      }
      break;
    case ColumnType::real:
      if (const auto* number = std::get_if<double>(&value)) return append_json_number(out, *number);
      break;
    case ColumnType::boolean:
      if (const auto* flag = std::get_if<bool>(&value)) {
        out += *flag ? "true" : "false";
        return;
      }
      break;
    case ColumnType::timestamp:
      if (const auto* time = std::get_if<std::int64_t>(&value)) {
        out += '"';
        out += to_iso8601(Timestamp{*time});
        out += '"';
        return;
      }
      break;
    case ColumnType::json:
      if (const auto* text = std::get_if<std::string>(&value); text && !text->empty()) {
        out += *text;
        return;
      }
      break;
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      if (const auto* blob = std::get_if<Blob>(&value)) {
        out += '"';
        out += to_base64(blob->bytes);
        out += '"';
        return;
      }
      break;
  }
  out += "null";
}

Result<Value> value_from_json(ColumnType type, const json::value& value) {
  if (value.is_null()) return Value(std::monostate{});
  const auto text = as_text(value);
  switch (type) {
    case ColumnType::text:
      if (!text) return wrong(kMustBeText);
      if (const char* fault = text_fault(*text)) return wrong(fault);
      return Value(std::string(*text));
    case ColumnType::uuid:
      if (!text || !is_uuid(*text)) return wrong(kMustBeUuid);
      return Value(lower_case_hex(*text));
    case ColumnType::integer: {
      const auto number = as_integer(value);
      if (!number || *number < std::numeric_limits<std::int32_t>::min() ||
          *number > std::numeric_limits<std::int32_t>::max())
        return wrong(kMustBeInteger);
      return Value(*number);
    }
    case ColumnType::real:
      if (const auto* real = value.if_double(); real && std::isfinite(*real)) return Value(*real);
      if (const auto* whole = value.if_int64()) return Value(static_cast<double>(*whole));
      if (const auto* whole = value.if_uint64()) return Value(static_cast<double>(*whole));
      return wrong(kMustBeReal);
    case ColumnType::boolean:
      if (const auto* flag = value.if_bool()) return Value(*flag);
      return wrong(kMustBeBoolean);
    case ColumnType::bigint: {
      const auto number = text ? whole_number(*text) : as_integer(value);
      if (!number) return wrong(kMustBeBigint);
      return Value(*number);
    }
    case ColumnType::numeric: {
      if (const auto* big = value.if_uint64()) return Value(std::to_string(*big));
      if (const auto number = text ? std::nullopt : as_integer(value)) return Value(std::to_string(*number));
      auto canonical = text ? numeric_from_text(*text) : std::nullopt;
      if (!canonical) return wrong(kMustBeNumeric);
      return Value(*std::move(canonical));
    }
    case ColumnType::timestamp:
      return timestamp_from_json(value);
    case ColumnType::date:
      if (!text || !is_date(*text)) return wrong(kMustBeDate);
      return Value(std::string(*text));
    case ColumnType::json:
      if (!is_within_depth(value, kJsonValueDepthMax)) return wrong(kMustBeShallow);
      return Value(to_text(value));
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map: {
      auto bytes = text ? from_base64(*text) : std::nullopt;
      if (!bytes) return wrong(kMustBeBlob);
      return Value(Blob{*std::move(bytes)});
    }
  }
  return failure(ErrorCode::internal, "has a column type that is not known");
}

void append_row_json(std::string& out, const TableDef& table, const Row& row) {
  static const Value kNull;
  out += '{';
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (i > 0) out += ',';
    out += '"';
    out += table.columns[i].name;  // registration allows only letters, digits and underscores: nothing to escape
    out += "\":";
    append_value_json(out, table.columns[i].type, i < row.size() ? row[i] : kNull);
  }
  out += '}';
}

Result<Row> row_from_json(const TableDef& table, const json::value& value) {
  const auto* object = value.if_object();
  if (!object)
    return failure(ErrorCode::bad_request, fmt::format("a row of table \"{}\" must be an object", table.name));
  Row row;
  row.reserve(table.columns.size());
  for (const ColumnDef& column : table.columns) {
    const json::value* found = object->if_contains(column.name);
    if (!found) {
      row.push_back(column.default_value.value_or(Value(std::monostate{})));
      continue;
    }
    auto read = value_from_json(column.type, *found);
    if (!read)
      return failure(read.error().code,
                     fmt::format("table \"{}\", column \"{}\" {}", table.name, column.name, read.error().message));
    row.push_back(*std::move(read));
  }
  return row;
}

bool check_value(const ColumnDef& column, const Value& value, std::string* why) {
  const auto no = [why](const char* reason) {
    if (why) *why = reason;
    return false;
  };
  if (is_null(value)) return column.nullable || no("must not be null");
  const auto* text = std::get_if<std::string>(&value);
  const auto* number = std::get_if<std::int64_t>(&value);
  switch (column.type) {
    case ColumnType::text:
      if (!text) return no(kMustBeText);
      if (const char* fault = text_fault(*text)) return no(fault);
      return true;
    case ColumnType::uuid:
      if (!text || !is_uuid(*text)) return no(kMustBeUuid);
      return lower_case_hex(*text) == *text || no("must be a UUID in lower case");
    case ColumnType::integer:
      return (number && *number >= std::numeric_limits<std::int32_t>::min() &&
              *number <= std::numeric_limits<std::int32_t>::max()) ||
             no(kMustBeInteger);
    case ColumnType::real: {
      const auto* real = std::get_if<double>(&value);
      if (!real) return no("must be a floating-point number (write 1.0, not 1)");
      return std::isfinite(*real) || no("must be a finite number");
    }
    case ColumnType::boolean:
      return std::holds_alternative<bool>(value) || no(kMustBeBoolean);
    case ColumnType::bigint:
      return number || no("must be a 64-bit integer");
    case ColumnType::numeric: {
      const auto canonical = text ? numeric_from_text(*text) : std::nullopt;
      if (!canonical) return no(kMustBeNumeric);
      return *canonical == *text || no("must be a decimal number without leading zeros or negative zero");
    }
    case ColumnType::timestamp:
      return (number && in_time_range(*number)) || no("must be a time in the years 0000 to 9999");
    case ColumnType::date:
      return (text && is_date(*text)) || no(kMustBeDate);
    case ColumnType::json:
      return (text && is_json(*text, kJsonValueDepthMax)) || no("must be one valid JSON value, at most 48 levels deep");
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return std::holds_alternative<Blob>(value) || no("must be bytes");
  }
  return no("has a column type that is not known");
}

std::string key_text(const Value& key) {
  if (const auto* text = std::get_if<std::string>(&key)) return *text;
  if (const auto* number = std::get_if<std::int64_t>(&key)) return std::to_string(*number);
  return {};
}

std::optional<Value> key_from_text(const TableDef& table, std::string_view text) {
  if (table.key_index() == TableDef::npos) return std::nullopt;
  const ColumnType type = table.key_column().type;
  Value value;
  if (type == ColumnType::integer || type == ColumnType::bigint) {
    const auto number = whole_number(text);
    if (!number) return std::nullopt;
    value = *number;
  } else {
    value = std::string(text);
  }
  // Only the canonical form, so that one row has one text: no "007", no UUID in upper case.
  if (!check_value(ColumnDef{table.key, type, false, std::nullopt}, value, nullptr) || key_text(value) != text)
    return std::nullopt;
  return value;
}

}  // namespace nizhal
