// The status of a store as JSON and as a line of text.
#pragma once

#include <string>

#include <nizhal/store.hpp>

#include "base/json.hpp"

namespace nizhal::cli {

json::object status_as_json(const StoreStatus& status);
std::string status_as_line(const StoreStatus& status);

}  // namespace nizhal::cli
