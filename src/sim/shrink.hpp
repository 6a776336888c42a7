// A failing run made short: faults off, fewer devices, fewer actions, as long as the same oracle still complains.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "sim/options.hpp"
#include "sim/run.hpp"

namespace nizhal::sim {

/// Delta debugging (ddmin; Zeller and Hildebrandt, 2002): a part of `items`, in their order, that still fails, and of
/// which no single one can be left out; or what is left when `fails` gives up by answering false to everything.
std::vector<std::size_t> minimise(std::vector<std::size_t> items,
                                  const std::function<bool(const std::vector<std::size_t>&)>& fails);

/// The same actions in the plan of other options: their numbers there. An action is the same when it does the same with
/// the same stream of numbers, whatever was left out around it.
std::set<std::size_t> translate(const std::set<std::size_t>& numbers, const Options& from, const Options& to);

struct Shrunk {
  Options options;
  RunResult result;      // of them
  std::size_t runs = 0;  // that it took
};
struct ShrinkOptions {
  std::size_t runs_max = 200;
  std::function<void(const Shrunk& so_far)> on_progress = {};  // whenever it became shorter
};
/// `result` is what `options` gave, and has a violation.
Shrunk shrink(const Options& options, const RunResult& result, const std::function<RunResult(const Options&)>& run,
              const ShrinkOptions& how = {});

}  // namespace nizhal::sim
