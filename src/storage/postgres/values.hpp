// Values as PostgreSQL's text format has them: parameters out, columns in, and columns straight into the JSON of a
// page. The session's settings are assumed: TimeZone UTC, DateStyle ISO, bytea_output hex, client_encoding UTF8.
//
// The fact that must not break: what was written reads back as the same value, and append_column_json writes the bytes
// that append_value_json writes for the value that value_from_text reads.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nizhal/value.hpp>

namespace nizhal::storage {

/// The parameter for a column of that type; nothing is NULL. A text must hold no NUL character.
std::optional<std::string> parameter_text(ColumnType type, const Value& value);

/// A text of the engine's own, such as a message: what PostgreSQL cannot hold in one becomes U+FFFD.
std::string storable_text(std::string_view text);

/// A stored column that is not NULL. What the wire cannot say (infinities, NaN, years beyond 9999, JSON nested deeper
/// than 48 levels, decimals of more than 1,000 characters) is null.
Value value_from_text(ColumnType type, std::string_view text);

/// A stored `bytea`.
std::string bytes_from_text(std::string_view text);
/// Its parameter.
std::string bytes_parameter(std::string_view bytes);

/// The same as JSON.
void append_column_json(std::string& out, ColumnType type, std::string_view text);

}  // namespace nizhal::storage
