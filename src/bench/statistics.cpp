#include "bench/statistics.hpp"

#include <algorithm>

namespace nizhal::bench {
namespace {

template <class Of>
double median_of(const std::vector<Round>& rounds, Of of) {
  std::vector<double> values;
  values.reserve(rounds.size());
  for (const Round& round : rounds) values.push_back(of(round));
  return median(std::move(values));
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Figure::value() const {
  return median_of(rounds, [](const Round& round) { return round.value; });
}
double Figure::limit() const {
  return median_of(rounds, [](const Round& round) { return round.limit; });
}
double Figure::ratio() const {
  return median_of(rounds, [](const Round& round) { return round.ratio(); });
}

}  // namespace nizhal::bench
