// Boost.JSON as used everywhere: the non-throwing calls only, with bounded depth, and appending writers for
// the hot paths. Modules without exceptions rely on nothing here throwing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include <nizhal/result.hpp>

namespace nizhal {

namespace json = boost::json;

/// Strict JSON, UTF-8 checked, at most 64 levels deep. The error says where: "invalid JSON at byte 17: …".
Result<json::value> parse_json(std::string_view text);
/// The same, in the storage of the caller, which must outlive the value.
Result<json::value> parse_json(std::string_view text, json::storage_ptr storage);

inline constexpr std::size_t kJsonDepthMax = 64;
/// A value of a `json` column or argument is bounded more tightly, so that whatever was stored still fits into a
/// message around it.
inline constexpr std::size_t kJsonValueDepthMax = 48;

/// The same check without building the value.
bool is_json(std::string_view text, std::size_t depth_max = kJsonDepthMax);

/// Compact, members in their order.
std::string to_text(const json::value& value);

/// Appends `text` as a JSON string with its quotes. `text` must be UTF-8; bytes that are not become U+FFFD.
void append_json_string(std::string& out, std::string_view text);
void append_json_number(std::string& out, std::int64_t number);
/// Shortest text that reads back as the same double; NaN and infinities, which JSON lacks, become null.
void append_json_number(std::string& out, double number);

/// Member access that never throws: nullptr when `value` is no object or lacks the member.
const json::value* member(const json::value& value, std::string_view name);
std::optional<std::string_view> string_member(const json::value& value, std::string_view name);
/// An integer in any JSON number form that is one (1, 1.0, 1e3) within range.
std::optional<std::int64_t> as_integer(const json::value& value);

}  // namespace nizhal
