// `nizhal serve` as a real process on a free port, with an example's domain and a file of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/temp_dir.hpp"

namespace nizhal::testing {

class Process;

class ServerProcess {
 public:
  /// `example`: "notes" or "ledger". Waits until the server says where it listens; throws when it does not.
  explicit ServerProcess(std::string example, std::vector<std::string> more_arguments = {});
  ~ServerProcess();

  std::uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::string database() const { return directory_.file("server.db"); }
  bool is_running();
  void kill();           // SIGKILL, and waits
  int terminate();       // SIGTERM, waits, gives the exit code
  void start();          // again, on the same port and file

  /// A token that is valid for a day.
  std::string token(std::string_view user, std::string_view owner) const;
  /// Any payload, signed with the server's secret.
  static std::string sign(std::string_view payload);
  static std::string domain_library(std::string_view example);

 private:
  std::string example_;
  std::vector<std::string> more_arguments_;
  TempDir directory_;
  std::uint16_t port_ = 0;
  std::unique_ptr<Process> process_;
};

}  // namespace nizhal::testing
