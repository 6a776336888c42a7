#include "sim/run_processes.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/environment.hpp"
#include "sim/disk/simulation_folder.hpp"
#include "sim/run_codec.hpp"

namespace nizhal::sim {

namespace {

constexpr std::size_t kLinesKept = 200;

/// Each line of a child: a letter that says what it is, and its text.
constexpr char kHistory = 'h', kResult = 'r';

void write_line(int pipe, char kind, std::string_view text) {
  std::string line(1, kind);
  for (const char c : text) line += c == '\n' ? ' ' : c;
  line += '\n';
  for (std::size_t done = 0; done < line.size();) {
    const auto written = ::write(pipe, line.data() + done, line.size() - done);
    if (written < 0 && errno != EINTR) ::_exit(1);  // nobody listens any more
    if (written > 0) done += static_cast<std::size_t>(written);
  }
}

RunResult crashed(std::string what) {
  RunResult result;
  result.violation = Violation{Violation::Kind::crash, "process", std::move(what), {}};
  return result;
}

}  // namespace

struct RunProcesses::Child {
  pid_t pid = -1;
  int pipe = -1;
  std::optional<SimulationFolder> folder;
  std::chrono::microseconds deadline{0};
  std::size_t lines_kept = kLinesKept;
  std::string unread;
  std::deque<std::string> lines;
  std::optional<RunResult> result;

  void take_lines() {
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = unread.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string_view text = std::string_view(unread).substr(begin + 1, end - begin - 1);
      if (unread[begin] == kResult) {
        auto decoded = decode_result(text);
        result = decoded ? std::move(*decoded) : crashed("its result cannot be read: " + decoded.error().message);
      } else {
        lines.emplace_back(text);
        if (lines.size() > lines_kept) lines.pop_front();
      }
    }
    unread.erase(0, begin);
  }
  void close_pipe() {
    if (pipe >= 0) ::close(pipe);
    pipe = -1;
  }
  /// Ends what is left of it.
  int wait() {
    close_pipe();
    int status = 0;
    while (pid > 0 && ::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    pid = -1;
    return status;
  }
};

RunProcesses::RunProcesses(Setup setup) : setup_(std::move(setup)) {}

RunProcesses::~RunProcesses() {
  for (const auto& child : children_) child->wait();
}

void RunProcesses::start(const Options& options, Lines lines) {
  auto child = std::make_unique<Child>();
  if (lines == Lines::all) child->lines_kept = static_cast<std::size_t>(-1);
  auto folder = SimulationFolder::make();
  int ends[2] = {-1, -1};
  if (!folder) {
    child->result = crashed(folder.error().message);
  } else if (::pipe(ends) != 0) {
    child->result = crashed(fmt::format("no pipe: {}", std::strerror(errno)));
  } else {
    child->folder.emplace(std::move(*folder));
    std::fflush(nullptr);  // what is not printed yet would be printed twice
    child->pid = ::fork();
    if (child->pid == 0) {
      ::close(ends[0]);
      // A signal from the terminal goes to the whole group: the run ends by itself, and its folder goes with it.
      ::signal(SIGINT, SIG_IGN);
      ::signal(SIGPIPE, SIG_IGN);
      RunResult result;
      try {
        result = run_once(setup_.domain, options, setup_.make_workload,
                          {.folder = child->folder->path(), .on_line = [&](std::string_view line) {
                             write_line(ends[1], kHistory, line);
                             if (!options.trace) return;
                             fmt::print("{}\n", line);
                             std::fflush(stdout);
                           }});
      } catch (const std::exception& exception) {
        result = crashed(fmt::format("an exception: {}", exception.what()));
      }
      write_line(ends[1], kResult, encode_result(result));
      ::_exit(0);
    }
    ::close(ends[1]);
    child->pipe = ends[0];
    child->deadline = system_clock().monotonic() + setup_.patience;
    if (child->pid < 0) {
      child->close_pipe();
      child->result = crashed(fmt::format("no process: {}", std::strerror(errno)));
    }
  }
  children_.push_back(std::move(child));
}

void RunProcesses::read(bool waits) {
  std::vector<pollfd> polled;
  std::vector<Child*> whose;
  for (const auto& child : children_) {
    if (child->pipe < 0) continue;
    polled.push_back({child->pipe, POLLIN, 0});
    whose.push_back(child.get());
  }
  if (polled.empty() || ::poll(polled.data(), polled.size(), waits ? 1'000 : 0) <= 0) return;
  for (std::size_t i = 0; i < polled.size(); ++i) {
    if (polled[i].revents == 0) continue;
    char bytes[65536];
    const auto count = ::read(polled[i].fd, bytes, sizeof bytes);
    if (count > 0) {
      whose[i]->unread.append(bytes, static_cast<std::size_t>(count));
      whose[i]->take_lines();
    } else if (count == 0 || errno != EINTR) {
      whose[i]->close_pipe();
    }
  }
}

RunResult RunProcesses::take() {
  const std::size_t at_first = 0;
  Child& child = *children_[at_first];
  bool is_stuck = false;
  while (child.pipe >= 0 && !is_stuck) {
    read(true);
    is_stuck = child.pipe >= 0 && system_clock().monotonic() > child.deadline;
  }
  if (is_stuck) ::kill(child.pid, SIGKILL);
  const int status = child.wait();
  if (!child.result || is_stuck) {
    child.result =
        crashed(is_stuck ? fmt::format("it did not end within {} s", setup_.patience.count())
                : WIFSIGNALED(status)
                    ? fmt::format("it ended by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)))
                    : fmt::format("it ended with code {} and no result", WEXITSTATUS(status)));
    if (is_stuck) child.result->violation->kind = Violation::Kind::liveness;
  }
  RunResult result = std::move(*child.result);
  result.last_lines.assign(child.lines.begin(), child.lines.end());
  children_.pop_front();
  return result;
}

}  // namespace nizhal::sim
