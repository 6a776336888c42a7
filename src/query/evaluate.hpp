// Queries evaluated in memory: the reference for SQL and, later, for incremental views.
#pragma once

#include <vector>

#include <nizhal/query.hpp>
#include <nizhal/table.hpp>

namespace nizhal {

/// True when every condition holds for the row. A condition on an unknown column never holds.
bool matches(const TableDef& table, const std::vector<Condition>& conditions, const Row& row);
/// Filter, order (ties by key), offset and limit over `rows`.
std::vector<Row> evaluate(const QuerySpec& query, const std::vector<Row>& rows);

}  // namespace nizhal
