// Figures from interleaved rounds. A machine is shared and noisy, so an absolute number says little: each round runs
// the benchmark and its limit one after the other, and the ratio is taken within the round.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace nizhal::bench {

/// The middle one, or the mean of the two in the middle; 0 when there are none.
double median(std::vector<double> values);

struct Round {
  double value = 0;  // of the engine
  double limit = 0;  // of what stands beside it
  double ratio() const { return limit > 0 ? value / limit : 0; }
};

/// What a benchmark says at the end.
struct Figure {
  std::string name;  // "push"
  std::string unit;  // "mutations/s"
  std::vector<Round> rounds = {};
  /// What was measured and with which settings that matter, in order.
  std::vector<std::pair<std::string, std::string>> settings = {};

  double value() const;  // medians over the rounds
  double limit() const;
  double ratio() const;  // the median of the rounds' ratios
};

}  // namespace nizhal::bench
