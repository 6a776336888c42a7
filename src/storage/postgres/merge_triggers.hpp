// The trigger function of a table that merges (storage/merge_columns.hpp): it does what nizhal.stamp() does, and when
// another program writes, it stamps what was changed with the time of the change and drops recent updates that do not
// tell of it.
//
// The fact that must not break: a write of the engine, which brings both along, is not touched.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage::postgres_schema {

/// While this setting of a transaction is 'on', a row of a table that merges can be written without a new version.
inline constexpr const char* kQuietSetting = "nizhal.quiet";

/// `"nizhal_stamps" text NOT NULL …`, as the table has it.
std::string merge_column_ddl(std::string_view column);
/// As format_type() says it.
const char* merge_column_type(std::string_view column);

/// The body of the function.
std::string merge_body(const CompiledDomain& domain, std::size_t table);

/// The columns are as they were: a condition over OLD and NEW.
std::string unchanged_sql(const TableDef& table, const std::vector<std::string>& columns);

}  // namespace nizhal::storage::postgres_schema
