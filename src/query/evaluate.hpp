// Queries evaluated in memory, row by row and with no cleverness: the reference that SQL and live queries are held to.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nizhal/query.hpp>
#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

#include "query/compiled_query.hpp"

namespace nizhal {

/// Each table's rows, in any order, by the table's name. One that is not there is empty.
using TableRows = std::map<std::string, std::vector<Row>, std::less<>>;

/// The query's result rows. Errors: invalid_args when a sum of any group does not fit its type.
[[nodiscard]] Result<std::vector<Row>> evaluate(const CompiledQuery& query, const TableRows& tables);
/// Compiled first; so its errors too.
[[nodiscard]] Result<std::vector<Row>> evaluate(const QuerySpec& query, const TableRows& tables);

}  // namespace nizhal
