// Queries in memory: what SQL has to agree with, row for row.
#include "query/evaluate.hpp"

#include <algorithm>

#include "query/fold.hpp"

namespace nizhal {

namespace {

const std::vector<Row>& rows_of(const TableRows& tables, const CompiledSource& source) {
  static const std::vector<Row> kNone;
  const auto found = tables.find(source.table->name);
  return found == tables.end() ? kNone : found->second;
}

/// The rows so far, each followed by the row of `source` whose key it holds.
std::vector<Row> join(std::vector<Row> rows, const CompiledSource& source, const std::vector<Row>& others) {
  const ColumnType type = source.table->key_column().type;
  const std::size_t key = source.table->key_index();
  std::vector<Row> joined;
  for (Row& row : rows) {
    const Value& wanted = row[source.join_column];
    const auto met = std::find_if(others.begin(), others.end(), [&](const Row& other) {
      return !is_null(wanted) && compare_values(other[key], wanted, type) == 0;
    });
    if (met != others.end()) {
      row.insert(row.end(), met->begin(), met->end());
    } else if (source.keeps_unmatched) {
      row.resize(row.size() + source.table->columns.size());
    } else {
      continue;
    }
    joined.push_back(std::move(row));
  }
  return joined;
}

/// Groups one after the other, looked for from the first on.
Result<std::vector<Row>> fold(const CompiledQuery& query, const std::vector<Row>& rows) {
  struct Group {
    Row values;
    FoldGroup folds;
  };
  std::vector<Group> groups;
  if (query.group_by.empty()) groups.push_back({{}, FoldGroup(query)});
  for (const Row& row : rows) {
    const Row values = group_of(query, row);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& other) {
      for (std::size_t i = 0; i < values.size(); ++i)
        if (compare_values(values[i], other.values[i], query.columns[i].type) != 0) return false;
      return true;
    });
    if (group == groups.end()) group = groups.insert(groups.end(), {values, FoldGroup(query)});
    group->folds.add(query, row);
  }
  std::vector<Row> results;
  for (const Group& group : groups) {
    auto result = group.folds.result(query, group.values);
    if (!result) return tl::unexpected(result.error());
    results.push_back(std::move(*result));
  }
  return results;
}

}  // namespace

Result<std::vector<Row>> evaluate(const CompiledQuery& query, const TableRows& tables) {
  std::vector<Row> rows = rows_of(tables, query.sources.front());
  for (std::size_t i = 1; i < query.sources.size(); ++i)
    rows = join(std::move(rows), query.sources[i], rows_of(tables, query.sources[i]));
  std::erase_if(rows, [&](const Row& row) { return !passes(query, row); });
  if (query.limit == std::size_t{0}) return std::vector<Row>{};  // no database folds anything for nothing
  if (query.is_folded) {
    auto results = fold(query, rows);
    if (!results) return results;
    rows = std::move(*results);
  }
  std::sort(rows.begin(), rows.end(),
            [&](const Row& left, const Row& right) { return compare_results(query, left, right) < 0; });
  const Window window = window_of(query, rows.size());
  rows.resize(window.end);
  rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(window.begin));
  return rows;
}

Result<std::vector<Row>> evaluate(const QuerySpec& query, const TableRows& tables) {
  const auto compiled = compile_query(query);
  if (!compiled) return tl::unexpected(compiled.error());
  return evaluate(*compiled, tables);
}

}  // namespace nizhal
