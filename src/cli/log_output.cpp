// See log_output.hpp.
#include "cli/log_output.hpp"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>

#include <nizhal/value.hpp>

#include "base/environment.hpp"
#include "base/json.hpp"

namespace nizhal::cli {

namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    default:
      return spdlog::level::info;
  }
}

std::string json_line(LogLevel level, std::string_view area, std::string_view message) {
  std::string line = "{\"time\":";
  append_json_string(line, to_iso8601(system_clock().now()));
  line += ",\"level\":";
  append_json_string(line, to_string(level));
  line += ",\"area\":";
  append_json_string(line, area);
  line += ",\"message\":";
  append_json_string(line, message);
  line += '}';
  return line;
}

}  // namespace

LogLevel parse_log_level(std::string_view name) {
  if (name == "debug") return LogLevel::debug;
  if (name == "warning") return LogLevel::warning;
  if (name == "error") return LogLevel::error;
  return LogLevel::info;
}

LogSink make_log_sink(const LogOptions& options, LogLevel default_level) {
  const auto logger =
      std::make_shared<spdlog::logger>("nizhal", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_level(spdlog_level(options.level.empty() ? default_level : parse_log_level(options.level)));
  logger->flush_on(spdlog::level::trace);
  const bool as_json = options.format == "json";
  logger->set_pattern(as_json ? "%v" : "%H:%M:%S.%e %^%-7l%$ %v");
  return [logger, as_json](LogLevel level, std::string_view area, std::string_view message) {
    if (!logger->should_log(spdlog_level(level))) return;
    const std::string line = as_json ? json_line(level, area, message) : fmt::format("{}: {}", area, message);
    // The text is data, never a format string.
    logger->log(spdlog_level(level), "{}", line);
  };
}

}  // namespace nizhal::cli
