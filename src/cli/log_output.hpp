// Logs of the binary: standard error only, as text for people or one JSON object a line.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/log.hpp"

namespace nizhal::cli {

struct LogOptions {
  std::string level;            // debug, info, warning, error; empty: the command's own
  std::string format = "text";  // text or json
};

/// Thread-safe.
LogSink make_log_sink(const LogOptions& options, LogLevel default_level);

/// The level of that name; info for anything else.
LogLevel parse_log_level(std::string_view name);

}  // namespace nizhal::cli
