// Names in a domain: what is allowed, and suggestions for misspelt ones.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nizhal {

/// Names go into SQL of two databases, JSON and contracts as they are: [A-Za-z_][A-Za-z0-9_]*, at most 63 bytes, not
/// starting with a prefix that the engine or SQLite reserves. Empty when allowed; else what is wrong, as the rest of a
/// sentence ("is longer than 63 bytes").
std::string name_fault(std::string_view name);

/// ASCII only, as names are.
std::string lower_case(std::string_view text);

/// Points to what was meant: `did you mean "shop_id"?`, else `there are: a, b, c`, else `there is none`.
std::string suggest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace nizhal
