// Real `nizhal` processes for tests: run one to its end, keep a server running, kill it with SIGKILL, start it again.
// The process itself is ChildProcess of src/process/child_process.hpp; this adds where the binary is and how it is
// called.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/reserved_port.hpp"
#include "process/child_process.hpp"

namespace nizhal::testing {

using process::ChildProcess;
using process::ExitStatus;
using process::Finished;
using process::SpawnOptions;

/// The secret that servers and tokens of the tests share.
inline constexpr std::string_view kTestSecret = "test-secret-of-32-bytes-or-more!";

/// Longer than any step takes, sanitizers and a busy machine included: reaching it is a failure, never a timing test.
inline constexpr std::chrono::milliseconds kPatience{120'000};

/// build/…/lib/lib<name>_domain.so
std::string domain_library(std::string_view name);

/// The environment of every call: the test secret, no variables of the developer's own.
SpawnOptions nizhal_environment();

/// Runs `nizhal arguments…` to its end. A binary that cannot be started or does not end is exit code -1 with the
/// reason in `err`.
Finished nizhal(std::vector<std::string> arguments, std::string_view input = {},
                const SpawnOptions& options = nizhal_environment());

/// Starts `nizhal arguments…`; aborts the test program when that is impossible.
std::unique_ptr<ChildProcess> start_nizhal(std::vector<std::string> arguments,
                                           const SpawnOptions& options = nizhal_environment());

/// A token of the test secret, from `nizhal token`.
std::string make_token(std::string_view user, std::string_view owner, std::string_view expires = "1h");

/// A real server process. Its port stays its own over restarts.
class ServerProcess {
 public:
  /// Waits until it listens. `db`: a PostgreSQL URL, or the path of a SQLite file. `extra` are further options of
  /// `nizhal serve`.
  ServerProcess(std::string_view domain, std::string db, std::vector<std::string> extra = {});

  /// "http://127.0.0.1:PORT"; empty when it did not come up (then `why()` says what it printed).
  const std::string& url() const { return url_; }
  std::uint16_t port() const { return port_.port(); }
  std::string why() const;
  /// Waits until it has said so on its standard error.
  bool says(std::string_view text) { return process_->wait_for_error(text, kPatience); }
  ChildProcess& process() { return *process_; }

  void kill();             // SIGKILL, and reaps it
  ExitStatus terminate();  // SIGTERM, and waits for the drained end
  bool start();            // again, on the same port and file; false when it did not come up

 private:
  const ReservedPort port_;
  std::string domain_, db_, url_;
  std::vector<std::string> extra_;
  std::unique_ptr<ChildProcess> process_;
};

/// One device in the terminal: `nizhal client --domain … --store … ARGUMENTS`, the token and server given each time
/// they are set.
struct ClientCommand {
  std::string domain = "notes";
  std::string store;
  std::string server;
  std::string token;
  std::vector<std::string> arguments(std::vector<std::string> command) const;
  Finished run(std::vector<std::string> command, std::string_view input = {}) const;
};

}  // namespace nizhal::testing
