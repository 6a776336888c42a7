// Plain SQL over the app's tables, reading only.
//
// The fact that must not break: whatever the text is, it changes nothing, neither in this file nor in another. It runs
// on a read-only connection of its own, under an authorizer that allows reading only.
#pragma once

#include <string_view>

#include "client/store_state.hpp"

namespace nizhal::client {

/// Values by storage class. Errors: usage (not one reading statement, or SQL that SQLite does not take).
[[nodiscard]] Result<SqlResult> read_sql(StoreState& state, std::string_view text);

}  // namespace nizhal::client
