// Plain SQL over the app's tables, reading only.
//
// The fact that must not break: whatever the text is, it changes nothing, neither in this file nor in another. It runs
// on a read-only connection, under an authorizer that allows reading only.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "client/store_state.hpp"

namespace nizhal::client {

/// A connection for reading the store's file beside its own.
[[nodiscard]] Result<std::unique_ptr<sqlite::Connection>> open_reading(const std::string& path);

/// Values by storage class. Errors: usage (not one reading statement, or SQL that SQLite does not take).
[[nodiscard]] Result<SqlResult> read_sql(sqlite::Connection& connection, std::string_view text);
/// On the store's own reader. Under its `reader_mutex`.
[[nodiscard]] Result<SqlResult> read_sql(StoreState& state, std::string_view text);
/// The tables that it reads, of the app, of the engine and of SQLite. Errors as above; runs nothing. Under the same.
[[nodiscard]] Result<std::set<std::string, std::less<>>> tables_read(StoreState& state, std::string_view text);

}  // namespace nizhal::client
