// Queries in memory: what SQL has to agree with, row for row.
#include "query/evaluate.hpp"

#include <algorithm>

#include "query/operand.hpp"

namespace nizhal {

namespace {

struct SortTerm {
  std::size_t column = 0;
  ColumnType type = ColumnType::text;
  bool descending = false;
};

/// Unknown columns and those without an order order nothing; the key comes last and settles ties.
std::vector<SortTerm> sort_terms(const QuerySpec& query) {
  const TableDef& table = *query.table;
  std::vector<SortTerm> terms;
  const auto add = [&](std::size_t column, Direction direction) {
    if (column == TableDef::npos || !is_comparable(table.columns[column].type)) return;
    terms.push_back({column, table.columns[column].type, direction == Direction::descending});
  };
  for (const Order& order : query.order) add(table.index_of(order.column), order.direction);
  add(table.key_index(), Direction::ascending);
  return terms;
}

bool comes_before(const std::vector<SortTerm>& terms, const Row& left, const Row& right) {
  for (const SortTerm& term : terms) {
    const auto ordering = compare_values(left[term.column], right[term.column], term.type);
    if (ordering != 0) return term.descending ? ordering > 0 : ordering < 0;
  }
  return false;
}

bool holds(Comparison comparison, std::strong_ordering ordering) {
  switch (comparison) {
    case Comparison::eq:
      return ordering == 0;
    case Comparison::ne:
      return ordering != 0;
    case Comparison::lt:
      return ordering < 0;
    case Comparison::le:
      return ordering <= 0;
    case Comparison::gt:
      return ordering > 0;
    case Comparison::ge:
      return ordering >= 0;
    case Comparison::is_null:
    case Comparison::is_not_null:
      break;
  }
  return false;
}

bool matches_one(const TableDef& table, const Condition& condition, const Row& row) {
  const std::size_t column = table.index_of(condition.column);
  if (column == TableDef::npos || column >= row.size()) return false;
  const Value& value = row[column];
  if (condition.comparison == Comparison::is_null) return is_null(value);
  if (condition.comparison == Comparison::is_not_null) return !is_null(value);
  const ColumnType type = table.columns[column].type;
  const auto operand = comparable_operand(type, condition.operand);
  if (!operand || is_null(*operand) || is_null(value)) return false;
  return holds(condition.comparison, compare_values(value, *operand, type));
}

}  // namespace

bool matches(const TableDef& table, const std::vector<Condition>& conditions, const Row& row) {
  return std::all_of(conditions.begin(), conditions.end(),
                     [&](const Condition& condition) { return matches_one(table, condition, row); });
}

std::vector<Row> evaluate(const QuerySpec& query, const std::vector<Row>& rows) {
  std::vector<Row> result;
  if (!query.table) return result;
  for (const Row& row : rows)
    if (row.size() == query.table->columns.size() && matches(*query.table, query.conditions, row))
      result.push_back(row);
  const auto terms = sort_terms(query);
  std::stable_sort(result.begin(), result.end(),
                   [&](const Row& left, const Row& right) { return comes_before(terms, left, right); });
  const std::size_t skipped = std::min(query.offset, result.size());
  result.erase(result.begin(), result.begin() + static_cast<std::ptrdiff_t>(skipped));
  if (query.limit && *query.limit < result.size()) result.resize(*query.limit);
  return result;
}

}  // namespace nizhal
