// See child_process.hpp. posix_spawn rather than fork, because the caller may have threads.
#include "process/child_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

extern char** environ;

namespace nizhal::process {

namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  int read = -1, write = -1;
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    if (read >= 0) ::close(read);
    if (write >= 0) ::close(write);
  }
  bool open() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
};

std::vector<std::string> merged_environment(const SpawnOptions& options) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      variables.emplace(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
  }
  for (const auto& [name, value] : options.environment) variables[name] = value;
  std::vector<std::string> entries;
  for (const auto& [name, value] : variables) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

struct ChildProcess::State {
  pid_t pid = -1;
  std::optional<ExitStatus> status;
  Pipe input, output, errors;
  std::array<int, 2> stop{-1, -1};  // writing to it ends the reader, after what is in the pipes then

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::string out, err;
  std::size_t taken = 0;  // bytes of `out` that next_line has handed out
  bool ended = false;     // both pipes are at their end
  std::thread reader;

  ~State() {
    for (const int end : stop)
      if (end >= 0) ::close(end);
  }

  // Returns false at the end of the pipe.
  bool take(int descriptor, std::string State::*text) {
    std::array<char, 16384> buffer{};
    const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) return true;
    if (count <= 0) return false;
    const std::lock_guard lock(mutex);
    (this->*text).append(buffer.data(), static_cast<std::size_t>(count));
    changed.notify_all();
    return true;
  }

  // No more than is in the pipe now: a grandchild may go on writing for ever.
  void take_present(int descriptor, std::string State::*text) {
    int bytes = 0;
    if (descriptor < 0 || ::ioctl(descriptor, FIONREAD, &bytes) != 0) return;
    for (std::size_t before = (this->*text).size(); bytes > 0 && take(descriptor, text);) {
      bytes -= static_cast<int>((this->*text).size() - before);
      before = (this->*text).size();
    }
  }

  void end_reading() { [[maybe_unused]] const ssize_t woken = ::write(stop[1], "x", 1); }

  void read_all() {
    std::array<pollfd, 3> watched{pollfd{output.read, POLLIN, 0}, pollfd{errors.read, POLLIN, 0},
                                  pollfd{stop[0], POLLIN, 0}};
    while (watched[0].fd >= 0 || watched[1].fd >= 0) {
      if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) break;
      if (watched[2].revents != 0) {
        take_present(watched[0].fd, &State::out);
        take_present(watched[1].fd, &State::err);
        break;
      }
      if (watched[0].fd >= 0 && watched[0].revents != 0 && !take(output.read, &State::out)) watched[0].fd = -1;
      if (watched[1].fd >= 0 && watched[1].revents != 0 && !take(errors.read, &State::err)) watched[1].fd = -1;
    }
    const std::lock_guard lock(mutex);
    ended = true;
    changed.notify_all();
  }
};

ChildProcess::ChildProcess() : state_(std::make_unique<State>()) {}

Result<std::unique_ptr<ChildProcess>> ChildProcess::spawn(std::vector<std::string> arguments,
                                                          const SpawnOptions& options) {
  if (arguments.empty()) return failure(ErrorCode::usage, "spawn: no program was named");
  std::unique_ptr<ChildProcess> child(new ChildProcess());
  State& state = *child->state_;
  if (!state.input.open() || !state.output.open() || !state.errors.open() || ::pipe2(state.stop.data(), O_CLOEXEC) != 0)
    return failure(ErrorCode::io_error, fmt::format("pipes for {}: {}", arguments[0], std::strerror(errno)));

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, state.input.read, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, state.output.write, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, state.errors.write, STDERR_FILENO);
  // Nothing else of ours: a connection that we end would stay open in the child.
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  if (!options.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());

  // The child begins with default signals, whatever this process blocks or ignores.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  if (options.bears_file_limit) {
    // An ignored signal stays ignored over the exec, unless it is reset there.
    ::signal(SIGXFSZ, SIG_IGN);
    sigdelset(&all, SIGXFSZ);
  }
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (options.own_group) {
    posix_spawnattr_setpgroup(&attributes, 0);
    flags |= POSIX_SPAWN_SETPGROUP;
  }
  posix_spawnattr_setflags(&attributes, static_cast<short>(flags));

  std::vector<std::string> environment = merged_environment(options);
  const std::string program = arguments[0];
  const int error = ::posix_spawn(&state.pid, program.c_str(), &actions, &attributes, pointers(arguments).data(),
                                  pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    state.pid = -1;
    return failure(ErrorCode::io_error, fmt::format("cannot start {}: {}", program, std::strerror(error)));
  }
  ::close(std::exchange(state.input.read, -1));
  ::close(std::exchange(state.output.write, -1));
  ::close(std::exchange(state.errors.write, -1));
  state.reader = std::thread([&state] { state.read_all(); });
  return child;
}

ChildProcess::~ChildProcess() {
  if (state_->pid > 0 && !state_->status) {
    ::kill(state_->pid, SIGKILL);
    int ignored = 0;
    while (::waitpid(state_->pid, &ignored, 0) < 0 && errno == EINTR) {
    }
  }
  if (state_->reader.joinable()) {
    // A grandchild may still hold the pipes open: the reader must not wait for it.
    state_->end_reading();
    state_->reader.join();
  }
}

pid_t ChildProcess::pid() const { return state_->pid; }

std::optional<std::string> ChildProcess::next_line(std::chrono::milliseconds timeout) {
  std::unique_lock lock(state_->mutex);
  const auto deadline = Clock::now() + timeout;
  while (true) {
    const std::size_t newline = state_->out.find('\n', state_->taken);
    if (newline != std::string::npos) {
      std::string line = state_->out.substr(state_->taken, newline - state_->taken);
      state_->taken = newline + 1;
      return line;
    }
    if (state_->ended) {
      if (state_->taken >= state_->out.size()) return std::nullopt;
      return state_->out.substr(std::exchange(state_->taken, state_->out.size()));
    }
    if (state_->changed.wait_until(lock, deadline) == std::cv_status::timeout && Clock::now() >= deadline)
      return std::nullopt;
  }
}

std::optional<std::string> ChildProcess::wait_for_line(std::string_view text, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    auto line = next_line(std::max(left, std::chrono::milliseconds(0)));
    if (!line || line->find(text) != std::string::npos) return line;
  }
}

bool ChildProcess::wait_for_error(std::string_view text, std::chrono::milliseconds timeout) {
  std::unique_lock lock(state_->mutex);
  const auto has_said = [&] { return state_->err.find(text) != std::string::npos; };
  state_->changed.wait_for(lock, timeout, [&] { return has_said() || state_->ended; });
  return has_said();
}

bool ChildProcess::write(std::string_view text) {
  // A child that is gone must be an answer, not a SIGPIPE in this process.
  sigset_t pipe_signal, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  bool written = state_->input.write >= 0;
  while (written && !text.empty()) {
    const ssize_t count = ::write(state_->input.write, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      if (errno == EPIPE) {
        const timespec at_once{};
        sigtimedwait(&pipe_signal, nullptr, &at_once);
      }
      written = false;
    } else {
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return written;
}

void ChildProcess::close_input() {
  if (state_->input.write >= 0) ::close(std::exchange(state_->input.write, -1));
}

void ChildProcess::signal(int number) {
  if (state_->pid > 0 && !state_->status) ::kill(state_->pid, number);
}

std::optional<ExitStatus> ChildProcess::wait(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  // The pipes end when the child does, so waiting for them costs no polling; a grandchild that keeps them open is
  // what the second look is for.
  while (!state_->status) {
    int raw = 0;
    const pid_t result = ::waitpid(state_->pid, &raw, WNOHANG);
    if (result == state_->pid) {
      state_->status = WIFEXITED(raw) ? ExitStatus{WEXITSTATUS(raw), 0} : ExitStatus{-1, WTERMSIG(raw)};
      break;
    }
    const auto now = Clock::now();
    if (now >= deadline) return std::nullopt;
    std::unique_lock lock(state_->mutex);
    if (state_->ended) {
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } else {
      state_->changed.wait_until(lock, std::min(deadline, now + std::chrono::milliseconds(100)));
    }
  }
  // Whatever it wrote is in the pipes by now, and no time need be left for reading it.
  state_->end_reading();
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return state_->ended; });
  return state_->status;
}

Result<void> ChildProcess::limit_files(std::optional<std::uint64_t> bytes) {
  // The hard limit stays: only the soft one can be lifted again by an ordinary user.
  rlimit limit{};
  if (state_->pid > 0 && !state_->status && ::prlimit(state_->pid, RLIMIT_FSIZE, nullptr, &limit) == 0) {
    limit.rlim_cur = bytes ? std::min<rlim_t>(*bytes, limit.rlim_max) : limit.rlim_max;
    if (::prlimit(state_->pid, RLIMIT_FSIZE, &limit, nullptr) == 0) return {};
  }
  return failure(ErrorCode::io_error,
                 fmt::format("limiting the files of process {}: {}", state_->pid, std::strerror(errno)));
}

std::string ChildProcess::out() const {
  const std::lock_guard lock(state_->mutex);
  return state_->out;
}

std::string ChildProcess::err() const {
  const std::lock_guard lock(state_->mutex);
  return state_->err;
}

Result<Finished> run_process(std::vector<std::string> arguments, const SpawnOptions& options, std::string_view input,
                             std::chrono::milliseconds timeout) {
  auto child = ChildProcess::spawn(std::move(arguments), options);
  if (!child) return tl::unexpected(child.error());
  ChildProcess& process = **child;
  if (!input.empty()) process.write(input);
  process.close_input();
  Finished finished;
  auto status = process.wait(timeout);
  if (!status) {
    finished.timed_out = true;
    process.signal(SIGKILL);
    status = process.wait(std::chrono::seconds(10));
  }
  if (status) finished.status = *status;
  finished.out = process.out();
  finished.err = process.err();
  return finished;
}

}  // namespace nizhal::process
