// Which of the bugs of base/planted.hpp is planted in this process.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/planted.hpp"

namespace nizhal::canaries {

/// From now on; before anything of the engine runs. `Planted::nothing` takes it out again.
void plant(Planted bug);
/// As in base/planted.hpp, letter by letter.
std::string_view to_string(Planted bug);
std::optional<Planted> parse_planted(std::string_view name);
/// All but `nothing`.
std::vector<Planted> all_planted();

}  // namespace nizhal::canaries
