// Queries as SQL text with positional parameters, for both dialects.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nizhal/query.hpp>
#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

#include "query/compiled_query.hpp"

namespace nizhal {

enum class Dialect { sqlite, postgres };

/// SQLite collation by which `numeric` columns (held as text there) are compared and ordered as numbers. Every
/// sqlite::Connection brings it; it appears in queries only, never in a schema, so other programs do not need it.
inline constexpr std::string_view kDecimalCollation = "nizhal_decimal";
/// SQLite functions of ours, on every sqlite::Connection like the collation and, like it, in queries only: LIKE with
/// its one meaning (text, pattern), the one form of equal numerics, and sums and averages as Fold makes them (value,
/// ColumnType as a number, what the message of a sum that does not fit begins with).
inline constexpr std::string_view kLikeFunction = "nizhal_like";
inline constexpr std::string_view kShortestFunction = "nizhal_shortest_decimal";
inline constexpr std::string_view kSumFunction = "nizhal_sum";
inline constexpr std::string_view kAverageFunction = "nizhal_average";

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
/// A text that begins with a year of four digits, as PostgreSQL reads it: it has no year 0000, the one before 0001 is
/// 0001 BC.
std::string postgres_time_text(std::string text);
/// A constant in DDL, as the dialect stores a value of that column type; times and days are in the fixed form in which
/// text order is time order.
std::string sql_literal(Dialect dialect, ColumnType type, const Value& value);
/// `"a", "b", …`: the declared columns, each with `alias.` before it when an alias is given.
std::string column_list(const TableDef& table, std::string_view alias = {});

/// The whole query: result rows in the query's order, limit and offset as parameters. `extra` is ANDed to the filter
/// (no parameters; only where nothing is joined). Tables are named with their schema when one is given. PostgreSQL's
/// placeholders name their types; joins and folds are for SQLite only, the device's: invalid_args there, as is a text
/// operand with a NUL character, which no row of PostgreSQL can have.
[[nodiscard]] Result<SqlText> query_sql(Dialect dialect, const CompiledQuery& query, std::string_view extra = {},
                                        std::string_view schema = {});
/// Compiled first; so its errors too.
[[nodiscard]] Result<SqlText> query_sql(Dialect dialect, const QuerySpec& query, std::string_view extra = {},
                                        std::string_view schema = {});

}  // namespace nizhal
