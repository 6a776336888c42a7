// What plain SQL over a device's file needs to read CRDT columns, on connections that only read:
//   crdt_text(value, 'column')   the text
//   crdt_delta(value, 'column')  the text with its formats and embeds, as a delta in JSON
//   crdt_json(value, 'column')   the map as JSON
// The second argument is the column's name, which the value keeps its content under. NULL gives NULL; what is no state
// is an error of the statement.
#pragma once

#include <nizhal/result.hpp>

struct sqlite3;

namespace nizhal::client {

[[nodiscard]] Result<void> add_crdt_functions(sqlite3* database);

}  // namespace nizhal::client
