// `nizhal migrate`: prints, compares or applies what a server's database needs for a domain.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/database.hpp"
#include "cli/domain_library.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {

namespace {

using storage::Difference;

struct Options {
  std::string domain, db;
  bool plan = false, check = false, allow_breaking = false, reset = false, yes = false;
};

std::string indented(std::string_view text, std::string_view by) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += by;
  }
  return out;
}

/// The command that a person would type next; the password, if the URL had one, is theirs to add.
std::string command_line(const Options& options) {
  std::string line = "nizhal migrate --domain " + options.domain;
  if (!options.db.empty()) line += fmt::format(" --db \"{}\"", describe_database(options.db));
  return line;
}

int print_plan(const Globals& globals, const storage::Migrator& migrator) {
  std::string sql = migrator.plan();
  while (sql.ends_with('\n')) sql.pop_back();
  if (globals.json) {
    print_json(json::object{{"sql", sql + "\n"}});
  } else {
    print_line(sql);
  }
  return kDone;
}

void print_differences(const Options& options, const std::string& place, const std::string& domain,
                       const std::vector<Difference>& differences) {
  print_line(fmt::format("{} does not fit the domain \"{}\": {}\n", place, domain,
                         red(counted(differences.size(), "difference"))));
  std::size_t breaking = 0, manual = 0;
  for (const Difference& difference : differences) {
    if (difference.breaking)
      ++breaking;
    else if (!difference.additive)
      ++manual;
    print_line(fmt::format("  {} {}{}", bold(difference.place), difference.what,
                           difference.breaking ? "; " + yellow("this breaks devices with the old schema") : ""));
    // What the command below does by itself needs no words.
    if (!difference.fix.empty() && !difference.fix.ends_with("` does it"))
      print_line("    fix: " + indented(difference.fix, "         "));
  }
  print_line("");
  const std::string command = command_line(options) + (breaking > 0 ? " --allow-breaking" : "");
  if (manual == differences.size()) {
    print_line(fmt::format("{} for a person to mend, as the fix says.", manual == 1 ? "This is" : "These are"));
    return;
  }
  if (manual > 0)
    print_line(fmt::format("{} for a person to mend first, as the fix says; then, for the rest:",
                           manual == 1 ? "One of them is" : fmt::format("{} of them are", manual)));
  else
    print_line("To bring it in line:");
  print_line("  " + command);
  if (breaking > 0)
    print_line(
        "With --allow-breaking, devices that have not been updated to this domain's version may read and no longer "
        "write.");
}

int check(const Globals& globals, const Options& options, const std::string& place, const std::string& domain,
          storage::Migrator& migrator) {
  const auto differences = migrator.check();
  if (!differences) return fail("migrate", differences.error());
  if (globals.json) {
    json::array list;
    for (const Difference& difference : *differences)
      list.push_back(json::object{{"place", difference.place},
                                  {"what", difference.what},
                                  {"fix", difference.fix},
                                  {"breaking", difference.breaking},
                                  {"additive", difference.additive}});
    print_json(json::object{{"fits", differences->empty()}, {"differences", std::move(list)}});
  } else if (differences->empty()) {
    print_line(fmt::format("{} fits the domain \"{}\"", place, domain));
  } else {
    print_differences(options, place, domain, *differences);
  }
  return differences->empty() ? kDone : kDrift;
}

int apply(const Globals& globals, const Options& options, const std::string& place, const std::string& domain,
          storage::Migrator& migrator) {
  storage::MigrateOptions migrate;
  migrate.allow_breaking = options.allow_breaking;
  migrate.progress = [](std::string_view line) { fmt::print(stderr, "{}\n", line); };
  const auto report = migrator.apply(migrate);
  if (!report) return fail("migrate", report.error());
  if (globals.json) {
    json::array changes;
    for (const std::string& change : report->changes) changes.emplace_back(std::string_view(change));
    print_json(json::object{{"created", report->created},
                            {"changes", std::move(changes)},
                            {"minClientVersion", text_or_null(report->min_client_version)}});
    return kDone;
  }
  for (const std::string& change : report->changes) print_line("  " + change);
  if (report->changes.empty() && !report->created) {
    print_line(fmt::format("{} fitted the domain \"{}\" already; nothing was changed", place, domain));
  } else {
    print_line(fmt::format("{} {} for the domain \"{}\"", place, report->created ? "was set up" : "was brought in line",
                           domain));
  }
  return kDone;
}

int reset(const Globals& globals, const Options& options, const std::string& place, storage::Migrator& migrator) {
  if (!options.yes)
    return fail("migrate", kUsage,
                fmt::format("--reset takes everything of Nizhal out of {}: its tables, triggers, indexes and columns. "
                            "Your own tables keep their rows. Every device starts afresh, and what became of mutations "
                            "that are sent again is forgotten, so some may be applied twice. Stop the servers, and say "
                            "--reset --yes",
                            place));
  if (auto done = migrator.reset(); !done) return fail("migrate", done.error());
  if (globals.json) {
    print_json(json::object{{"reset", true}});
  } else {
    print_line(fmt::format("{} has nothing of Nizhal any more; {} puts it back", place, command_line(options)));
  }
  return kDone;
}

int run(const Globals& globals, const Options& options) {
  if (options.plan + options.check + options.reset > 1)
    return fail("migrate", kUsage, "--plan, --check and --reset are three different things; give one of them");
  if (options.allow_breaking && (options.plan || options.check || options.reset))
    return fail("migrate", kUsage, "--allow-breaking is for applying; leave out the other option");
  if (options.yes && !options.reset) return fail("migrate", kUsage, "--yes is for --reset only");
  auto url = database_url(options.db);
  // The plan depends on the kind of database alone, and PostgreSQL is what one writes plans for.
  if (!url && !(options.plan && url.error().code == ErrorCode::usage)) return fail("migrate", url.error());
  auto domain = load_domain(options.domain);
  if (!domain) return fail("migrate", domain.error());
  const std::string name = domain->name();
  auto migrator = open_migrator(url.value_or(""), std::move(*domain), options.check || options.reset,
                                Log(make_log_sink(globals.log, LogLevel::warning)));
  if (!migrator) return fail("migrate", migrator.error());
  if (options.plan) return print_plan(globals, **migrator);
  const std::string place = describe_database(*url);
  if (options.check) return check(globals, options, place, name, **migrator);
  if (options.reset) return reset(globals, options, place, **migrator);
  return apply(globals, options, place, name, **migrator);
}

}  // namespace

void add_migrate_command(const Commands& commands) {
  CLI::App* command =
      commands.app.add_subcommand("migrate", "Make a server's database fit a domain, or show what that takes");
  auto options = std::make_shared<Options>();
  command->add_option("--domain", options->domain, "The domain's shared library")->required();
  command->add_option("--db", options->db, "The database: postgresql://… or sqlite:PATH (or NIZHAL_DB)");
  command->add_flag("--plan", options->plan,
                    "Print the whole DDL and change nothing; without a database, PostgreSQL's");
  command->add_flag("--check", options->check, "Compare and change nothing; exit 3 with what differs");
  command->add_flag("--allow-breaking", options->allow_breaking,
                    "Also make changes that devices with the old schema cannot follow");
  command->add_flag("--reset", options->reset, "Take everything of Nizhal out of the database");
  command->add_flag("--yes", options->yes, "Really reset");
  command->footer(
      "Safe to run twice and while servers run. Without --allow-breaking it only adds to your tables; triggers,\n"
      "indexes, columns and tables of your own are left alone. PostgreSQL: a direct URL, not one through a pooler in\n"
      "transaction mode; the role needs CREATE on the database and must own the synced tables.");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, options] {
    action = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace nizhal::cli
