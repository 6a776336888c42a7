// The demo's world: a real server process and real device processes in one temporary directory. Every command that it
// runs, it prints first.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nizhal/result.hpp>

#include "process/child_process.hpp"

namespace nizhal::cli {

using process::ChildProcess;
using process::ExitStatus;
using process::Finished;
using process::run_process;
using process::SpawnOptions;

/// Non-zero balances by customer, in minor units.
using Balances = std::map<std::string, std::int64_t>;

struct DemoDevice {
  std::string letter;  // "A"
  std::string user;
  std::string store;  // file name in the directory
  std::string token;
};

class DemoWorld {
 public:
  /// Makes the directory and a random secret, and finds the binary and the ledger example beside it.
  static Result<std::unique_ptr<DemoWorld>> create();
  /// Ends the server and removes the directory.
  ~DemoWorld();

  /// A heading: "3  The network is gone".
  void step(const std::string& title);
  void say(const std::string& text);

  Result<void> start_server();
  Result<void> stop_server();
  bool server_runs();
  Result<DemoDevice> add_device(std::string letter, std::string user);

  /// Prints `A$ mutate …`, runs it, and prints what it says. The exit code must be `expected`.
  Result<Finished> run(const DemoDevice& device, const std::vector<std::string>& command, int expected = 0);
  /// The same without printing, with --json; for looking at what came of it.
  Result<std::string> look(const DemoDevice& device, const std::vector<std::string>& command);
  /// Starts `mutate -` and leaves it running.
  Result<std::unique_ptr<ChildProcess>> start_writer(const DemoDevice& device);

  Result<Balances> balances_on(const DemoDevice& device);
  /// From the server's own SQLite file.
  Result<Balances> balances_on_server();

  const std::string& url() const { return url_; }
  const std::filesystem::path& directory() const { return directory_; }
  /// A shell function of that name for `nizhal client` on the ledger example.
  std::string shell_function(const std::string& name) const;

 private:
  DemoWorld() = default;
  std::vector<std::string> client_arguments(const DemoDevice& device, const std::vector<std::string>& command) const;
  SpawnOptions client_environment(const DemoDevice& device) const;
  std::filesystem::path directory_;
  std::string program_, library_, secret_, url_, listen_ = "127.0.0.1:0";
  std::unique_ptr<ChildProcess> server_;
  int steps_ = 0;
};

/// The text in single quotes for a shell, or as it is when it needs none.
std::string shell_quoted(const std::string& text);

}  // namespace nizhal::cli
