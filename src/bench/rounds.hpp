// How every benchmark is measured: the engine and its limit, taking turns.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include <nizhal/result.hpp>

#include "bench/benchmarks.hpp"

namespace nizhal::bench {

/// Measures one side for a while, in units per second.
using Side = std::function<Result<double>(std::chrono::seconds duration)>;

/// Round by round, each side first in every other one, after a short run of both that is not counted.
Result<void> measure_rounds(Figure& figure, const Options& options, const Outside& outside, const Side& engine,
                            const Side& limit);

/// `closed` when the user asked to end.
Result<void> go_on(const Outside& outside);

/// A directory that is new and goes away.
class Directory {
 public:
  Directory();
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  /// Empty when there is none.
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace nizhal::bench
