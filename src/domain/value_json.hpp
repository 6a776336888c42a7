// Values and rows as JSON, exactly as docs/protocol.md says under "Values".
#pragma once

#include <string>
#include <string_view>

#include <nizhal/result.hpp>
#include <nizhal/table.hpp>
#include <nizhal/value.hpp>

#include "base/json.hpp"

namespace nizhal {

/// Appends a value of that column type. A value of the wrong alternative becomes null.
void append_value_json(std::string& out, ColumnType type, const Value& value);
/// Reads a value of that type, null included. The error names what was expected: "must be a string of digits".
Result<Value> value_from_json(ColumnType type, const json::value& value);

/// `{"id": …, "body": …}`: the declared columns in order.
void append_row_json(std::string& out, const TableDef& table, const Row& row);
/// Unknown members are ignored; an absent column takes its default, else null. Errors name table and column.
Result<Row> row_from_json(const TableDef& table, const json::value& value);

/// True when the value fits the column: right alternative, null only where nullable, integer in 32 bits, valid
/// UTF-8, well-formed uuid, numeric, date, JSON; `why` then says what is wrong.
bool check_value(const ColumnDef& column, const Value& value, std::string* why);

/// The table's key as text in its canonical form (undo records, removals, maps): text as is, integers in decimal.
std::string key_text(const Value& key);
/// The reverse, for a table's key type; nothing when the text is no such key.
std::optional<Value> key_from_text(const TableDef& table, std::string_view text);

}  // namespace nizhal
