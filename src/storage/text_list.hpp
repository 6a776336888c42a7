// Lists of texts as the engine's own tables hold them: a JSON array of strings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nizhal::storage {

std::string texts_to_json(const std::vector<std::string>& texts);
/// What is no such array is an empty list.
std::vector<std::string> texts_from_json(std::string_view text);

}  // namespace nizhal::storage
