// A run's result as one line of JSON, on its way from the process that made it. The history's lines go their own way.
#pragma once

#include <string>
#include <string_view>

#include <nizhal/result.hpp>

#include "sim/run.hpp"

namespace nizhal::sim {

const char* to_string(Violation::Kind kind);

std::string encode_result(const RunResult& result);
Result<RunResult> decode_result(std::string_view text);

}  // namespace nizhal::sim
