// A query made ready: names resolved to positions, operands in stored form, types checked, the order made total. SQL,
// the evaluator and the incremental views all start from it, so that they agree on what a query means.
//
// Two kinds of rows: a *joined row* is the rows of the query's tables one after the other (nulls where a left join met
// none); a *result row* is what the query gives, with folds one row per group, else the joined row itself.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/query.hpp>
#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

namespace nizhal {

/// SQL's three-valued logic, in its order: `and` is the least of its parts, `or` the greatest.
enum class Truth { no, unknown, yes };

struct CompiledPredicate {
  Predicate::Kind kind = Predicate::Kind::all;
  Comparison comparison = Comparison::eq;  // of a condition
  std::size_t column = 0;                  // of the joined row
  ColumnType type = ColumnType::text;      // that column's
  std::vector<Value> operands;             // of condition and in: those that are not null, as the column stores them
  bool has_null_operand = false;           // condition: compared with null; in: a null is among the values
  std::string pattern;                     // of like
  std::vector<CompiledPredicate> parts;    // of all, any and negation
};

/// One of the query's tables: the first, or one that is joined to those before it.
struct CompiledSource {
  const TableDef* table = nullptr;
  std::string name;                          // in "name.column": the table's, unless the join gives another
  std::size_t first_column = 0;              // where its columns begin in a joined row
  std::size_t join_column = TableDef::npos;  // of the joined row; holds the key of this table's row; the first: npos
  bool keeps_unmatched = false;              // left join

  /// Where its primary key stands in a joined row.
  std::size_t key_column() const { return first_column + table->key_index(); }
};

struct CompiledColumn {
  std::string name;  // unique: "table.column" where the column's name alone is not
  ColumnType type = ColumnType::text;
  bool nullable = false;
};

struct CompiledFold {
  FoldSpec::Kind kind = FoldSpec::Kind::count;
  std::size_t column = TableDef::npos;          // of the joined row; npos: rows are counted
  ColumnType type = ColumnType::bigint;         // that column's
  ColumnType result_type = ColumnType::bigint;  // of the fold's value
  std::string name;                             // of the result's column
  std::string subject;                          // for messages: "sum of ledger_entries.amount"
};

struct CompiledOrder {
  std::size_t column = 0;  // of the result row
  ColumnType type = ColumnType::text;
  bool descending = false;
};

struct CompiledQuery {
  std::vector<CompiledSource> sources;         // at least one
  std::vector<CompiledColumn> joined_columns;  // of a joined row
  CompiledPredicate filter;                    // over joined rows; an `all` (without parts when there are none)
  bool is_folded = false;
  std::vector<std::size_t> group_by;    // columns of the joined row; the result's first columns
  std::vector<CompiledFold> folds;      // the result's columns after those
  std::vector<CompiledColumn> columns;  // of a result row
  /// Total: no two result rows are equal in it. After the query's own come the first table's key (a row of it gives at
  /// most one result row) or, with folds, the group's values.
  std::vector<CompiledOrder> order;
  std::optional<std::size_t> limit;
  std::size_t offset = 0;

  /// Of a result row without folds: where the first table's key stands, which no other result row has.
  std::size_t key_column() const { return sources.front().key_column(); }
  bool is_joined() const { return sources.size() > 1; }
};

/// Errors, all naming the place and the fix: invalid_args (unknown or ambiguous names, operands, folds and joins of the
/// wrong type, what has no order), internal (no table, or one without a key). Points at the tables of `query`.
[[nodiscard]] Result<CompiledQuery> compile_query(const QuerySpec& query);

/// The query over the tables that `find` knows by the names of its own: a typed query names the app's definitions, the
/// store has the domain's. Errors: not_found, and usage when a table's columns differ.
[[nodiscard]] Result<QuerySpec> with_tables(const QuerySpec& query,
                                            const std::function<const TableDef*(std::string_view name)>& find);

Truth judge(const CompiledPredicate& predicate, const Row& joined_row);
/// True when the row stays: unknown is not enough.
bool passes(const CompiledQuery& query, const Row& joined_row);
/// By the query's order; equal only for the same result row.
std::strong_ordering compare_results(const CompiledQuery& query, const Row& left, const Row& right);
/// The row's values in `group_by`, in the one form that stands for all that are equal (see group_value).
Row group_of(const CompiledQuery& query, const Row& joined_row);
/// Of equal values the one that represents them: numerics without needless zeros, 0.0 for -0.0.
Value group_value(ColumnType type, const Value& value);
/// What the query's limit and offset leave of `count` ordered rows: from, to.
struct Window {
  std::size_t begin = 0, end = 0;
};
Window window_of(const CompiledQuery& query, std::size_t count);

}  // namespace nizhal
