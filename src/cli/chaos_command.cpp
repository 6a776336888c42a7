// `nizhal chaos`: scenarios with real processes, told in sentences.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "chaos/runner.hpp"
#include "cli/command.hpp"
#include "cli/domain_library.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "domain/names.hpp"
#include "storage/database_url.hpp"

namespace nizhal::cli {

namespace {

struct Options {
  std::string domain, db, scenario = "all";
  std::uint64_t seed = 1;
  bool list = false, may_kill_postgres = false;
};

using chaos::Scenario;

Result<chaos::RunOptions> prepare(const Options& options) {
  auto program = own_program();
  if (!program) return tl::unexpected(program.error());
  const auto libraries = std::filesystem::path(*program).parent_path().parent_path() / "lib";
  chaos::RunOptions run{
      .program = *program, .domain = {"", Domain("")}, .examples = {}, .database = {}, .seed = options.seed};
  for (const char* name : {"notes", "ledger", "docs", "stock", "shop_1", "shop_2"}) {
    const std::string path = (libraries / fmt::format("lib{}_domain.so", name)).string();
    std::error_code absent;
    if (!std::filesystem::exists(path, absent)) continue;
    auto loaded = load_domain(path);
    if (!loaded) return tl::unexpected(loaded.error());
    run.examples.emplace(name, chaos::DomainLibrary{path, *std::move(loaded)});
  }
  if (options.domain.empty()) {
    const auto notes = run.examples.find("notes");
    if (notes == run.examples.end())
      return failure(ErrorCode::io_error,
                     fmt::format("the example domains are not in {}; `make build` makes them, or give --domain",
                                 libraries.string()));
    run.domain = notes->second;
  } else {
    auto loaded = load_domain(options.domain);
    if (!loaded) return tl::unexpected(loaded.error());
    run.domain = {std::filesystem::absolute(options.domain).string(), *std::move(loaded)};
  }
  if (!options.db.empty()) {
    if (storage::kind_of_database(options.db) != storage::DatabaseKind::postgres)
      return failure(ErrorCode::usage,
                     "--db: give postgresql://…; without --db the scenarios run on temporary SQLite files");
    run.database = options.db;
    run.may_kill_postgres = options.may_kill_postgres;
  } else if (options.may_kill_postgres) {
    return failure(ErrorCode::usage, "--may-kill-postgres is for --db");
  }
  return run;
}

Result<std::vector<Scenario>> all_scenarios(const Options& options) {
  std::vector<Scenario> all = chaos::built_in_scenarios();
  if (options.domain.empty()) return all;
  auto own = load_scenarios(options.domain);
  if (!own) return tl::unexpected(own.error());
  all.insert(all.end(), own->begin(), own->end());
  return all;
}

int print_list(const std::vector<Scenario>& all, bool as_json) {
  json::array list;
  for (const Scenario& scenario : all) {
    if (as_json)
      list.push_back(json::object{{"name", scenario.name},
                                  {"what", scenario.what},
                                  {"needsPostgres", scenario.needs_postgres},
                                  {"domain", text_or_null(scenario.domain)}});
    else
      print_line(fmt::format("{:41} {}{}{}", scenario.name, scenario.what,
                             scenario.needs_postgres ? "; needs --db" : "",
                             scenario.domain.empty() ? "" : fmt::format("; on {}", scenario.domain)));
  }
  if (as_json) print_json(list);
  return kDone;
}

void tell(const chaos::Line& line) {
  switch (line.kind) {
    case chaos::Line::Kind::did:
      print_line("  " + line.sentence);
      break;
    case chaos::Line::Kind::held:
      print_line("    " + green("held") + "    " + line.sentence);
      break;
    case chaos::Line::Kind::failed:
      print_line("    " + red("FAILED") + "  " + line.sentence);
      break;
  }
}

json::object as_json(const chaos::Outcome& outcome) {
  json::array steps;
  for (const chaos::Line& line : outcome.lines) {
    const char* kind = line.kind == chaos::Line::Kind::did    ? "did"
                       : line.kind == chaos::Line::Kind::held ? "held"
                                                              : "failed";
    steps.push_back(json::object{{kind, line.sentence}});
  }
  return {{"name", outcome.name},
          {"status", outcome.held ? "held" : "failed"},
          {"seed", outcome.seed},
          {"domain", outcome.domain},
          {"steps", std::move(steps)}};
}

int run(const Globals& globals, const Options& options) {
  auto prepared = prepare(options);
  if (!prepared) return fail("chaos", prepared.error());
  auto found = all_scenarios(options);
  if (!found) return fail("chaos", found.error());
  if (options.list) return print_list(*found, globals.json);

  std::vector<Scenario> chosen;
  std::vector<std::string> left_out;
  for (const Scenario& scenario : *found) {
    if (options.scenario != "all" && options.scenario != scenario.name) continue;
    if (!scenario.needs_postgres || !prepared->database.empty())
      chosen.push_back(scenario);
    else if (options.scenario == "all")
      left_out.push_back(scenario.name);
    else
      return fail("chaos", kUsage, fmt::format("{} needs PostgreSQL: give --db postgresql://…", scenario.name));
  }
  if (chosen.empty()) {
    std::vector<std::string> names;
    for (const Scenario& scenario : *found) names.push_back(scenario.name);
    return fail("chaos", kUsage,
                fmt::format("there is no scenario \"{}\"; {} --list names them", options.scenario,
                            suggest_name(options.scenario, names)));
  }

  const auto began = std::chrono::steady_clock::now();
  json::array outcomes;
  std::vector<std::string> failed;
  for (const Scenario& scenario : chosen) {
    const auto choice = chaos::domain_of(scenario, *prepared);
    if (!choice) return fail("chaos", choice.error());
    if (!globals.json) {
      print_line(fmt::format("{}  {}", bold(scenario.name), scenario.what));
      if (!choice->why.empty()) print_line(dim("  " + choice->why));
    }
    const auto outcome = chaos::run_scenario(scenario, *prepared, [&](const chaos::Line& line) {
      if (!globals.json) tell(line);
    });
    if (!outcome) return fail("chaos", kUnusable, fmt::format("{}: {}", scenario.name, outcome.error().message));
    if (!outcome->held) failed.push_back(scenario.name);
    outcomes.push_back(as_json(*outcome));
    if (globals.json) fmt::print(stderr, "{} {}\n", outcome->held ? "held  " : "FAILED", scenario.name);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  for (const std::string& name : left_out) {
    const std::string why = fmt::format("left out: {} needs PostgreSQL (--db)", name);
    if (globals.json)
      fmt::print(stderr, "{}\n", why);
    else
      print_line(dim(why));
  }
  if (globals.json) {
    print_json(outcomes);
  } else {
    print_line(fmt::format("{} held, {} failed on {} in {:.1f} s, seed {}", chosen.size() - failed.size(),
                           failed.size(), prepared->database.empty() ? "SQLite" : "PostgreSQL", took.count(),
                           options.seed));
    for (const std::string& name : failed)
      print_line(fmt::format("again: nizhal chaos{}{} --scenario {} --seed {}",
                             options.domain.empty() ? "" : " --domain " + options.domain,
                             options.db.empty() ? "" : " --db …", name, options.seed));
  }
  return failed.empty() ? kDone : kNo;
}

}  // namespace

void add_chaos_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand(
      "chaos", "Scenarios in which networks, disks, servers and clocks fail, with real processes");
  auto options = std::make_shared<Options>();
  command->add_option("--domain", options->domain, "Your domain's shared library; without it the notes example");
  command->add_option("--db", options->db,
                      "A PostgreSQL server: postgresql://…; databases of the tool's own are made beside the named one. "
                      "Without it: temporary SQLite files");
  command->add_option("--scenario", options->scenario, "The name of one, or all")->capture_default_str();
  command->add_option("--seed", options->seed, "What is drawn is drawn from it")->capture_default_str();
  command->add_flag("--may-kill-postgres", options->may_kill_postgres,
                    "The PostgreSQL of --db is yours alone: it may be killed with -9. The URL must be a superuser's");
  command->add_flag("--list", options->list, "Name the scenarios and end");
  command->footer("Exit codes: 0 all held, 1 a scenario failed, 2 wrong usage, 4 something could not be reached.");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, options] {
    action = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace nizhal::cli
