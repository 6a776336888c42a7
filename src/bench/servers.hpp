// The two server processes of the benchmarks: the sync server as it is deployed, with the benchmark's domain, and the
// same HTTP server with a constant answer and nothing behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace nizhal::bench {

struct ServerSettings {
  std::string db, secret;  // of the sync server
  std::size_t workers = 0;
  std::size_t body_bytes = 0;  // of the constant answer
  std::function<void(std::uint16_t port)> on_ready;
  std::function<void(std::string_view level, std::string_view area, std::string_view message)> log;
};

/// Serve until SIGTERM; the exit code.
int run_sync_server(const ServerSettings& settings);
int run_constant_server(const ServerSettings& settings);

}  // namespace nizhal::bench
