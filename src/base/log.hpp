// Logging as a value that is handed in: no global logger. Messages are complete sentences or "what: detail";
// never SQL parameters, tokens, query strings or row data.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace nizhal {

enum class LogLevel { debug, info, warning, error };
const char* to_string(LogLevel level);

/// Must be thread-safe. `area` is the stage: "push", "pull", "poke", "storage", …
using LogSink = std::function<void(LogLevel level, std::string_view area, std::string_view message)>;

class Log {
 public:
  Log() = default;  // silent
  explicit Log(LogSink sink) : sink_(std::move(sink)) {}
  void write(LogLevel level, std::string_view area, std::string_view message) const {
    if (sink_) sink_(level, area, message);
  }
  void debug(std::string_view area, std::string_view message) const { write(LogLevel::debug, area, message); }
  void info(std::string_view area, std::string_view message) const { write(LogLevel::info, area, message); }
  void warning(std::string_view area, std::string_view message) const { write(LogLevel::warning, area, message); }
  void error(std::string_view area, std::string_view message) const { write(LogLevel::error, area, message); }

 private:
  LogSink sink_;
};

}  // namespace nizhal
