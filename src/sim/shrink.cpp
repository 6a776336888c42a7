#include "sim/shrink.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>
#include <utility>

namespace nizhal::sim {

namespace {

using Items = std::vector<std::size_t>;

/// The part number `part` of `parts`, or all but it.
Items part_of(const Items& items, std::size_t part, std::size_t parts, bool is_complement) {
  const auto at = [&](std::size_t number) { return static_cast<std::ptrdiff_t>(items.size() * number / parts); };
  if (!is_complement) return {items.begin() + at(part), items.begin() + at(part + 1)};
  Items rest(items.begin(), items.begin() + at(part));
  rest.insert(rest.end(), items.begin() + at(part + 1), items.end());
  return rest;
}

class Shrinker {
 public:
  Shrinker(const Options& options, const RunResult& result, const std::function<RunResult(const Options&)>& run,
           const ShrinkOptions& how)
      : run_(run), how_(how), wanted_(*result.violation), best_{options, result, 0} {}

  Shrunk shrink() {
    drop_what_came_after();
    // Once without most actions, more faults and devices turn out to do nothing.
    for (int round = 0; round < 2; ++round) {
      drop_faults();
      drop_devices();
      drop_actions();
    }
    return best_;
  }

 private:
  bool is_over() const { return best_.runs >= how_.runs_max; }
  /// Keeps `candidate` when it fails in the same way.
  bool try_options(const Options& candidate) {
    if (is_over()) return false;
    ++best_.runs;
    RunResult result = run_(candidate);
    if (!result.violation || result.violation->kind != wanted_.kind || result.violation->oracle != wanted_.oracle)
      return false;
    best_.options = candidate;
    best_.result = std::move(result);
    if (how_.on_progress) how_.on_progress(best_);
    return true;
  }
  Options with_plan_of(Options changed) const {
    if (changed.only) changed.only = translate(*changed.only, best_.options, changed);
    return changed;
  }

  void drop_what_came_after() {
    Options candidate = best_.options;
    std::set<std::size_t> before;
    bool is_shorter = false;
    for (const Action& action : draw_plan(candidate).actions) {
      if (candidate.only && !candidate.only->contains(action.number)) continue;
      if (action.at <= wanted_.at)
        before.insert(action.number);
      else
        is_shorter = true;
    }
    if (!is_shorter) return;
    candidate.only = std::move(before);
    try_options(candidate);
  }
  void drop_faults() {
    std::vector<Fault> faults;
    for (const auto& [fault, rate] : best_.options.faults) faults.push_back(fault);
    if (faults.empty()) return;
    Options none = best_.options;
    none.faults.clear();
    if (try_options(with_plan_of(none))) return;
    for (const Fault fault : faults) {
      Options candidate = best_.options;
      candidate.faults.erase(fault);
      try_options(with_plan_of(candidate));
    }
  }
  void drop_devices() {
    while (best_.options.devices > 1) {
      Options candidate = best_.options;
      --candidate.devices;
      if (!try_options(with_plan_of(candidate))) break;
    }
  }
  void drop_actions() {
    Items numbers;
    if (best_.options.only) {
      numbers.assign(best_.options.only->begin(), best_.options.only->end());
    } else {
      numbers.resize(draw_plan(best_.options).actions.size());
      std::iota(numbers.begin(), numbers.end(), std::size_t{0});
    }
    minimise(std::move(numbers), [&](const Items& left) {
      Options candidate = best_.options;
      candidate.only.emplace(left.begin(), left.end());
      return try_options(candidate);
    });
  }

  const std::function<RunResult(const Options&)>& run_;
  const ShrinkOptions& how_;
  const Violation wanted_;
  Shrunk best_;
};

}  // namespace

std::vector<std::size_t> minimise(std::vector<std::size_t> items,
                                  const std::function<bool(const std::vector<std::size_t>&)>& fails) {
  if (items.empty() || fails({})) return {};
  std::size_t parts = 2;
  while (items.size() > 1) {
    bool is_shorter = false;
    // With two parts, one's rest is the other: looking at the parts alone tells all.
    for (const bool is_complement : {false, true}) {
      if (is_complement ? parts == 2 : parts > 2) continue;
      for (std::size_t part = 0; part < parts && !is_shorter; ++part) {
        Items candidate = part_of(items, part, parts, is_complement);
        if (!fails(candidate)) continue;
        items = std::move(candidate);
        parts = is_complement ? std::max<std::size_t>(parts - 1, 2) : 2;
        is_shorter = true;
      }
    }
    if (is_shorter) continue;
    if (parts >= items.size()) break;
    parts = std::min(parts * 2, items.size());
  }
  return items;
}

std::set<std::size_t> translate(const std::set<std::size_t>& numbers, const Options& from, const Options& to) {
  using Identity = std::pair<std::optional<Fault>, std::uint64_t>;
  std::set<Identity> wanted;
  for (const Action& action : draw_plan(from).actions)
    if (numbers.contains(action.number)) wanted.insert({action.fault, action.seed});
  std::set<std::size_t> found;
  for (const Action& action : draw_plan(to).actions)
    if (wanted.contains({action.fault, action.seed})) found.insert(action.number);
  return found;
}

Shrunk shrink(const Options& options, const RunResult& result, const std::function<RunResult(const Options&)>& run,
              const ShrinkOptions& how) {
  return Shrinker(options, result, run, how).shrink();
}

}  // namespace nizhal::sim
