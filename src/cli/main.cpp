// The binary `nizhal`: parses the command line and hands over to one command. Doors, no logic.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "cli/command.hpp"
#include "cli/output.hpp"

namespace {

using namespace nizhal::cli;

std::string command_list(const CLI::App& app) {
  std::string list;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); }))
    list += (list.empty() ? "" : ", ") + command->get_name();
  return list;
}

// The first word that is neither an option nor the value of one.
std::string first_word(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--log-level" || word == "--log-format") {
      ++i;
    } else if (!word.starts_with('-')) {
      return word;
    }
  }
  return "";
}

int report_wrong_usage(const CLI::App& app, const CLI::ParseError& error, int count, char** words) {
  const std::string word = first_word(count, words);
  if (word.empty()) {
    fmt::print(stderr, "{}", app.help());
    return kUsage;
  }
  const CLI::App* command = find_command(app, word);
  if (!command) {
    fmt::print(stderr, "nizhal: there is no command \"{}\"; the commands are: {}\n", word, command_list(app));
    return kUsage;
  }
  std::string path = word;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    path += " " + command->get_name();
  }
  // A wrong or missing command inside a command: what there is helps more than what was missed first.
  if (const std::string list = command_list(*command); !list.empty() && command->get_require_subcommand_min() > 0) {
    fmt::print(stderr, "nizhal {}: {}; its commands are: {} (nizhal {} --help)\n", path, error.what(), list, path);
    return kUsage;
  }
  fmt::print(stderr, "nizhal {}: {} (nizhal {} --help lists what it takes)\n", path, error.what(), path);
  return kUsage;
}

int run(int count, char** words) {
  CLI::App app("Nizhal: a self-hosted, offline-first sync engine.", "nizhal");
  Globals globals;
  Action action;
  app.add_flag("--json", globals.json, "Print the answer as one line of JSON");
  app.add_option("--log-level", globals.log.level, "What is logged on standard error: debug, info, warning, error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_option("--log-format", globals.log.format, "How it is logged: text, json")
      ->check(CLI::IsMember({"text", "json"}));
  app.set_version_flag("--version", version_line(), "Print the version and exit");
  app.require_subcommand(1);
  app.footer(
      "NIZHAL_JWT_SECRET, NIZHAL_DB, NIZHAL_TOKEN and NIZHAL_ADMIN_PASSWORD come from the environment, each also\n"
      "from the file that NAME_FILE names. Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 the database\n"
      "does not fit, 4 something could not be reached or used.");

  const Commands commands{app, globals, action};
  add_serve_command(commands);
  add_token_command(commands);
  add_client_command(commands);
  add_migrate_command(commands);
  add_introspect_command(commands);
  add_gc_command(commands);
  add_epoch_command(commands);
  add_inspect_command(commands);
  add_lint_command(commands);
  add_demo_command(commands);
  add_chaos_command(commands);
  add_bench_command(commands);
  add_sim_command(commands);
  add_version_command(commands);
  add_help_command(commands);

  try {
    app.parse(count, words);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return kDone;
  } catch (const CLI::CallForVersion&) {
    print_line(version_line());
    return kDone;
  } catch (const CLI::ParseError& error) {
    return report_wrong_usage(app, error, count, words);
  }
  const int code = action();
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    return fail(first_word(count, words), kUnusable, "the answer could not be written to standard output");
  return code;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(count, words);
  } catch (const std::exception& exception) {
    fmt::print(stderr, "nizhal: {}; this is a bug in nizhal\n", exception.what());
  } catch (...) {
    fmt::print(stderr, "nizhal: an unknown exception; this is a bug in nizhal\n");
  }
  return kUnusable;
}
