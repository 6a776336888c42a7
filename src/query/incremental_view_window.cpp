#include "query/incremental_view_window.hpp"

#include <algorithm>
#include <limits>

#include "query/row_diff.hpp"

namespace nizhal {
namespace {

constexpr std::size_t kNoEnd = std::numeric_limits<std::size_t>::max();
/// Rows held behind a window at least: running the query again is paid for by so many removals.
constexpr std::size_t kSlackRowsMin = 500;

std::size_t sum(std::size_t left, std::size_t right) { return left > kNoEnd - right ? kNoEnd : left + right; }

}  // namespace

ResultWindow::ResultWindow(RowOrder order, std::size_t offset, std::optional<std::size_t> limit)
    : order_(order), first_(offset), end_(limit ? sum(offset, *limit) : kNoEnd), held_(std::move(order)) {
  if (end_ != kNoEnd) capacity_ = sum(end_, std::max(end_, kSlackRowsMin));
}

std::size_t ResultWindow::size() const {
  const std::size_t held = held_.size();
  return std::min(held, end_) - std::min(held, first_);
}

void ResultWindow::load(std::vector<Row> sorted, std::vector<RawChange>& steps) {
  const RowPointers before = held_.rows(first_, size());
  RowPointers after;
  for (std::size_t i = first_; i < std::min(sorted.size(), end_); ++i) after.push_back(&sorted[i]);
  diff_ordered(order_, before, after, steps);
  bound_.reset();
  if (capacity_ && sorted.size() >= *capacity_) {
    sorted.resize(*capacity_);
    bound_ = sorted.back();
  }
  held_.assign(std::move(sorted));
}

bool ResultWindow::change(const Row* before, const Row* after, std::vector<RawChange>& steps) {
  Edit edit;
  const std::size_t size_before = held_.size();
  if (before && (!bound_ || order_(*before, *bound_) <= 0)) {
    const auto place = held_.find(*before);
    if (!place.is_found) return false;
    edit.from = place.index;
  }
  if (after && (!bound_ || order_(*after, *bound_) <= 0)) {
    const auto place = held_.find(*after);
    // The same row in the same place is the one that is about to go.
    if (place.is_found && place.index != edit.from) return false;
    edit.to = place.index - (edit.from && *edit.from < place.index ? 1 : 0);
  }
  const std::size_t size_after = size_before - (edit.from ? 1 : 0) + (edit.to ? 1 : 0);
  if (bound_ && size_after < end_) return false;

  const Row* last = size_before >= end_ && end_ > first_ ? &held_[end_ - 1] : nullptr;
  const bool drops_last = last && edit.to && *edit.to < end_ && !(edit.from && *edit.from < end_);
  const std::optional<Row> pushed_out = drops_last ? std::optional<Row>(*last) : std::nullopt;
  // A row before the window goes, and the window's first moves out in front of it.
  if (edit.from && *edit.from < first_ && size_before > first_) edit.gone = held_[first_];
  if (edit.from && edit.from == edit.to) {
    Row old = held_.replace(*edit.from, *after);
    if (*edit.from >= first_) edit.gone = std::move(old);
  } else {
    if (edit.from) {
      Row old = held_.erase(*edit.from);
      if (*edit.from >= first_) edit.gone = std::move(old);
    }
    if (edit.to) held_.insert(*edit.to, *after);
  }
  show(edit, size_before, pushed_out ? &*pushed_out : nullptr, steps);
  if (capacity_ && held_.size() / 2 > *capacity_) {
    held_.truncate(*capacity_);
    bound_ = held_[*capacity_ - 1];
  }
  return true;
}

void ResultWindow::show(const Edit& edit, std::size_t size_before, const Row* pushed_out,
                        std::vector<RawChange>& steps) const {
  if (first_ >= end_) return;
  const bool leaves = edit.from && *edit.from < end_;  // it, or the window's first in its stead
  const bool enters = edit.to && *edit.to < end_;
  if (leaves && enters && *edit.from < first_ && *edit.to < first_) return;
  if (leaves && enters && *edit.from == *edit.to) {
    steps.push_back({Step::updated, *edit.to - first_, held_[*edit.to]});
    return;
  }
  if (leaves) {
    const bool is_before = *edit.from < first_;
    if (!is_before || size_before > first_)
      steps.push_back({Step::removed, is_before ? 0 : *edit.from - first_, edit.gone});
  } else if (pushed_out) {
    steps.push_back({Step::removed, end_ - 1 - first_, *pushed_out});
  }
  const std::size_t size_after = held_.size();
  if (enters) {
    const std::size_t shown = std::max(*edit.to, first_);
    if (size_after > shown) steps.push_back({Step::inserted, shown - first_, held_[shown]});
  } else if (leaves && size_after >= end_) {
    steps.push_back({Step::inserted, end_ - 1 - first_, held_[end_ - 1]});
  }
}

}  // namespace nizhal
