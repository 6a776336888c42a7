// The server of docs/first-app.md. Usage: first_app_server [PORT] [FILE]
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include <nizhal/server.hpp>

#include "tasks.hpp"

int main(int argc, char** argv) {
  const char* secret = std::getenv("NIZHAL_JWT_SECRET");
  if (secret == nullptr) {
    std::cerr << "set NIZHAL_JWT_SECRET to a secret of at least 16 bytes\n";
    return 2;
  }
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 4000);
  const char* file = argc > 2 ? argv[2] : "tasks-server.db";

  nizhal::Server server({.domain = tasks::domain(),
                         .storage = nizhal::sqlite_storage(file),
                         .auth = nizhal::bearer_token_auth({.secret = secret}),
                         .log = [](std::string_view level, std::string_view area, std::string_view message) {
                           std::clog << level << " " << area << ": " << message << "\n";
                         }});
  return server.listen({.host = "127.0.0.1", .port = port, .on_ready = [](std::uint16_t bound) {
                          std::cout << "listening on http://127.0.0.1:" << bound << std::endl;
                        }});
}
