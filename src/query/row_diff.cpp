#include "query/row_diff.hpp"

#include <algorithm>
#include <cstddef>
#include <map>

namespace nizhal {
namespace {

struct LessByValue {
  bool operator()(const Row* left, const Row* right) const { return *left < *right; }
};

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

/// For each row of `after` the row of `before` that it is: the n-th of several equal ones is the n-th.
std::vector<std::size_t> match(const RowPointers& before, const RowPointers& after) {
  std::map<const Row*, std::vector<std::size_t>, LessByValue> places;
  for (std::size_t i = before.size(); i > 0; --i) places[before[i - 1]].push_back(i - 1);
  std::vector<std::size_t> matched(after.size(), kNone);
  for (std::size_t i = 0; i < after.size(); ++i) {
    const auto it = places.find(after[i]);
    if (it == places.end() || it->second.empty()) continue;
    matched[i] = it->second.back();
    it->second.pop_back();
  }
  return matched;
}

/// Leaves only a longest run of matches that rises: those rows stay, the others move.
void keep_rising(std::vector<std::size_t>& matched) {
  std::vector<std::size_t> ends;  // ends[n]: where the best run of n + 1 matches ends
  std::vector<std::size_t> previous(matched.size(), kNone);
  for (std::size_t i = 0; i < matched.size(); ++i) {
    if (matched[i] == kNone) continue;
    const auto at = std::lower_bound(ends.begin(), ends.end(), matched[i],
                                     [&](std::size_t end, std::size_t value) { return matched[end] < value; });
    if (at != ends.begin()) previous[i] = *(at - 1);
    if (at == ends.end()) {
      ends.push_back(i);
    } else {
      *at = i;
    }
  }
  std::vector<bool> stays(matched.size(), false);
  for (std::size_t i = ends.empty() ? kNone : ends.back(); i != kNone; i = previous[i]) stays[i] = true;
  for (std::size_t i = 0; i < matched.size(); ++i)
    if (!stays[i]) matched[i] = kNone;
}

}  // namespace

void diff_ordered(const RowOrder& order, const RowPointers& before, const RowPointers& after,
                  std::vector<RawChange>& steps) {
  std::size_t old = 0;
  std::size_t now = 0;  // also the place in the list as it is after the steps so far
  while (old < before.size() || now < after.size()) {
    const auto ordering = old == before.size()  ? std::strong_ordering::greater
                          : now == after.size() ? std::strong_ordering::less
                                                : order(*before[old], *after[now]);
    if (ordering < 0) {
      steps.push_back({Step::removed, now, *before[old++]});
      continue;
    }
    if (ordering > 0) {
      steps.push_back({Step::inserted, now, *after[now]});
    } else {
      if (*before[old] != *after[now]) steps.push_back({Step::updated, now, *after[now]});
      ++old;
    }
    ++now;
  }
}

void diff_by_value(const RowPointers& before, const RowPointers& after, std::vector<RawChange>& steps) {
  auto matched = match(before, after);
  keep_rising(matched);
  // How far the old rows are free to go: up to the next one that stays.
  std::vector<std::size_t> until(after.size() + 1, before.size());
  for (std::size_t i = after.size(); i > 0; --i) until[i - 1] = matched[i - 1] == kNone ? until[i] : matched[i - 1];
  std::size_t old = 0;
  for (std::size_t now = 0; now <= after.size(); ++now) {
    if (now < after.size() && matched[now] == kNone) {
      const bool takes_a_place = old < until[now];
      if (!takes_a_place) {
        steps.push_back({Step::inserted, now, *after[now]});
      } else if (*before[old++] != *after[now]) {
        steps.push_back({Step::updated, now, *after[now]});
      }
      continue;
    }
    for (; old < until[now]; ++old) steps.push_back({Step::removed, now, *before[old]});
    ++old;
  }
}

}  // namespace nizhal
