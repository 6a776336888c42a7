// Results of queries that are kept up to date from changed rows, in memory: what a live query holds.
//
// A view is loaded with the rows of its source query at some commit, and then told of each commit's changed rows in
// order. It answers with the steps from its rows before to its rows now. It knows no storage: when what it holds is not
// enough (the window of a limit ran dry, a joined row is not known), it says so and is loaded again.
//
// The fact that must not break: its rows are what the query run from scratch at the same commit would give, and the
// steps lead there exactly.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <nizhal/live.hpp>
#include <nizhal/query.hpp>
#include <nizhal/result.hpp>
#include <nizhal/table.hpp>

namespace nizhal {

/// One row of a table before and after a commit; null: there was, or is, no such row.
struct TableChange {
  const TableDef* table = nullptr;
  const Row* before = nullptr;
  const Row* after = nullptr;
};

/// Rows of the tables at the commit whose changes are being applied.
class RowLookup {
 public:
  virtual ~RowLookup() = default;
  enum class Found { yes, no, unknown };  // unknown: only a later state can be read
  virtual Result<Found> find(const TableDef& table, const Value& key, Row& row) = 0;
};

class View : public RowSequence {
 public:
  using Steps = std::vector<RawChange>;
  /// What to run for `load`. Its rows are joined rows when the view does the folding itself.
  virtual const QuerySpec& source() const = 0;
  /// Replaces everything. `steps` lead from the rows of before; after an error those of before still stand.
  [[nodiscard]] virtual Result<void> load(std::vector<Row> rows, Steps& steps) = 0;
  enum class Applied {
    yes,
    needs_load,  // what was appended to `steps` holds; `load` goes on from there
  };
  /// The changes of one commit in the tables of the query. After an error it must be loaded.
  [[nodiscard]] virtual Result<Applied> apply(const std::vector<TableChange>& changes, RowLookup& lookup,
                                              Steps& steps) = 0;
};

/// The tables of `query` are those of the changes. Errors: those of compile_query.
[[nodiscard]] Result<std::unique_ptr<View>> make_view(const QuerySpec& query);
/// The result of anything, run again and compared by value.
std::unique_ptr<View> make_rerun_view();

/// How make_view keeps it.
[[nodiscard]] Result<Explanation> explain_upkeep(const QuerySpec& query);

}  // namespace nizhal
