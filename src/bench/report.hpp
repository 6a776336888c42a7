// Figures for machines and for people.
#pragma once

#include <string>
#include <vector>

#include "bench/statistics.hpp"

namespace nizhal::bench {

/// `[{"name","value","unit","limit","ratio","rounds","measured","settings"}]`: `rounds` is their number, `measured`
/// lists each round's value and limit.
std::string as_json(const std::vector<Figure>& figures);

/// One line per figure, aligned, then the settings that all of them share and those that only one has.
std::string as_table(const std::vector<Figure>& figures);

}  // namespace nizhal::bench
