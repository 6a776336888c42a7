// A child process with pipes on its three streams: the demo and the chaos scenarios play servers and devices with it,
// and the tests that kill real processes use it too. The fact that must not break: no child outlives its ChildProcess,
// and none holds a file or connection of this process open.
//
// Threads: one reader thread per child empties both pipes, so a child never blocks on its output; the members may be
// called from any thread, `wait` and `signal` from one at a time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>

namespace nizhal::process {

struct SpawnOptions {
  std::vector<std::pair<std::string, std::string>> environment{};  // added to this process's own, or replacing it
  std::string directory{};                                         // empty: this process's
  bool own_group = false;  // its own process group: a Ctrl-C at the terminal does not reach it
  /// A write beyond a limit on file sizes fails for it, as on a full disk; else the limit's signal ends it.
  bool bears_file_limit = false;
};

struct ExitStatus {
  int code = -1;   // -1 when a signal ended it
  int signal = 0;  // 0 when it ended by itself
  bool operator==(const ExitStatus&) const = default;
};

class ChildProcess {
 public:
  /// `arguments[0]` is the program's path. Errors: io_error, naming the program and the reason.
  static Result<std::unique_ptr<ChildProcess>> spawn(std::vector<std::string> arguments,
                                                     const SpawnOptions& options = {});
  /// Kills it with SIGKILL if it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const;

  /// The next line of standard output not yet taken, without its newline; nothing when the output ended or the time
  /// ran out first.
  std::optional<std::string> next_line(std::chrono::milliseconds timeout);
  /// Takes lines until one contains `text`.
  std::optional<std::string> wait_for_line(std::string_view text, std::chrono::milliseconds timeout);
  /// Until its standard error has said `text`, now or before; takes nothing. False when it ended, or the time ran out,
  /// without that.
  bool wait_for_error(std::string_view text, std::chrono::milliseconds timeout);

  /// False when the child no longer reads.
  bool write(std::string_view text);
  void close_input();

  /// SIGKILL, SIGTERM, …; does nothing once the child has been waited for.
  void signal(int number);
  /// Waits for the end; all that it wrote is in `out` and `err` then. Nothing when the time ran out. Safe to call
  /// again.
  std::optional<ExitStatus> wait(std::chrono::milliseconds timeout);

  /// From now on its files may grow to so many bytes; nothing: as far as the disk goes. See bears_file_limit.
  Result<void> limit_files(std::optional<std::uint64_t> bytes);

  /// All output so far.
  std::string out() const;
  std::string err() const;

 private:
  ChildProcess();
  struct State;
  std::unique_ptr<State> state_;
};

struct Finished {
  ExitStatus status;
  bool timed_out = false;  // it was killed because the time ran out
  std::string out, err;
};

/// Runs a program to its end with `input` on its standard input.
Result<Finished> run_process(std::vector<std::string> arguments, const SpawnOptions& options = {},
                             std::string_view input = {}, std::chrono::milliseconds timeout = std::chrono::minutes(2));

}  // namespace nizhal::process
