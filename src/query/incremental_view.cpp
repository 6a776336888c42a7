#include "query/incremental_view.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "query/compiled_query.hpp"
#include "query/incremental_view_fold.hpp"
#include "query/incremental_view_join.hpp"
#include "query/incremental_view_window.hpp"
#include "query/row_diff.hpp"

namespace nizhal {
namespace {

/// Rows in front of a window are held too; more than this are better skipped by the storage.
constexpr std::size_t kOffsetHeldMax = 10'000;

bool is_kept_incrementally(const CompiledQuery& query) {
  return query.is_folded || !query.limit || query.offset <= kOffsetHeldMax;
}

/// True when the predicate looks at columns of the first table only.
bool is_own(const CompiledPredicate& predicate, std::size_t own_columns) {
  switch (predicate.kind) {
    case Predicate::Kind::condition:
    case Predicate::Kind::in:
    case Predicate::Kind::like:
      return predicate.column < own_columns;
    case Predicate::Kind::all:
    case Predicate::Kind::any:
    case Predicate::Kind::negation:
      return std::all_of(predicate.parts.begin(), predicate.parts.end(),
                         [&](const CompiledPredicate& part) { return is_own(part, own_columns); });
  }
  return false;
}

RowPointers pointers(const std::vector<Row>& rows) {
  RowPointers all;
  all.reserve(rows.size());
  for (const Row& row : rows) all.push_back(&row);
  return all;
}

/// Holds the last result and compares it with the next.
class RerunView : public View {
 public:
  explicit RerunView(QuerySpec source = {}, std::optional<CompiledQuery> query = {})
      : source_(std::move(source)), query_(std::move(query)) {}

  std::size_t size() const override { return rows_.size(); }
  const Row& row(std::size_t index) const override { return rows_[index]; }
  const QuerySpec& source() const override { return source_; }
  Result<void> load(std::vector<Row> rows, Steps& steps) override {
    if (query_) {
      const RowOrder order = [this](const Row& left, const Row& right) {
        return compare_results(*query_, left, right);
      };
      diff_ordered(order, pointers(rows_), pointers(rows), steps);
    } else {
      diff_by_value(pointers(rows_), pointers(rows), steps);
    }
    rows_ = std::move(rows);
    return {};
  }
  Result<Applied> apply(const std::vector<TableChange>&, RowLookup&, Steps&) override { return Applied::needs_load; }

 private:
  const QuerySpec source_;
  const std::optional<CompiledQuery> query_;
  std::vector<Row> rows_;
};

/// Changed rows of tables → changed joined rows → with folds: changed groups → the window.
class IncrementalView : public View {
 public:
  IncrementalView(const QuerySpec& spec, CompiledQuery query)
      : query_(std::move(query)),
        source_(spec),
        window_([this](const Row& left, const Row& right) { return compare_results(query_, left, right); },
                query_.offset, query_.limit) {
    source_.offset = 0;
    source_.limit = window_.capacity();
    if (query_.is_folded) {
      source_.folds.clear();
      source_.group_by.clear();
      folded_.emplace(query_);
    }
    if (query_.is_joined()) prepare_joins(spec);
    if (query_.is_folded || query_.is_joined()) {
      source_.order.clear();
      source_.limit.reset();
    }
  }

  std::size_t size() const override { return window_.size(); }
  const Row& row(std::size_t index) const override { return window_.row(index); }
  const QuerySpec& source() const override { return source_; }

  Result<void> load(std::vector<Row> rows, Steps& steps) override {
    if (joined_) rows = joined_->load(std::move(rows));
    if (folded_) {
      folded_->clear();
      for (const Row& row : rows) folded_->add(row);
      auto results = folded_->results();
      if (!results) return tl::unexpected(results.error());
      rows = std::move(*results);
    }
    if (joined_ || folded_) {
      std::sort(rows.begin(), rows.end(),
                [this](const Row& left, const Row& right) { return compare_results(query_, left, right) < 0; });
    }
    window_.load(std::move(rows), steps);
    return {};
  }

  Result<Applied> apply(const std::vector<TableChange>& changes, RowLookup& lookup, Steps& steps) override {
    if (folded_) folded_->begin();
    if (joined_) {
      const auto joined = joined_->apply(changes, lookup);
      if (!joined) return tl::unexpected(joined.error());
      if (!*joined) return Applied::needs_load;
      for (const auto& change : **joined)
        if (!pass_on(change.before ? &*change.before : nullptr, change.after ? &*change.after : nullptr, steps))
          return Applied::needs_load;
    } else {
      for (const TableChange& change : changes)
        if (change.table == query_.sources.front().table &&
            !pass_on(passing(change.before), passing(change.after), steps))
          return Applied::needs_load;
    }
    if (!folded_) return Applied::yes;
    const auto groups = folded_->finish();
    if (!groups) return tl::unexpected(groups.error());
    for (const auto& change : *groups)
      if (!window_.change(change.before ? &*change.before : nullptr, change.after ? &*change.after : nullptr, steps))
        return Applied::needs_load;
    return Applied::yes;
  }

 private:
  /// The joins need every row of the first table that may come to match, whatever the joined rows are now.
  void prepare_joins(const QuerySpec& spec) {
    const std::size_t own_columns = query_.sources.front().table->columns.size();
    CompiledPredicate own;
    own.kind = Predicate::Kind::all;
    source_.conditions.clear();
    source_.predicates.clear();
    const auto& parts = query_.filter.parts;
    // Parts that are not the query's, one by one, cannot be asked for one by one.
    if (query_.filter.kind == Predicate::Kind::all && parts.size() == spec.conditions.size() + spec.predicates.size()) {
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (!is_own(parts[i], own_columns)) continue;
        own.parts.push_back(parts[i]);
        if (i < spec.conditions.size()) {
          source_.conditions.push_back(spec.conditions[i]);
        } else {
          source_.predicates.push_back(spec.predicates[i - spec.conditions.size()]);
        }
      }
    }
    for (JoinSpec& join : source_.joins) join.keeps_unmatched = true;
    joined_.emplace(query_, std::move(own));
  }

  const Row* passing(const Row* row) const { return row && passes(query_, *row) ? row : nullptr; }

  bool pass_on(const Row* before, const Row* after, Steps& steps) {
    if (!before && !after) return true;
    if (!folded_) return window_.change(before, after, steps);
    folded_->change(before, after);
    return true;
  }

  const CompiledQuery query_;
  QuerySpec source_;
  ResultWindow window_;
  std::optional<JoinedRows> joined_;
  std::optional<FoldedRows> folded_;
};

}  // namespace

Result<std::unique_ptr<View>> make_view(const QuerySpec& spec) {
  auto query = compile_query(spec);
  if (!query) return tl::unexpected(query.error());
  if (is_kept_incrementally(*query)) return std::make_unique<IncrementalView>(spec, std::move(*query));
  return std::make_unique<RerunView>(spec, std::move(*query));
}

std::unique_ptr<View> make_rerun_view() { return std::make_unique<RerunView>(); }

Result<Explanation> explain_upkeep(const QuerySpec& spec) {
  const auto query = compile_query(spec);
  if (!query) return tl::unexpected(query.error());
  Explanation explanation;
  std::set<std::string> tables;
  for (const CompiledSource& source : query->sources) tables.insert(source.table->name);
  explanation.tables.assign(tables.begin(), tables.end());
  if (!is_kept_incrementally(*query)) {
    explanation.upkeep = Explanation::Upkeep::rerun;
    explanation.reason = fmt::format(
        "The offset of {} is above {}: the rows before the window are not held in memory, so the query runs again "
        "after each change.",
        query->offset, kOffsetHeldMax);
    return explanation;
  }
  explanation.upkeep = Explanation::Upkeep::incremental;
  explanation.reason = fmt::format(
      "Each changed row is {}judged by the filter{}.",
      query->is_joined() ? "joined with the rows of the other tables, which are held by key, " : "",
      query->is_folded ? ", and added to and taken from the folds of its group"
      : query->limit   ? ", and put into or taken from the rows of the window and those after it, which are held"
                       : ", and put into or taken from the rows, which are held in order");
  return explanation;
}

}  // namespace nizhal
