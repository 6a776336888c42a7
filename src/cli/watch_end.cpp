#include "cli/watch_end.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "cli/client_command.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kEnough = SIGUSR1;  // from this process to itself

sigset_t end_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, kEnough}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

void keep_signals_for_watch() {
  const sigset_t signals = end_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

bool wait_for_end(std::optional<milliseconds> limit) {
  const sigset_t signals = end_signals();
  int signal = 0;
  if (!limit) {
    while (sigwait(&signals, &signal) != 0) {
    }
    return true;
  }
  const auto end = steady_clock::now() + *limit;
  for (;;) {
    const auto rest = std::max(std::chrono::ceil<milliseconds>(end - steady_clock::now()), milliseconds(0));
    timespec time{};
    time.tv_sec = static_cast<std::time_t>(rest.count() / 1000);
    time.tv_nsec = static_cast<long>(rest.count() % 1000) * 1'000'000;
    if (sigtimedwait(&signals, nullptr, &time) > 0) return true;
    if (errno == EAGAIN) return false;
  }
}

void end_watch() { ::kill(::getpid(), kEnough); }

void WatchLines::print(std::string_view line) {
  if (count_ > 0 && printed_ >= count_) return;
  print_line(line);
  if (++printed_ == count_) end_watch();
}

}  // namespace nizhal::cli
