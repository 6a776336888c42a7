// Rows of a statement as text, for comparisons in tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sqlite/connection.hpp"

namespace nizhal::testing {

/// One text per row: values joined with "|", null as "~". Throws on an error: a broken query proves nothing.
std::vector<std::string> select_text(sqlite::Connection& connection, std::string_view sql);

}  // namespace nizhal::testing
