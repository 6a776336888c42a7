// `nizhal sim`: the deterministic simulator, for any domain. It prints first what was drawn, and last how to see it
// again.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/environment.hpp"
#include "base/reached.hpp"
#include "cli/command.hpp"
#include "cli/domain_library.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "sim/generated_workload.hpp"
#include "sim/hunt.hpp"
#include "sim/run_codec.hpp"
#include "sim/shrink.hpp"

namespace nizhal::cli {

namespace {

constexpr int kCrash = 10, kUnsafe = 11, kNotLive = 12, kNotDeterministic = 13;
constexpr std::size_t kLinesShown = 40;

struct Settings {
  std::string domain, builtin, faults, only, may_miss;
  std::optional<std::uint64_t> runs;
  std::optional<double> minutes;
  std::optional<std::size_t> devices, mutations;
  std::uint64_t seed = 1;
  std::size_t jobs = std::clamp(std::thread::hardware_concurrency(), 1U, 256U);
  bool trace = false, no_shrink = false, scenario_test = false;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

Result<std::optional<std::set<sim::Fault>>> parse_faults(const std::string& text) {
  std::set<sim::Fault> faults;
  if (text.empty()) return std::nullopt;
  if (text == "none") return faults;
  std::string all;
  for (std::size_t i = 0; i < sim::kFaults; ++i) {
    const auto fault = static_cast<sim::Fault>(i);
    if (text == "all") faults.insert(fault);
    all += (all.empty() ? "" : ", ") + std::string(to_string(fault));
  }
  if (text == "all") return faults;
  for (const std::string& name : split(text)) {
    const auto fault = sim::parse_fault(name);
    if (!fault)
      return failure(ErrorCode::usage,
                     fmt::format("--faults: there is no fault \"{}\"; give none, all or some of: {}", name, all));
    faults.insert(*fault);
  }
  return faults;
}

Result<std::optional<std::set<std::size_t>>> parse_only(const std::string& text) {
  std::set<std::size_t> numbers;
  if (text.empty()) return std::nullopt;
  if (text == "none") return numbers;
  constexpr std::size_t kNumberMax = 10'000'000;
  for (const std::string& word : split(text)) {
    std::size_t first = 0, last = 0;
    const char* const stop = word.data() + word.size();
    auto [end, error] = std::from_chars(word.data(), stop, first);
    last = first;
    if (error == std::errc() && end != stop && *end == '-') {
      const auto rest = std::from_chars(end + 1, stop, last);
      end = rest.ptr;
      error = rest.ec;
    }
    if (error != std::errc() || end != stop || last < first || last > kNumberMax)
      return failure(ErrorCode::usage, fmt::format("--only: \"{}\" names no actions; give their numbers, such as "
                                                   "3,17-20, or none",
                                                   word));
    for (; first <= last; ++first) numbers.insert(first);
  }
  return numbers;
}

Result<std::optional<std::set<std::string>>> parse_may_miss(const std::string& text) {
  std::set<std::string> marks;
  if (text.empty()) return std::nullopt;
  if (text == "none") return marks;
  std::set<std::string> known;
  for (std::size_t i = 0; i < kMarks; ++i) known.emplace(to_string(static_cast<Mark>(i)));
  for (const std::string& name : split(text)) {
    if (!known.contains(name))
      return failure(ErrorCode::usage,
                     fmt::format("--may-miss: there is no mark \"{}\"; give none, or some of those that a hunt names "
                                 "under \"never reached\"",
                                 name));
    marks.insert(name);
  }
  return marks;
}

Result<std::shared_ptr<const CompiledDomain>> open_domain(const Settings& settings) {
  std::string path = settings.domain;
  if (!settings.builtin.empty()) {
    const auto program = own_program();
    if (!program) return tl::unexpected(program.error());
    path = (std::filesystem::path(*program).parent_path().parent_path() / "lib" /
            fmt::format("lib{}_domain.so", settings.builtin))
               .string();
  }
  auto domain = load_domain(path);
  if (!domain) return tl::unexpected(domain.error());
  return CompiledDomain::compile(*std::move(domain));
}

/// A run is short: the signal only asks that no further one begins.
volatile std::sig_atomic_t interrupted = 0;
void ask_to_end(int /*signal*/) { interrupted = 1; }

class Simulation {
 public:
  Simulation(const Globals& globals, const Settings& settings, std::shared_ptr<const CompiledDomain> domain,
             sim::HuntOptions options, std::optional<std::set<std::string>> may_miss)
      : globals_(globals),
        settings_(settings),
        domain_(std::move(domain)),
        options_(std::move(options)),
        may_miss_(std::move(may_miss)),
        processes_({.domain = domain_,
                    .make_workload = sim::generated_workload(domain_),
                    .at_once = settings.trace ? 1 : settings.jobs}) {}

  int run() {
    std::signal(SIGINT, ask_to_end);
    std::signal(SIGTERM, ask_to_end);
    say(fmt::format("nizhal sim: domain {} {}, {}", domain_->domain().name(), domain_->domain().options().version,
                    range()));
    const bool is_told = settings_.trace || !is_hunt();
    std::chrono::microseconds told_last = system_clock().monotonic();
    const sim::HuntWatcher watcher{
        .on_start =
            [&](const sim::Options& drawn) {
              if (is_told) say(fmt::format("seed {}: {}", drawn.seed, describe(drawn)));
            },
        .on_run =
            [&](const sim::Summary& so_far) {
              const auto now = system_clock().monotonic();
              if (is_told || now - told_last < std::chrono::seconds(5)) return;
              told_last = now;
              fmt::print(stderr, "{} runs, {:.0f} a minute\n", so_far.runs, so_far.runs_per_minute());
            },
        .is_interrupted = [] { return interrupted != 0; },
    };
    const sim::Hunt found = hunt(processes_, *domain_, options_, system_clock(), watcher);
    if (found.finding) return tell(found, *found.finding);
    std::string reasons;
    for (const std::string& reason : found.meaningless) reasons += (reasons.empty() ? "" : "; ") + reason;
    for (const std::string& mark : found.summary.never_reached())
      if (may_miss_ && !may_miss_->contains(mark))
        reasons += fmt::format("{}the branch {} was never reached", reasons.empty() ? "" : "; ", mark);
    if (globals_.json) {
      print_line(fmt::format("{{{},\"violation\":null}}", json_head(found, reasons)));
    } else {
      if (is_hunt()) say(marks_line(found.summary));
      if (!reasons.empty()) say(fmt::format("{} these runs prove too little: {}", red("no"), reasons));
      print_line(fmt::format("{}{}", summary_line(found.summary), reasons.empty() ? "" : "; meaningless"));
    }
    return reasons.empty() ? kDone : kNo;
  }

 private:
  void say(std::string_view line) const {
    if (!globals_.json) print_line(line);
  }
  bool is_hunt() const { return options_.runs.value_or(1) > 1 || options_.time; }
  static std::string marks_line(const sim::Summary& summary) {
    std::string text = fmt::format("{} of {} marked branches reached", summary.reached.size(), kMarks);
    const char* before = "; never reached: ";
    for (const std::string& mark : summary.never_reached()) text += std::exchange(before, ", ") + mark;
    return text;
  }
  std::string range() const {
    if (!is_hunt()) return fmt::format("seed {}", options_.seed);
    if (options_.runs) return fmt::format("seeds {}…{}", options_.seed, options_.seed + *options_.runs - 1);
    return fmt::format("seeds from {}", options_.seed);
  }
  std::string command(const sim::Options& options, bool is_whole) const {
    const std::string domain = settings_.builtin.empty() ? fmt::format("--domain {}", settings_.domain)
                                                         : fmt::format("--builtin {}", settings_.builtin);
    return fmt::format("nizhal sim {} {}", domain, replay_arguments(options, is_whole));
  }
  std::string json_head(const sim::Hunt& found, const std::string& reasons) const {
    std::string text = "\"domain\":";
    append_json_string(text, domain_->domain().name());
    text += fmt::format(",\"seed\":{},{},\"meaningless\":", options_.seed, summary_json(found.summary));
    if (reasons.empty())
      text += "null";
    else
      append_json_string(text, reasons);
    return text;
  }

  static int exit_code_of(const sim::Finding& finding) {
    if (finding.is_not_deterministic) return kNotDeterministic;
    switch (finding.result.violation->kind) {
      case sim::Violation::Kind::crash:
        return kCrash;
      case sim::Violation::Kind::safety:
        return kUnsafe;
      case sim::Violation::Kind::liveness:
        return kNotLive;
      default:
        return kNo;
    }
  }

  void tell_run(const sim::Options& options, const sim::RunResult& result, std::size_t lines_max) const {
    const sim::Violation& violation = *result.violation;
    say(fmt::format("seed {}: {}", options.seed, describe(options)));
    const std::size_t first = result.last_lines.size() > lines_max ? result.last_lines.size() - lines_max : 0;
    if (first > 0) say("  …");
    for (std::size_t i = first; i < result.last_lines.size(); ++i) say("  " + result.last_lines[i]);
    say(fmt::format("{} ({}): {}", red(violation.oracle), to_string(violation.kind), violation.what));
  }

  int tell(const sim::Hunt& found, const sim::Finding& finding) {
    const sim::Violation& violation = *finding.result.violation;
    const bool is_whole = !options_.is_narrowed() && !options_.overrides.faults;
    // A run that is itself only now and then cannot be made shorter; one that proves too little need not be.
    const bool is_shrunk = !settings_.no_shrink && !settings_.trace && !finding.is_not_deterministic &&
                           violation.kind != sim::Violation::Kind::meaningless;
    if (!globals_.json) tell_run(finding.options, finding.result, kLinesShown);
    std::string replay = command(finding.options, is_whole);
    sim::Options left = finding.options;
    if (is_shrunk) {
      const sim::Shrunk shrunk = shrink(finding.options, finding.result);
      left = shrunk.options;
      const bool is_shorter = shrunk.options.only || shrunk.options.faults != finding.options.faults;
      if (is_shorter) {
        replay = command(left, false);
        say(fmt::format("\nWhat is left of it after {} runs:", shrunk.runs));
        if (!globals_.json) tell_run(left, processes_.run_with_all_lines(left), SIZE_MAX);
      }
    }
    if (globals_.json) {
      std::string text = fmt::format(
          "{{{},\"violation\":{{\"seed\":{},\"kind\":\"{}\",\"oracle\":", json_head(found, ""), finding.options.seed,
          finding.is_not_deterministic ? "not deterministic" : to_string(violation.kind));
      append_json_string(text, violation.oracle);
      text += ",\"what\":";
      append_json_string(text, violation.what);
      text += ",\"replay\":";
      append_json_string(text, replay);
      if (settings_.scenario_test) {
        text += ",\"scenarioTest\":";
        append_json_string(text, scenario(left, violation));
      }
      print_line(text + "}}");
    } else {
      if (settings_.scenario_test) say("\n" + scenario(left, violation));
      say("");
      say(summary_line(found.summary));
      print_line(replay);
    }
    return exit_code_of(finding);
  }

  sim::Shrunk shrink(const sim::Options& options, const sim::RunResult& result) {
    std::chrono::microseconds told_last{0};
    return sim::shrink(options, result, [this](const sim::Options& tried) { return processes_.run(tried); },
                       {.on_progress = [&](const sim::Shrunk& so_far) {
                         const auto now = system_clock().monotonic();
                         if (now - told_last < std::chrono::seconds(2)) return;
                         told_last = now;
                         fmt::print(stderr, "shrinking: {} faults, {} devices, {} actions left after {} runs\n",
                                    so_far.options.faults.size(), so_far.options.devices,
                                    so_far.options.only ? so_far.options.only->size() : 0, so_far.runs);
                       }});
  }
  std::string scenario(const sim::Options& options, const sim::Violation& violation) const {
    // An example's header is known; of another domain only its name is.
    const std::string& name = domain_->domain().name();
    const std::string header = settings_.builtin.empty() ? name + ".hpp" : fmt::format("examples/{0}/{0}.hpp", name);
    return scenario_test({header, name + "::domain()"}, options, violation);
  }

  const Globals& globals_;
  const Settings& settings_;
  std::shared_ptr<const CompiledDomain> domain_;
  const sim::HuntOptions options_;
  const std::optional<std::set<std::string>> may_miss_;  // nothing: any mark
  sim::RunProcesses processes_;
};

int run(const Globals& globals, const Settings& settings) {
  if (settings.domain.empty() == settings.builtin.empty())
    return fail("sim", kUsage, "give --domain LIB, or --builtin notes, ledger or docs");
  sim::HuntOptions options;
  options.seed = settings.seed;
  options.runs = settings.runs;
  if (settings.minutes) options.time = std::chrono::seconds(static_cast<std::int64_t>(*settings.minutes * 60));
  options.trace = settings.trace;
  options.overrides.devices = settings.devices;
  options.overrides.mutations = settings.mutations;
  auto faults = parse_faults(settings.faults);
  if (!faults) return fail("sim", faults.error());
  options.overrides.faults = std::move(*faults);
  auto only = parse_only(settings.only);
  if (!only) return fail("sim", only.error());
  options.overrides.only = std::move(*only);
  auto may_miss = parse_may_miss(settings.may_miss);
  if (!may_miss) return fail("sim", may_miss.error());
  auto domain = open_domain(settings);
  if (!domain) return fail("sim", domain.error());
  return Simulation(globals, settings, std::move(*domain), std::move(options), std::move(*may_miss)).run();
}

}  // namespace

void add_sim_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand(
      "sim", "Run a whole system of your domain in virtual time, with faults, and check its promises");
  auto settings = std::make_shared<Settings>();
  auto* domain = command->add_option("--domain", settings->domain, "The domain's shared library");
  command->add_option("--builtin", settings->builtin, "An example instead")
      ->check(CLI::IsMember({"notes", "ledger", "docs"}))
      ->excludes(domain);
  command->add_option("--seed", settings->seed, "Everything is drawn from it")->capture_default_str();
  command->add_option("--runs", settings->runs, "So many runs, of this seed and those after it; 1 without --minutes")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}));
  command->add_option("--minutes", settings->minutes, "No further run begins after so many real minutes")
      ->check(CLI::Range(0.0, 1'000'000.0));
  command->add_option("--jobs", settings->jobs, "Runs at once; changes nothing about what they find")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--devices", settings->devices, "Instead of what the seed draws")->check(CLI::Range(1, 50));
  command->add_option("--mutations", settings->mutations, "Instead of what the seed draws")
      ->check(CLI::Range(0, 1'000'000));
  command->add_option("--faults", settings->faults, "Just these instead of what the seed draws: a,b, none or all");
  command->add_option("--only", settings->only, "Carry out just these actions of the plan: 3,17-20 or none");
  command->add_option("--may-miss", settings->may_miss,
                      "Fail when a marked rare branch that is not among these was never reached: a,b or none");
  command->add_flag("--trace", settings->trace, "Print every event");
  command->add_flag("--no-shrink", settings->no_shrink, "Leave a failing run as it is");
  command->add_flag("--scenario-test", settings->scenario_test,
                    "Print the source of a test that fails in the same way");
  command->footer(
      "The last line is a summary, or after a violation the command that makes the run again, made as short as it can\n"
      "be. Exit codes: 10 a crash, 11 a promise was broken, 12 it does not come to rest, 13 the same run twice "
      "differs,\n"
      "1 the runs prove too little (too few mutations applied, a fault that never happened, a mutator never applied, a "
      "branch\nthat --may-miss does not name never reached).");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, settings] {
    action = [&globals, settings] { return run(globals, *settings); };
  });
}

}  // namespace nizhal::cli
