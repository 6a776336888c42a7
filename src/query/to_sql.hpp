// Queries as SQL text with positional parameters, for both dialects.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nizhal/query.hpp>
#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

namespace nizhal {

enum class Dialect { sqlite, postgres };

/// SQLite collation by which `numeric` columns (held as text there) are compared and ordered as numbers. Every
/// sqlite::Connection brings it; it appears in queries only, never in a schema, so other programs do not need it.
inline constexpr std::string_view kDecimalCollation = "nizhal_decimal";

/// A parameter and the type of the column that it is compared with, which decides how it is bound.
struct SqlParameter {
  Value value;
  ColumnType type = ColumnType::text;
};
struct SqlText {
  std::string text;
  std::vector<SqlParameter> parameters;  // `?1`… or `$1::text`…
};

/// `"name"`, with quotes doubled.
std::string quote_identifier(std::string_view name);
/// `'text'`, with quotes doubled: for DDL and triggers, which take no parameters.
std::string quote_text(std::string_view text);
/// The type of a column in PostgreSQL: "text", "uuid", "bigint", "timestamptz", "jsonb", "bytea", …
const char* postgres_type(ColumnType type);
/// "=", "<>", …, "IS NOT NULL".
const char* comparison_sql(Comparison comparison);
/// A constant in DDL, as the dialect stores a value of that column type.
std::string sql_literal(Dialect dialect, ColumnType type, const Value& value);
/// `"a", "b", …`: the declared columns, each with `alias.` before it when an alias is given.
std::string column_list(const TableDef& table, std::string_view alias = {});

/// Conditions joined with AND ("1" / "true" when there are none); parameters are appended to `parameters`. PostgreSQL's
/// placeholders name their types. Unknown columns and operands of the wrong type are invalid_args errors that name
/// them; so is, for PostgreSQL, a text operand with a NUL character, which no row there can have.
Result<std::string> conditions_sql(Dialect dialect, const TableDef& table, const std::vector<Condition>& conditions,
                                   std::vector<SqlParameter>& parameters);
/// The whole query: declared columns of the matching rows, ordered, ties by key. `extra` is ANDed (no parameters).
/// The table is named with its schema when one is given.
Result<SqlText> query_sql(Dialect dialect, const QuerySpec& query, std::string_view extra = {},
                          std::string_view schema = {});

}  // namespace nizhal
