// The last part of an incremental view: result rows in the query's order, of which a limit shows a window.
//
// Without a limit all rows are held. With one, the first rows up to a bound are: the window and some after it, so that
// rows that leave the window are replaced from memory; only when those are used up the query has to be run again.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <nizhal/live.hpp>

#include "query/ordered_rows.hpp"

namespace nizhal {

class ResultWindow {
 public:
  ResultWindow(RowOrder order, std::size_t offset, std::optional<std::size_t> limit);

  std::size_t size() const;
  const Row& row(std::size_t index) const { return held_[first_ + index]; }
  /// How many rows `load` wants; nothing: all.
  std::optional<std::size_t> capacity() const { return capacity_; }

  /// The first `capacity` rows of the result without its limit, in order; fewer are all there are.
  void load(std::vector<Row> sorted, std::vector<RawChange>& steps);
  /// One result row before and now; null: there was, or is, none. False: nothing was done, it must be loaded.
  [[nodiscard]] bool change(const Row* before, const Row* after, std::vector<RawChange>& steps);

 private:
  struct Edit {
    std::optional<std::size_t> from;  // of the held rows, before the edit
    std::optional<std::size_t> to;    // of the held rows, after it
    Row gone;                         // from `from`
  };
  void show(const Edit& edit, std::size_t size_before, const Row* pushed_out, std::vector<RawChange>& steps) const;

  RowOrder order_;
  std::size_t first_;                    // of the held rows that is shown
  std::size_t end_;                      // behind the last
  std::optional<std::size_t> capacity_;  // nothing: all rows are held
  OrderedRows held_;
  std::optional<Row> bound_;  // rows up to this one are held; nothing: all are
};

}  // namespace nizhal
