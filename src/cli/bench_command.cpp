// `nizhal bench`: the engine's speed beside its physical limits. It starts the servers as processes of their own, the
// server on one core and the load on another where there are two, and ends them.
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/environment.hpp"
#include "base/json.hpp"
#include "bench/benchmarks.hpp"
#include "bench/report.hpp"
#include "bench/servers.hpp"
#include "cli/command.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/variables.hpp"
#include "process/child_process.hpp"

namespace nizhal::cli {

using process::ChildProcess;
using process::ExitStatus;

namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;
constexpr std::chrono::seconds kPatience{30};
constexpr const char* kServerCommand = "bench-server";

/// One core for the servers and one for the load, so that neither waits for the other; PostgreSQL's processes are not
/// ours to place.
class Cores {
 public:
  Cores() {
    CPU_ZERO(&all_);
    if (::sched_getaffinity(0, sizeof all_, &all_) != 0) return;
    for (int core = 0; core < CPU_SETSIZE && found_.size() < 2; ++core)
      if (CPU_ISSET(core, &all_)) found_.push_back(core);
    if (are_apart()) use(found_[1]);
  }
  ~Cores() {
    if (are_apart()) ::sched_setaffinity(0, sizeof all_, &all_);
  }
  Cores(const Cores&) = delete;
  Cores& operator=(const Cores&) = delete;

  bool are_apart() const { return found_.size() == 2; }
  /// What is started by `start` runs on the servers' core.
  template <class Start>
  auto on_server_core(Start start) {
    if (are_apart()) use(found_[0]);
    auto started = start();
    if (are_apart()) use(found_[1]);
    return started;
  }
  std::vector<std::pair<std::string, std::string>> settings() const {
    std::vector<std::pair<std::string, std::string>> settings{{"cores", fmt::to_string(CPU_COUNT(&all_))}};
    if (are_apart())
      settings.emplace_back("pinned",
                            fmt::format("server to core {}, load to core {}, PostgreSQL not", found_[0], found_[1]));
    else
      settings.emplace_back("pinned", "nothing: there is one core");
    return settings;
  }

 private:
  static void use(int core) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    ::sched_setaffinity(0, sizeof one, &one);
  }
  cpu_set_t all_;
  std::vector<int> found_;
};

class ServerProcess : public bench::RunningServer {
 public:
  ServerProcess(std::unique_ptr<ChildProcess> child, std::uint16_t port) : child_(std::move(child)), port_(port) {}
  ~ServerProcess() override {
    child_->signal(SIGTERM);
    child_->wait(kPatience);
  }
  std::uint16_t port() const override { return port_; }
  Result<std::uint64_t> memory_bytes() const override {
    const auto status = read_file(fmt::format("/proc/{}/status", child_->pid()));
    if (!status) return tl::unexpected(status.error());
    constexpr std::string_view kName = "RssAnon:";
    const auto at = status->find(kName);
    if (at == std::string::npos) return failure(ErrorCode::io_error, "this system does not tell a process's memory");
    std::string_view rest = std::string_view(*status).substr(at + kName.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    std::uint64_t kilobytes = 0;
    std::from_chars(rest.data(), rest.data() + rest.size(), kilobytes);
    return kilobytes * 1024;
  }

 private:
  std::unique_ptr<ChildProcess> child_;
  std::uint16_t port_;
};

Result<std::unique_ptr<bench::RunningServer>> start_server(Cores& cores, const bench::ServerOrder& order) {
  auto program = own_program();
  if (!program) return tl::unexpected(program.error());
  std::vector<std::string> arguments{*program,       kServerCommand,
                                     "--workers",    fmt::to_string(order.workers),
                                     "--body-bytes", fmt::to_string(order.body_bytes)};
  const Environment environment{{"NIZHAL_DB", order.db},
                                {"NIZHAL_DB_FILE", ""},
                                {"NIZHAL_JWT_SECRET", order.secret},
                                {"NIZHAL_JWT_SECRET_FILE", ""}};
  auto child = cores.on_server_core(
      [&] { return ChildProcess::spawn(arguments, {.environment = environment, .own_group = true}); });
  if (!child) return tl::unexpected(child.error());
  constexpr std::string_view kReady = "port ";
  const auto line = (*child)->wait_for_line(kReady, kPatience);
  std::uint16_t port = 0;
  if (line) std::from_chars(line->data() + kReady.size(), line->data() + line->size(), port);
  if (port == 0)
    return failure(ErrorCode::unreachable, fmt::format("the server did not come up; it says:\n{}", (*child)->err()));
  return std::make_unique<ServerProcess>(std::move(*child), port);
}

/// A database and processes are to be taken away, so a signal only asks to end.
volatile std::sig_atomic_t interrupted = 0;
void ask_to_end(int /*signal*/) { interrupted = 1; }

Result<std::string> run_program(std::vector<std::string> arguments, const Environment& environment) {
  const std::string name = arguments.front();
  auto child = ChildProcess::spawn(std::move(arguments), {.environment = environment, .own_group = true});
  if (!child) return tl::unexpected(child.error());
  (*child)->close_input();
  std::optional<ExitStatus> status;
  while (!status) {
    status = (*child)->wait(std::chrono::milliseconds(200));
    if (!status && interrupted != 0) (*child)->signal(SIGTERM);
  }
  if (*status != ExitStatus{0, 0})
    return failure(interrupted != 0 ? ErrorCode::closed : ErrorCode::internal,
                   interrupted != 0 ? std::string("interrupted")
                                    : fmt::format("{} ended with {}: {}", name, status->code, (*child)->err()));
  return (*child)->out();
}

struct Settings {
  std::vector<std::string> names;
  bench::Options options;
};

int run(const Globals& globals, Settings settings) {
  bench::Options& options = settings.options;
  if (options.db.empty()) {
    auto url = read_variable("NIZHAL_DB");
    if (!url) return fail("bench", url.error());
    options.db = std::move(*url);
  }
  const bool is_postgres = options.db.starts_with("postgres:") || options.db.starts_with("postgresql:");
  if (!options.db.empty() && !is_postgres)
    return fail(
        "bench", kUsage,
        "--db takes a PostgreSQL server: postgresql://USER@HOST/NAME; without it a SQLite file of its own is used");
  std::vector<bench::Benchmark> chosen;
  for (const std::string& name : settings.names) {
    if (name == "live" || name == "crdt") {
      for (const bench::Benchmark benchmark : bench::kAllBenchmarks)
        if (name == "live" ? bench::is_live(benchmark) : bench::is_of_crdt(benchmark)) chosen.push_back(benchmark);
      continue;
    }
    const auto benchmark = bench::parse_benchmark(name);
    if (!benchmark)
      return fail(
          "bench", kUsage,
          fmt::format(
              "there is no benchmark \"{}\"; there are push, push-batch, bootstrap, idle-pull, poke, fanout, sockets, "
              "live-order, live-fold, live-join, live, mutate, apply, crdt-keystrokes, crdt-bulk, crdt-edit, crdt",
              name));
    chosen.push_back(*benchmark);
  }
  const auto say = [](std::string_view line) { fmt::print(stderr, "{}\n", line); };
  if (chosen.empty()) {
    for (const bench::Benchmark benchmark : bench::kAllBenchmarks) {
      if (bench::is_of_crdt(benchmark)) continue;  // needs node and yjs, which only a developer has
      if (is_postgres || !bench::needs_postgres(benchmark))
        chosen.push_back(benchmark);
      else
        say(fmt::format("{}: left out, it is measured beside PostgreSQL (--db postgresql://USER@HOST/NAME)",
                        bench::to_string(benchmark)));
    }
  }
#ifndef __OPTIMIZE__
  say("This build is not optimised: its figures say nothing about a release build.");
  const char* build = "debug";
#else
  const char* build = "release";
#endif

  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, ask_to_end);
  Cores cores;
  bench::Outside outside{.random = system_random(),
                         .clock = system_clock(),
                         .start_server = [&](const bench::ServerOrder& order) { return start_server(cores, order); },
                         .run_program = run_program,
                         .progress = say,
                         .is_interrupted = [] { return interrupted != 0; },
                         .settings = {{"nizhal", NIZHAL_VERSION}, {"build", build}}};
  for (auto& setting : cores.settings()) outside.settings.push_back(std::move(setting));
  std::vector<bench::Figure> figures;
  for (const bench::Benchmark benchmark : chosen) {
    auto figure = bench::run_benchmark(benchmark, options, outside);
    if (!figure) return fail(fmt::format("bench {}", bench::to_string(benchmark)), figure.error());
    figures.push_back(std::move(*figure));
  }
  if (globals.json)
    print_line(bench::as_json(figures));
  else
    fmt::print("{}", bench::as_table(figures));
  return kDone;
}

/// The other end of start_server.
int run_server(const bench::ServerSettings& given) {
  const pid_t parent = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  // The parent may have ended before the line above.
  if (::getppid() != parent) return kDone;
  bench::ServerSettings settings = given;
  const auto db = read_variable("NIZHAL_DB");
  if (!db) return fail(kServerCommand, db.error());
  settings.db = *db;
  settings.on_ready = [](std::uint16_t port) { print_line(fmt::format("port {}", port)); };
  settings.log = [](std::string_view level, std::string_view area, std::string_view message) {
    if (level == "warning" || level == "error") fmt::print(stderr, "{} {}: {}\n", level, area, message);
  };
  if (settings.db.empty()) return bench::run_constant_server(settings);
  const auto secret = read_jwt_secret();
  if (!secret) return fail(kServerCommand, secret.error());
  settings.secret = *secret;
  return bench::run_sync_server(settings);
}

void add_server_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand(kServerCommand, "A server of `nizhal bench`");
  command->group("");  // not for people
  auto settings = std::make_shared<bench::ServerSettings>();
  command->add_option("--workers", settings->workers);
  command->add_option("--body-bytes", settings->body_bytes);
  command->callback([&action = commands.action, settings] { action = [settings] { return run_server(*settings); }; });
}

}  // namespace

void add_bench_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("bench", "Measure the engine beside its physical limits");
  auto settings = std::make_shared<Settings>();
  command->add_option(
      "NAME", settings->names,
      "push, push-batch, bootstrap, idle-pull, poke, fanout, sockets, live-order, live-fold, live-join, live "
      "(these three), "
      "mutate, apply, crdt-keystrokes, crdt-bulk, crdt-edit, crdt (these three, beside yjs in node); all but those "
      "when none is named");
  command->add_option(
      "--db", settings->options.db,
      "A PostgreSQL server: postgresql://USER@HOST/NAME (or NIZHAL_DB); its databases are not touched, the "
      "benchmark makes one of its own and drops it");
  command->add_option("--rounds", settings->options.rounds, "Rounds of engine and limit, interleaved")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  command->add_option("--seconds", settings->options.seconds, "How long each side runs in each round")
      ->check(CLI::Range(1, 3'600))
      ->capture_default_str();
  command->add_option("--rows", settings->options.rows, "Rows of the bootstrap")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  command->add_option("--connections", settings->options.connections, "Devices at once")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  command
      ->add_option("--sockets", settings->options.sockets,
                   "Subscribers of fanout and idle sockets of sockets; 0: 1,000 and 5,000")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  command
      ->add_option("--workers", settings->options.workers, "Threads of the server for storage work; 0: its own default")
      ->check(CLI::Range(0, 1'000))
      ->capture_default_str();
  command->footer(
      "Prints a table, or with --json [{name, value, unit, limit, ratio, rounds, measured, settings}]; progress goes\n"
      "to standard error. The ratio is what counts: an absolute figure says more about the machine. What it all "
      "means:\n"
      "docs/benchmarks.md.");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, settings] {
    action = [&globals, settings] { return run(globals, *settings); };
  });
  add_server_command(commands);
}

}  // namespace nizhal::cli
